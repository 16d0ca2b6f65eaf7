"""One function a promise: it returns the largest relative error, or raises ContractError."""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from math import nan
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.utils._python_dispatch import TorchDispatchMode

from .._fast import formulas
from ..catalogue import Draw
from ._measure import (
    TOLERANCE,
    Case,
    ContractError,
    against_torch,
    agree,
    compare,
    differentiable,
    draw_inputs,
    outputs_of,
    run,
    track,
    upstream_like,
)


def matches_torch(case: Case, dtype: torch.dtype) -> float:
    """Check outputs and gradients against torch; gradients have exactly their inputs' shapes and dtypes."""
    layer, _ = case
    inputs = draw_inputs(case, dtype)
    ours = run(layer.call, case, inputs)
    for x, dx in zip([x for x in inputs if x is not None and x.requires_grad], ours[1], strict=True):
        if dx is not None and (dx.shape != x.shape or dx.dtype != x.dtype):
            raise ContractError(f"gradient {dx.dtype} {tuple(dx.shape)} of input {x.dtype} {tuple(x.shape)}")
    return against_torch(case, inputs)


def first_derivative(case: Case) -> float:
    """Check reverse mode against finite differences."""
    return _numerical(gradcheck, case)


def second_derivative(case: Case) -> float:
    """Check the backward's own derivative against finite differences."""
    return _numerical(gradgradcheck, case)


def forward_mode(case: Case) -> float:
    """Check `tangent` against finite differences."""
    return _numerical(gradcheck, case, check_forward_ad=True, check_backward_ad=False)


def transforms(case: Case) -> float:
    """Check torch.func: grad, jacrev against jacfwd, vmap against a loop, and gradients per sample."""
    layer, sample = case
    inputs = draw_inputs(case)
    wanted = tuple(differentiable(layer, inputs))

    def loss(*xs: Tensor | None) -> Tensor:
        outputs = outputs_of(layer.call, sample, xs)
        return torch.stack([(y * w).sum() for y, w in zip(outputs, weights, strict=True)]).sum()

    weights = upstream_like(outputs_of(layer.call, sample, inputs))
    bound = TOLERANCE[torch.float64]
    expected = run(layer.reference, case, inputs)[1]
    detached = [None if x is None else x.detach() for x in inputs]
    largest = compare(torch.func.grad(loss, wanted)(*detached), expected, bound, "torch.func.grad of input")
    if sample.size == "tiny":
        call = lambda *xs: tuple(outputs_of(layer.call, sample, xs))  # noqa: E731
        reverse = torch.func.jacrev(call, wanted)(*detached)
        forward = torch.func.jacfwd(call, wanted)(*detached)
        for r, f in zip(reverse, forward, strict=True):
            largest = max(largest, compare(r, f, bound, "jacrev against jacfwd of input"))

    draws = [draw_inputs(case, seed=s) for s in range(3)]
    mapped = [i for i in layer.batched if i < len(inputs) and inputs[i] is not None]
    stacked = [
        torch.stack([d[i].detach() for d in draws]) if i in mapped else x  # type: ignore[union-attr]
        for i, x in enumerate(detached)
    ]
    axes = tuple(0 if i in mapped else None for i in range(len(inputs)))
    loop = [[d[i] if i in mapped else x for i, x in enumerate(inputs)] for d in draws]
    for transform in (lambda *xs: tuple(outputs_of(layer.call, sample, xs)), torch.func.grad(loss, wanted)):
        together = torch.vmap(transform, in_dims=axes)(*stacked)
        single = [transform(*(None if x is None else x.detach() for x in xs)) for xs in loop]
        largest = max(
            largest,
            compare(together, [torch.stack(s) for s in zip(*single, strict=True)], bound, "vmap, result"),
        )
    return largest


def compiles(case: Case) -> float:
    """Check that torch.compile(fullgraph=True) changes neither outputs nor gradients."""
    layer, sample = case
    torch._dynamo.reset()
    call = lambda *xs: layer.call(*xs, **sample.options)  # noqa: E731
    compiled = torch.compile(call, backend="aot_eager", fullgraph=True)
    dtype = torch.float32
    ours = run(lambda *xs, **_: compiled(*xs), case, draw_inputs(case, dtype))
    return agree(ours, run(layer.reference, case, draw_inputs(case, dtype)), TOLERANCE[dtype])


