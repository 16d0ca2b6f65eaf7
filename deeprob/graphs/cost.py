"""What a training step of a network will cost, told before one is made: FLOPs, bytes kept, peak memory.

The step runs on tensors of a shape and no numbers (fake ones), through the layers' own code,
so that what is counted is what will be allocated, multiplied and kept; the CPU loops are called with their
buffers and do nothing. What a library allocates inside an operation is not seen (oneDNN's reordered copies).
"""

from __future__ import annotations

import copy
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeCopyMode, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from deeprob import layers
from deeprob.errors import InputError
from deeprob.graphs.flops import FlopCounter
from deeprob.graphs.network import blocks_of
from deeprob.graphs.trace import Trace, record, storage_of
from deeprob.layers import _function
from deeprob.layers.kernels import loops

AUTOCAST = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


@dataclass(frozen=True)
class Cost:
    """The cost of training a network with batches of one size.

    layers: as they ran forward; FLOPs and saved bytes there are of the whole batch.
    flops, step_flops: of a forward, and of a forward and a backward, of the whole batch.
    saved_bytes: kept from forward to backward beyond parameters.
    weight_bytes: parameters and buffers. input_bytes: the images.
    step_bytes: the most that a step's own tensors take at any moment, gradients included.
    """

    layers: Trace
    batch_size: int
    parameters: int
    trained: int
    flops: int
    step_flops: int
    saved_bytes: int
    weight_bytes: int
    input_bytes: int
    step_bytes: int

    def peak_bytes(self, optimizer_copies: float = 0.0) -> int:
        """The most that is allocated at any moment of training, beside what Python and its libraries take.

        optimizer_copies: how many times over the optimiser keeps the trained parameters; see `state_copies`.
        """
        optimizer = round(optimizer_copies * 4 * self.trained)
        return self.weight_bytes + self.input_bytes + self.step_bytes + optimizer


def predict(
    model: nn.Module, input_shape: Sequence[int], batch_size: int, precision: str = "32-true"
) -> Cost:
    """The cost of training `model` on batches of `batch_size` samples of shape `input_shape`, on the CPU.

    A network whose values decide how many boxes it looks at is run with numbers, of random images.
    precision: 32-true, bf16-mixed or 16-mixed. The model stays as it is.
    Raises InputError where the model refuses such inputs, has nothing to train, or the precision is unknown.
    """
    if precision not in AUTOCAST:
        raise InputError(f"precision={precision}", expected=" ".join(AUTOCAST))
    if not any(p.requires_grad for p in model.parameters()):
        raise InputError(f"{type(model).__name__} has no weights to train")
    dtype, shape = AUTOCAST[precision], (batch_size, *input_shape)
    try:
        return _of_steps(model, shape, dtype, FakeTensorMode())
    except (InputError, DynamicOutputShapeException) as error:
        if not isinstance(error.__cause__ or error, DynamicOutputShapeException):
            raise
    with torch.random.fork_rng([]):
        return _of_steps(model, shape, dtype, None)


def _of_steps(
    model: nn.Module, shape: Sequence[int], dtype: torch.dtype | None, fake: FakeTensorMode | None
) -> Cost:
    """The cost of steps on a copy of the model, of fake tensors or of real ones."""
    with FakeCopyMode(fake) if fake else nullcontext():
        shadow = copy.deepcopy(model).train()
    with fake or nullcontext(), shapes_only() if fake else nullcontext():
        images = torch.empty(*shape) if fake else torch.randn(*shape)
        with casting(dtype):
            found, _ = record(shadow, images, numbers=False)
        live = Live([images, *shadow.parameters(), *shadow.buffers()])
        with live:
            for _ in range(2):  # the second step's forward finds the first one's gradients
                training_step(shadow, images, dtype)
        with FlopCounter() as counter:
            training_step(shadow, images, dtype)
    parameters = list(shadow.parameters())
    return Cost(
        layers=found,
        batch_size=shape[0],
        parameters=sum(p.numel() for p in parameters),
        trained=sum(p.numel() for p in parameters if p.requires_grad),
        flops=sum(layer.flops for layer in found.layers),
        step_flops=counter.get_total_flops(),
        saved_bytes=sum(layer.saved_bytes for layer in found.layers),
        weight_bytes=sum(t.nbytes for t in (*parameters, *shadow.buffers())),
        input_bytes=images.nbytes,
        step_bytes=live.peak,
    )


