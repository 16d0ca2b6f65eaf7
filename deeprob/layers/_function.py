"""The base of every hand-written layer, and the words in which layers refuse what does not fit."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from ._fast import are_off


class Function(torch.autograd.Function):
    """A differentiable operation whose gradient is written by hand.

    A subclass defines four static methods, in this order:

        forward(*inputs) -> output            the operation
        setup_context(ctx, inputs, output)    what the gradient needs, and no more
        backward(ctx, dy) -> gradients        reverse mode: one gradient (or None) an input
        tangent(ctx, *x_dots) -> y_dot        forward mode: the same derivative, pushed the other way

    `backward` is made of differentiable operations, so the second derivative follows by itself; a faster
    form that writes into its own buffers stands under `if may_overwrite(dy):`. It never writes into dy:
    another branch may share it.

    Under autocast, inputs are cast to `autocast_dtype` (None: autocast's own, for matrix products and
    convolutions; float32 for losses; "widest" for what only joins its inputs; "unchanged") and the
    operation runs with autocast off, so that backward sees one dtype.

    `torch.func` transforms work. `torch.compile` works because `tangent` becomes `jvp` only on a subclass
    made for forward mode: a compiled graph may not contain a custom jvp.
    """

    generate_vmap_rule = True
    autocast_dtype: ClassVar[torch.dtype | str | None] = None
    _twin: ClassVar[Any]

    if TYPE_CHECKING:  # torch's own signatures refuse named arguments
        forward: Callable[..., Any]
        setup_context: Callable[..., None]
        backward: Callable[..., Any]
        tangent: Callable[..., Any]

    @classmethod
    def apply(cls, *inputs: Any) -> Any:
        first = inputs[0]
        if not isinstance(first, Tensor):
            first = next((i for i in inputs if isinstance(i, Tensor)), None)
        device = "cpu" if first is None or first.is_cpu else first.device.type
        if is_autocast_on(device):
            if cls.autocast_dtype != "unchanged":
                dtype = cls._dtype_under_autocast(device, inputs)
                inputs = tuple(i.to(dtype) if _is_castable(i) else i for i in inputs)
            with torch.autocast(device, enabled=False):
                return cls.apply(*inputs)
        if torch.compiler.is_compiling():
            return super().apply(*inputs)  # type: ignore[no-untyped-call]
        if torch._C._is_tracing():  # torch.jit would write down a call of Python
            return cls.forward(*inputs)
        if forward_ad._current_level >= 0 or torch._C._are_functorch_transforms_active():
            return super(Function, cls._forward_mode()).apply(*inputs)  # type: ignore[no-untyped-call]
        if not torch.is_grad_enabled():
            return cls.forward(*inputs)  # nobody asks for a gradient, and nothing is kept for one
        # torch.autograd.Function.apply would bind the signature first, which costs 60 microseconds a call
        return super(torch.autograd.Function, cls).apply(*inputs)  # type: ignore[misc]

    @classmethod
    def _forward_mode(cls) -> Any:
        """Make, once, a subclass with `tangent` under the name that forward mode looks for."""
        if "_twin" not in cls.__dict__:
            cls._twin = type(cls.__name__, (cls,), {"jvp": staticmethod(cls.tangent)})
        return cls._twin

    @classmethod
    def _dtype_under_autocast(cls, device: str, inputs: tuple[Any, ...]) -> torch.dtype:
        if isinstance(cls.autocast_dtype, torch.dtype):
            return cls.autocast_dtype
        if cls.autocast_dtype == "widest":
            dtypes = [i.dtype for i in inputs if _is_castable(i)]
            return torch.float32 if torch.float32 in dtypes else dtypes[0] if dtypes else torch.float32
        return torch.get_autocast_dtype(device)


def is_autocast_on(device: str) -> bool:
    """Whether autocast is on for this type of device; the meta device, which has shapes alone, knows none."""
    return device != "meta" and torch.is_autocast_enabled(device)


def _is_castable(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.dtype != torch.float64


def may_overwrite(dy: Tensor) -> bool:
    """Whether nobody differentiates, batches or traces the use of dy: own buffers may be written into."""
    return (
        not torch.compiler.is_compiling()
        and not torch.is_grad_enabled()
        and not torch._C._are_functorch_transforms_active()
        and not torch._C._functorch.is_legacy_batchedtensor(dy)  # autograd.grad(is_grads_batched=True)
    )


def is_watched() -> bool:
    """Whether somebody looks at every operation of torch's, and would miss what loops of ours do.

    That is inside of a dispatch mode, as of make_fx or FlopCounterMode, and while torch.jit traces. A mode
    that has nothing against loops says so by an attribute `passes_over_loops`.
    """
    if torch._C._len_torch_dispatch_stack():
        return not all(getattr(m, "passes_over_loops", False) for m in _get_current_dispatch_mode_stack())
    return torch._C._is_tracing()


def is_plain(*tensors: Tensor | None, bfloat16: bool = False) -> bool:
    """Whether all are ordinary float32 CPU arrays that no transform, trace, mode or tape follows.

    bfloat16: or of that type, which some loops can read (kernels/half.py).

    That is when a fast CPU path may run. The tape is off inside a Function's forward, and inside its backward
    unless the gradient itself is differentiated.
    """
    if torch.compiler.is_compiling() or torch.is_grad_enabled() or are_off():
        return False
    if torch._C._are_functorch_transforms_active() or is_watched():
        return False
    for t in tensors:
        if t is not None and not (
            (t.dtype is torch.float32 or (bfloat16 and t.dtype is torch.bfloat16))
            and t.is_cpu
            and type(t) in PLAIN
            and not torch._C._functorch.is_legacy_batchedtensor(t)
        ):
            return False
    return True


def is_narrow(x: Tensor) -> bool:
    """Whether x would be plain, were it not in half precision: for a fast CPU path it can be widened."""
    return x.is_cpu and x.dtype in (torch.bfloat16, torch.float16) and may_overwrite(x)


PLAIN = (Tensor, torch.nn.Parameter)
Given = TypeVar("Given", Tensor, Tensor | None)


def widened(x: Given) -> Given:
    """Return x in float32 at least: in half precision the mean of many values is not one of them."""
    return x.float() if x is not None and x.dtype in (torch.bfloat16, torch.float16) else x


def wide_on_cpu(x: Given) -> Given:
    """Return x in float32 at least if it is on the CPU, whose loops are for float32."""
    return widened(x) if x is not None and x.is_cpu else x


def narrowed(x: Tensor, like: Tensor) -> Tensor:
    """Return x in the dtype of `like`: what `widened` computed, as its reader expects it."""
    return x if x.dtype is like.dtype else x.to(like.dtype)  # a cast to the same dtype costs 2 us


def expect(fits: bool, layer: str, expected: str, got: object) -> None:
    """Raise ValueError, in the one form all layers use, unless `fits`. Shapes among `got` print as tuples."""
    if not fits:
        if isinstance(got, Tensor):
            got = tuple(got.shape)
        raise ValueError(f"{layer}: expected {expected}, got {got}")


def expect_alike(layer: str, **tensors: Tensor | None) -> None:
    """Raise ValueError unless the tensors that are given share one floating dtype and one device."""
    first_name, first = "", None
    for name, t in tensors.items():
        if t is None:
            continue
        if first is None:
            first_name, first, dtype, device = name, t, t.dtype, t.device
            if not dtype.is_floating_point:
                raise ValueError(f"{layer}: expected {first_name} of a floating dtype, got {dtype}")
            continue
        if t.dtype is dtype and t.device == device:
            continue
        cast = is_autocast_on(first.device.type) and t.is_floating_point()
        if t.device != first.device or not cast:
            raise ValueError(
                f"{layer}: expected {name} as {first_name} is, {first.dtype} on {first.device}, "
                f"got {t.dtype} on {t.device}"
            )
