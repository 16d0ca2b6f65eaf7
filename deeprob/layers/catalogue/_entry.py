"""What the catalogue says of one layer, and how its sample inputs are drawn."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor


class Draw:
    """Random inputs of one dtype from one seed: the same numbers in every dtype, up to rounding."""

    where: ClassVar[str] = "cpu"  # the device that all draw on, changed by `drawn_on`

    def __init__(self, seed: int = 0, dtype: torch.dtype = torch.float64) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.dtype, self.device = dtype, Draw.where

    def __call__(self, *shape: int) -> Tensor:
        """Draw from the standard normal distribution."""
        return self._finish(torch.randn(shape, generator=self.generator))

    def nonzero(self, *shape: int) -> Tensor:
        """At least 0.1 from zero: for kinks at zero."""
        x = torch.randn(shape, generator=self.generator)
        return self._finish(x + 0.1 * torch.sign(x))

    def positive(self, *shape: int) -> Tensor:
        """Between 0.5 and 1.5."""
        return self._finish(0.5 + torch.rand(shape, generator=self.generator))

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Between low and high."""
        return self._finish(low + (high - low) * torch.rand(shape, generator=self.generator))

    def distinct(self, *shape: int) -> Tensor:
        """Evenly spaced in [-2, 2] and shuffled: no two alike, so that a maximum has no ties."""
        count = torch.Size(shape).numel()
        values = torch.linspace(-2, 2, count, dtype=torch.float64)
        return self._finish(values[torch.randperm(count, generator=self.generator)].reshape(shape))

    def coarse(self, *shape: int) -> Tensor:
        """Small integers, zero among them: full of ties and kinks."""
        return self._finish(torch.randint(-2, 3, shape, generator=self.generator).float())

    def classes(self, num_classes: int, *shape: int) -> Tensor:
        """Class indices, int64."""
        return torch.randint(num_classes, shape, generator=self.generator).to(self.device)

    def bits(self, *shape: int) -> Tensor:
        """Booleans, half of them true."""
        return (torch.rand(shape, generator=self.generator) < 0.5).to(self.device)

    def _finish(self, x: Tensor) -> Tensor:
        return x.to(self.device, self.dtype)


@contextlib.contextmanager
def drawn_on(device: str) -> Iterator[None]:
    """Draw on another device, inside; on CUDA float32 then means float32, not TF32."""
    before, tf32 = Draw.where, torch.backends.cudnn.allow_tf32
    Draw.where, torch.backends.cudnn.allow_tf32 = device, False
    try:
        yield
    finally:
        Draw.where, torch.backends.cudnn.allow_tf32 = before, tf32


Inputs = Callable[[Draw], Sequence[Tensor | None]]


@dataclass(frozen=True)
class Sample:
    """One way to call a layer: call(*inputs(draw), **options).

    tiny: odd shapes, at most some 250 elements, every check, numerical derivatives entry by entry;
    real: realistic ratios of shapes, numerical derivatives along random directions;
    kink: points where the derivative jumps; only the comparison with torch (which sub-gradient) applies;
    bench: shapes of real models, timed by the benchmark, compared with torch by the slow tests.
    """

    size: Literal["tiny", "real", "kink", "bench"]
    name: str
    inputs: Inputs
    options: Mapping[str, Any] = field(default_factory=dict)


def tiny(name: str, inputs: Inputs, **options: Any) -> Sample:
    """Tiny odd shapes: every check applies."""
    return Sample("tiny", name, inputs, options)


def real(name: str, inputs: Inputs, **options: Any) -> Sample:
    """Realistic shapes: numerical derivatives along random directions."""
    return Sample("real", name, inputs, options)


def kink(name: str, inputs: Inputs, **options: Any) -> Sample:
    """Where the derivative jumps: the same sub-gradient as torch's."""
    return Sample("kink", name, inputs, options)


def bench(name: str, inputs: Inputs, **options: Any) -> Sample:
    """Time a shape from a real model."""
    return Sample("bench", name, inputs, options)


@dataclass(frozen=True)
class ModuleSample:
    """A module's constructor call, understood alike by deeprob.layers and torch.nn (name, state dict)."""

    name: str
    inputs: Inputs
    args: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


def module(name: str, inputs: Inputs, *args: Any, **options: Any) -> ModuleSample:
    """Call a constructor: `module("ReLU", lambda d: [d(2, 3)], inplace=True)` is ReLU(inplace=True)."""
    return ModuleSample(name, inputs, args, options)


@dataclass(frozen=True)
class Layer:
    """One layer: ours, torch's, and inputs to compare them on.

    constants: positions of floating inputs that get no gradient (class weights, running statistics);
    batched: positions whose first axis is the batch: may be empty, and is mapped over by vmap;
    rejects: inputs (and options) that must raise a ValueError saying what was expected and what was got;
    autocast: whether torch's reference under autocast gives the same output dtype as ours;
    maps: whether the input is a map (N, C, H, W), to be timed in channels_last too;
    unrolled: whether the reference goes over boxes in plain Python, which a compiler unrolls for minutes.
    """

    name: str
    call: Callable[..., Any]
    reference: Callable[..., Any]
    samples: Sequence[Sample]
    modules: Sequence[ModuleSample] = ()
    rejects: Sequence[tuple[Inputs, Mapping[str, Any]]] = ()
    constants: tuple[int, ...] = ()
    batched: tuple[int, ...] = (0,)
    autocast: bool = True
    maps: bool = False
    unrolled: bool = False