def training_step(model: nn.Module, images: Tensor, dtype: torch.dtype | None = None) -> None:
    """Forward, then the old gradients go, then backward: the order of a Lightning step.

    The loss of one output is taken to be of its logarithmic softmax; of several it is not known.
    """
    with casting(dtype):
        outputs = [t for t in tree_leaves(model(images)) if isinstance(t, Tensor) and t.requires_grad]
        if len(outputs) == 1:
            outputs = [layers.log_softmax(outputs[0].float(), 1)]
    model.zero_grad()
    torch.autograd.backward(outputs, [torch.empty_like(y) for y in outputs])


def casting(dtype: torch.dtype | None) -> AbstractContextManager[Any]:
    """Mixed precision in this type, or none."""
    return nullcontext() if dtype is None else torch.autocast("cpu", dtype)


def state_copies(make: Callable[[Any], torch.optim.Optimizer]) -> float:
    """How many times over an optimiser keeps the parameters, found by one step on a small one."""
    weight = nn.Parameter(torch.zeros(32, 32))
    weight.grad = torch.ones_like(weight)
    optimizer = make([{"params": [weight]}])
    optimizer.step()
    kept = (t for t in tree_leaves(dict(optimizer.state)) if isinstance(t, Tensor) and t.dim())
    return sum(t.nbytes for t in kept) / weight.nbytes


HEADER = ("block", "layers", "output", "parameters", "MFLOP a sample", "saved KiB a sample")


def rows(cost: Cost, depth: int) -> list[list[str]]:
    """The table: one row a block, `depth` levels open."""
    found = []
    for block in blocks_of(cost.layers, depth=depth):
        folded = f"{len(block.layers)} layers" if block.folded else block.last.kind
        saved = block.total("saved_bytes") / 1024 / cost.batch_size
        found.append(
            [
                ".".join(block.path),
                folded,
                "×".join(map(str, block.last.shape[1:])),
                f"{block.total('parameters'):,}",
                f"{block.total('flops') / 1e6 / cost.batch_size:.2f}",
                f"{saved:.1f}",
            ]
        )
    return found


def summary(cost: Cost, optimizer_copies: float) -> list[str]:
    """All in all, one fact a line."""
    mega, samples = 1e6 * cost.batch_size, f"a batch of {cost.batch_size}"
    frozen = cost.parameters - cost.trained
    optimizer = cost.peak_bytes(optimizer_copies) - cost.peak_bytes()
    return [
        f"{cost.parameters:,} parameters" + (f", {frozen:,} of them frozen" if frozen else ""),
        f"{cost.flops / mega:.2f} MFLOP a sample forward, {cost.step_flops / mega:.2f} forward and backward",
        f"{cost.saved_bytes / 2**20:.4g} MiB saved for backward by {samples}",
        f"{cost.peak_bytes(optimizer_copies) / 2**20:.4g} MiB at the peak of training with {samples}: "
        f"weights {cost.weight_bytes / 2**20:.4g}, optimiser {optimizer / 2**20:.4g}, "
        f"inputs {cost.input_bytes / 2**20:.4g}, a step's gradients and activations "
        f"{cost.step_bytes / 2**20:.4g}; Python and its libraries come on top",
    ]


class Live(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the bytes of all tensors that operations make, until they are freed; `known` ones are free."""

    passes_over_loops = True  # what they write into was made by operations

    def __init__(self, known: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self.sizes = {storage_of(t): 0 for t in known}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for t in tree_leaves(result):
            if isinstance(t, Tensor) and (key := storage_of(t)) not in self.sizes:
                storage = t.untyped_storage()
                self.sizes[key] = storage.nbytes()
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._freed, key)
        return result

    def _freed(self, key: int) -> None:
        self.now -= self.sizes.pop(key)


@contextmanager
def shapes_only() -> Iterator[None]:
    """Let the layers take their CPU paths with tensors of a shape alone: their loops run over nothing."""

    def is_plain(*tensors: Tensor | None, bfloat16: bool = False) -> bool:
        kinds = (torch.float32, torch.bfloat16) if bfloat16 else (torch.float32,)
        return all(
            t.dtype in kinds and t.device.type == "cpu" and _function.may_overwrite(t)
            for t in tensors
            if t is not None
        )

    def run(*_: Any, **__: Any) -> None:
        return None

    stand_ins: dict[Any, Any] = {_function.is_plain: is_plain, loops.run: run}
    rooms = [vars(module) for name, module in sys.modules.items() if name.startswith("deeprob.layers")]
    places = [
        (names, name, value)
        for names in rooms
        for name, value in names.items()
        if callable(value) and getattr(value, "__module__", None) and value in stand_ins
    ]
    try:
        for names, name, value in places:
            names[name] = stand_ins[value]
        yield
    finally:
        for names, name, value in places:
            names[name] = value