def autocasts(case: Case) -> float:
    """Check autocast: as close to float32 as torch is, and gradients keep their inputs' dtype."""
    layer, sample = case
    exact = run(layer.reference, case, draw_inputs(case, torch.float32))
    results = []
    for function in (layer.call, layer.reference):
        inputs = draw_inputs(case, torch.float32)
        with torch.autocast(torch.device(Draw.where).type, torch.bfloat16):
            outputs = outputs_of(function, sample, inputs)
        wanted = [x for x in inputs if x is not None and x.requires_grad]
        gradients = torch.autograd.grad(outputs, wanted, upstream_like(outputs), allow_unused=True)
        results.append((outputs, gradients))
        for x, dx in zip(wanted, gradients, strict=True):
            if dx is not None and dx.dtype != x.dtype:
                raise ContractError(f"gradient {dx.dtype} of an input {x.dtype} under autocast")
    ours, theirs = results
    if layer.autocast and [y.dtype for y in ours[0]] != [y.dtype for y in theirs[0]]:
        raise ContractError(f"output {ours[0][0].dtype} under autocast, torch's {theirs[0][0].dtype}")
    bound = max(TOLERANCE[torch.bfloat16], 2 * agree(theirs, exact, float("inf")))
    return agree(ours, exact, bound)


def memory_layouts(case: Case) -> float:
    """Check channels_last, transposed and expanded (stride 0) inputs, in float64 and float32."""
    layer, _ = case
    largest = 0.0
    for dtype in (torch.float64, torch.float32):
        plain = draw_inputs(case, dtype)
        for i in differentiable(layer, plain):
            for variant in layouts_of(plain[i].detach()):  # type: ignore[union-attr]
                inputs = track(layer, [variant if j == i else x for j, x in enumerate(plain)])
                largest = max(largest, against_torch(case, inputs))
    return largest


def channels_last(x: Tensor) -> Tensor:
    """Store a map's channels innermost; leave other tensors alone."""
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x


def layouts_of(x: Tensor) -> Iterator[Tensor]:
    """Yield x again with other strides: channels_last, axes stored in reverse, and its first row expanded."""
    if x.dim() == 4:
        yield channels_last(x)
    if x.dim() >= 2:
        reverse = list(range(x.dim()))[::-1]
        yield x.permute(reverse).contiguous().permute(reverse)
    if x.dim() >= 1 and x.shape[0] > 1:
        yield x[:1].expand_as(x)


def upstream_is_respected(case: Case) -> float:
    """Check expanded and channels_last upstream gradients, and that a shared one is not written to."""
    largest = 0.0
    seen: list[tuple[Tensor, Tensor]] = []

    def shared(outputs: Sequence[Tensor]) -> list[Tensor]:
        upstream = [channels_last(u) for u in upstream_like(outputs)]
        seen.extend((u, u.clone()) for u in upstream)
        return upstream

    def constant(outputs: Sequence[Tensor]) -> list[Tensor]:
        return [y.new_full((), 0.5).expand_as(y) for y in outputs]  # as from y.sum()

    def expanded(outputs: Sequence[Tensor]) -> list[Tensor]:
        return [u[..., :1].expand_as(u) if u.dim() else u for u in upstream_like(outputs)]

    for dtype in (torch.float64, torch.float32):
        # Of a constant a norm's true gradient is zero: in float32 the rounding of zero would be compared.
        for upstream in (shared, constant if dtype == torch.float64 else expanded):
            largest = max(largest, against_torch(case, draw_inputs(case, dtype), upstream))
    if not all(torch.equal(u, before) for u, before in seen):
        raise ContractError("the backward wrote into the upstream gradient, which another branch may share")
    return largest


