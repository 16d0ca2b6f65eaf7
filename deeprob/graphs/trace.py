"""The layers of a real network, as they ran: shapes, cost, and what flowed through them for one batch.

A model is run once forward and once backward as it is, control flow and all. A layer is a call of a module
without children, of a hand-written Function, or of a torch operation outside of both; an edge is a tensor
that one layer made and another read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from deeprob import layers as L
from deeprob.errors import InputError
from deeprob.graphs.flops import FlopCounter
from deeprob.graphs.flow import Flow, flow_of
from deeprob.layers._function import Function

INPUT = -1  # as an edge's source: the model's input


@dataclass
class TracedLayer:
    """One layer as it ran.

    path: names of the blocks around it and its own; a second call of the same module ends in ":2".
    kind: class or function. sources: indices of the layers it read from, or INPUT. shape: of its output.
    flops: of its forward, a multiply-add as two. saved_bytes: kept for backward beyond parameters, each array
    counted where it is first kept. flow: of its output. gradient: Euclidean norm of dL/doutput; None where no
    gradient came.
    """

    path: tuple[str, ...]
    kind: str
    sources: list[int]
    shape: tuple[int, ...] = ()
    parameters: int = 0
    flops: int = 0
    saved_bytes: int = 0
    flow: Flow | None = None
    gradient: float | None = None

    @property
    def name(self) -> str:
        return ".".join(self.path)


@dataclass
class Trace:
    """Layers in the order they ran, the loss that was differentiated, and the model's input shapes."""

    layers: list[TracedLayer] = field(default_factory=list)
    loss: float = 0.0
    input_shapes: list[tuple[int, ...]] = field(default_factory=list)


def trace(
    model: Callable[..., Any],
    *inputs: Any,
    loss: Callable[[Any], Tensor] | None = None,
) -> Trace:
    """Run `model(*inputs)` and the backward of `loss(output)`, and record every layer.

    loss: output -> (); default: cross-entropy with random classes for (N, C), else half the mean square.
    Gradients of parameters and inputs are left as they were. Raises InputError where the model refuses what
    it is given.
    """
    leaves = [t for t in _tensors(inputs) if t.is_leaf and t.requires_grad]
    leaves += model.parameters() if isinstance(model, nn.Module) else []
    found, output = record(model, *inputs)
    value = (loss or _any_loss)(output)
    if value.requires_grad:
        before = [leaf.grad for leaf in leaves]
        for leaf in leaves:
            leaf.grad = None  # backward would add to it in place
        value.backward()  # type: ignore[no-untyped-call]
        for leaf, gradient in zip(leaves, before, strict=True):
            leaf.grad = gradient
    found.loss = float(value.detach())
    return found


def record(model: Callable[..., Any], *inputs: Any, numbers: bool = True) -> tuple[Trace, Any]:
    """Run `model(*inputs)` forward alone, and return its layers and its output.

    numbers: read what flows, which tensors of a shape alone do not have. Raises InputError where the model
    refuses what it is given.
    """
    recorder = _Recorder(inputs, numbers)
    try:
        with recorder.recording(model):
            output = model(*inputs)
    except (ValueError, RuntimeError, TypeError, IndexError) as error:
        shapes = ", ".join(str(s) for s in recorder.trace.input_shapes)
        raise InputError(f"the model refuses an input {shapes}: {error}", where="trace") from error
    return recorder.trace, output


def _any_loss(output: Any) -> Tensor:
    """Something to differentiate, where the caller names no loss."""
    tensors = [t for t in _tensors(output) if t.is_floating_point()]
    if len(tensors) == 1 and tensors[0].dim() == 2 and tensors[0].shape[1] > 1:
        generator = torch.Generator().manual_seed(0)
        target = torch.randint(tensors[0].shape[1], tensors[0].shape[:1], generator=generator)
        return L.cross_entropy(tensors[0], target.to(tensors[0].device))
    return torch.stack([t.square().mean() / 2 for t in tensors if t.numel()]).sum()