def every_subset_of_gradients(case: Case) -> float:
    """Check that gradients do not depend on which other inputs require one."""
    layer, sample = case
    full = draw_inputs(case)
    positions = differentiable(layer, full)
    gradients = dict(zip(positions, run(layer.call, case, full)[1], strict=True))
    largest = 0.0
    for count in range(1, len(positions)):
        for subset in itertools.combinations(positions, count):
            inputs = [
                x if x is None else x.detach().requires_grad_(i in subset) if i in positions else x
                for i, x in enumerate(full)
            ]
            outputs = outputs_of(layer.call, sample, inputs)
            if all(y.requires_grad for y in outputs):  # an output may ignore an input
                got = run(layer.call, case, inputs)[1]
                expected = [gradients[i] for i in subset]
                largest = max(
                    largest, compare(got, expected, TOLERANCE[torch.float64], f"of {subset}, gradient")
                )
    return largest


def empty_batch(case: Case) -> float:
    """Check that a batch of no samples gives what torch gives on the CPU, or is refused where it is there.

    On a GPU torch's own losses do not agree on it with those on the CPU, and an index outside of what is
    empty would stop the process, so what torch refuses is not tried.
    """
    layer, _ = case
    full = draw_inputs(case)
    inputs = track(
        layer, [x[:0] if x is not None and i in layer.batched and x.dim() else x for i, x in enumerate(full)]
    )
    try:
        on_cpu = track(layer, [x if x is None else x.cpu() for x in inputs])
        expected = run(layer.reference, case, on_cpu)
    except (RuntimeError, ValueError, IndexError):
        expected = None
    if expected is None:
        if Draw.where == "cpu":
            with contextlib.suppress(ValueError):
                run(layer.call, case, inputs)  # may be more lenient than torch
        return 0.0
    return agree(run(layer.call, case, inputs), expected, TOLERANCE[torch.float64])


def fast_path(case: Case) -> float:
    """Check the faster forms against the formulas, both in float32 on the same numbers."""
    layer, _ = case
    fast = run(layer.call, case, draw_inputs(case, torch.float32))
    with formulas():
        plain = run(layer.call, case, draw_inputs(case, torch.float32))
    return agree(fast, plain, TOLERANCE[torch.float32])


def no_vendor_gradient(case: Case) -> float:
    """Check that no *_backward op and no differentiation by torch runs while a gradient is computed."""
    layer, sample = case
    for dtype in (torch.float32, torch.float64):
        inputs = draw_inputs(case, dtype)
        outputs = outputs_of(layer.call, sample, inputs)
        upstream = upstream_like(outputs)
        with only_hand_written_gradients():
            torch.autograd.backward(outputs, upstream)
    return 0.0


class _VendorGradients(TorchDispatchMode):  # type: ignore[no-untyped-call]
    passes_over_loops = True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        if "_backward" in name:
            raise ContractError(f"the backward calls the vendor's gradient {name}")
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def only_hand_written_gradients() -> Iterator[None]:
    """Refuse, inside, any op whose name holds `_backward` and any call of torch's own differentiation."""

    def forbidden(*_: Any, **__: Any) -> Any:
        raise ContractError("the backward calls torch's own differentiation")

    with contextlib.ExitStack() as stack:
        for where, name in ((torch.autograd, "grad"), (torch.func, "vjp"), (torch.func, "grad")):
            stack.enter_context(mock.patch.object(where, name, forbidden))
        for name in ("conv1d_input", "conv1d_weight", "conv2d_input", "conv2d_weight"):
            stack.enter_context(mock.patch(f"torch.nn.grad.{name}", forbidden))
        stack.enter_context(_VendorGradients())  # type: ignore[no-untyped-call]
        yield


def _numerical(check: Callable[..., bool], case: Case, **options: Any) -> float:
    """Run torch's gradcheck or gradgradcheck: entry by entry if tiny, else along random directions."""
    layer, sample = case
    inputs = draw_inputs(case)
    positions = differentiable(layer, inputs)

    def function(*moving: Tensor) -> tuple[Tensor, ...]:
        xs = list(inputs)
        for i, x in zip(positions, moving, strict=True):
            xs[i] = x
        return tuple(outputs_of(layer.call, sample, xs))

    torch.manual_seed(0)  # random directions and upstream gradients
    try:
        check(
            function,
            [inputs[i] for i in positions],
            fast_mode=sample.size != "tiny",
            nondet_tol=1e-12,
            **options,
        )
    except (RuntimeError, AssertionError) as mistake:
        raise ContractError(" ".join(str(mistake).split())) from mistake
    return nan