class _Recorder(TorchFunctionMode):
    """Sees every call of a layer, by module hooks, by our Functions' `apply` and by torch's own dispatch."""

    def __init__(self, inputs: tuple[Any, ...], numbers: bool) -> None:
        super().__init__()
        self.numbers = numbers
        self.trace = Trace(input_shapes=[tuple(t.shape) for t in _tensors(inputs)])
        self.producer = {id(t): INPUT for t in _tensors(inputs)}
        self.alive: list[Any] = [inputs]  # so that no id is used twice
        self.blocks: list[str] = []
        self.calls: Counter[tuple[str, ...]] = Counter()
        self.inside = 0  # how many layers we are in: what a layer calls is its own affair
        self.saved = 0
        self.storages: set[int] = set()
        self.counted: set[int] = set()
        self.counter = FlopCounter()

    @contextmanager
    def recording(self, model: Callable[..., Any]) -> Iterator[None]:
        own_apply = Function.__dict__["apply"]

        def apply(cls: type[Function], *inputs: Any) -> Any:
            name = cls.__name__.removesuffix("Function")
            return self.call(name.lower(), name, inputs, lambda: own_apply.__func__(cls, *inputs))

        with ExitStack() as stack:
            if isinstance(model, nn.Module):
                self.storages.update(storage_of(t) for t in model.state_dict().values())
                for name, module in model.named_modules():
                    for handle in self.watch(name, module):
                        stack.callback(handle.remove)
            stack.callback(setattr, Function, "apply", own_apply)
            Function.apply = classmethod(apply)  # type: ignore[method-assign, assignment]
            stack.enter_context(torch.autograd.graph.saved_tensors_hooks(self.pack, lambda t: t))
            stack.enter_context(self.counter)
            stack.enter_context(torch.enable_grad())
            stack.enter_context(self)
            yield

    def watch(self, name: str, module: nn.Module) -> list[Any]:
        own_name = name.rpartition(".")[2]
        if not any(module.children()):
            forward = module.forward

            def record(*args: Any, **kwargs: Any) -> Any:
                inputs = (*args, *kwargs.values())
                kind = type(module).__name__
                own = list(module.parameters(recurse=False))
                return self.call(own_name or kind, kind, inputs, lambda: forward(*args, **kwargs), own)

            module.forward = record
            return [_Undo(lambda: module.__dict__.pop("forward", None))]

        def enter(_module: nn.Module, _inputs: Any) -> None:
            if own_name and not self.inside:
                self.blocks.append(self.unique(own_name))

        def leave(_module: nn.Module, _inputs: Any, _output: Any) -> None:
            if own_name and not self.inside:
                self.blocks.pop()

        return [
            module.register_forward_pre_hook(enter),
            module.register_forward_hook(leave, always_call=True),
        ]

    def unique(self, name: str) -> str:
        """The name, numbered from its second use in the same block on."""
        path = (*self.blocks, name)
        self.calls[path] += 1
        return name if self.calls[path] == 1 else f"{name}:{self.calls[path]}"

    def call(
        self,
        name: str,
        kind: str,
        inputs: Any,
        run: Callable[[], Any],
        parameters: Sequence[nn.Parameter] = (),
    ) -> Any:
        """Run one layer and record it, unless it runs inside another."""
        if self.inside:
            return run()
        flops = self.counter.get_total_flops()
        self.inside, self.saved = 1, 0
        try:
            output = run()
        finally:
            self.inside = 0
        sources = [self.producer[id(t)] for t in _tensors(inputs) if id(t) in self.producer]
        results = [t for t in _tensors(output) if t.is_floating_point()]
        if not results or not sources:
            return output
        layer = TracedLayer((*self.blocks, self.unique(name)), kind, list(dict.fromkeys(sources)))
        layer.shape = tuple(results[0].shape)
        for p in [*parameters, *(t for t in _tensors(inputs) if isinstance(t, nn.Parameter))]:
            if id(p) not in self.counted:  # shared weights count where they are first used
                self.counted.add(id(p))
                layer.parameters += p.numel()
        layer.flops, layer.saved_bytes = self.counter.get_total_flops() - flops, self.saved
        if self.numbers:
            self.inside = 1  # reading the numbers is no layer
            layer.flow = flow_of(results[0], kind)
            if results[0].requires_grad:

                def note(dy: Tensor | None) -> None:
                    if dy is not None:  # no loss depends on this output
                        layer.gradient = float(dy.norm())

                results[0].register_hook(note)  # type: ignore[no-untyped-call]
            self.inside = 0
        for t in _tensors(output):
            self.producer[id(t)] = len(self.trace.layers)
        self.alive.append(output)
        self.trace.layers.append(layer)
        return output

    def pack(self, t: Tensor) -> Tensor:
        if storage_of(t) not in self.storages:
            self.storages.add(storage_of(t))
            self.saved += t.untyped_storage().nbytes()
        return t.detach()  # an output that is kept as it is would keep its own graph alive

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.inside or not any(id(t) in self.producer for t in _tensors((args, kwargs))):
            return func(*args, **kwargs)
        name = func.__name__
        if name == "__get__":  # x.T, x.mT, and x.shape, which makes no tensor
            name = getattr(getattr(func, "__self__", None), "__name__", name)
        name = name.strip("_")
        return self.call(name, name, (*args, *kwargs.values()), lambda: func(*args, **kwargs))


class _Undo:
    """Something to take back, under the name that hooks' handles have."""

    def __init__(self, remove: Callable[[], Any]) -> None:
        self.remove = remove


def storage_of(t: Tensor) -> int:
    """Return what tells a tensor's memory from any other's, also where there is only a shape."""
    return int(t.untyped_storage()._cdata)


def _tensors(value: Any) -> list[Tensor]:
    """The tensors in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [t for item in value for t in _tensors(item)] if isinstance(value, tuple | list) else []
