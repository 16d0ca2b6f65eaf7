"""Run a layer on a sample, and measure how far two results lie apart."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..catalogue import Draw, Layer, Sample

TOLERANCE = {torch.float64: 1e-8, torch.float32: 2e-5, torch.bfloat16: 3e-2}
Case = tuple[Layer, Sample]


class ContractError(AssertionError):
    """A layer breaks its contract."""


def draw_inputs(case: Case, dtype: torch.dtype = torch.float64, seed: int = 0) -> list[Tensor | None]:
    """Draw the sample's inputs; those that may have a gradient require it."""
    layer, sample = case
    return track(layer, sample.inputs(Draw(seed, dtype)))


def track(layer: Layer, inputs: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Detach the inputs, and let those that may have a gradient require it."""
    tracked = [None if x is None else x.detach() for x in inputs]
    for i in differentiable(layer, tracked):
        tracked[i].requires_grad_()  # type: ignore[union-attr]
    return tracked


def differentiable(layer: Layer, inputs: Sequence[Tensor | None]) -> list[int]:
    """List the positions of the inputs that may have a gradient."""
    return [
        i
        for i, x in enumerate(inputs)
        if x is not None and x.is_floating_point() and i not in layer.constants
    ]


def outputs_of(function: Callable[..., Any], sample: Sample, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    """Call and list the outputs."""
    y = function(*inputs, **sample.options)
    return [y] if isinstance(y, Tensor) else list(y)


def upstream_like(outputs: Sequence[Tensor], seed: int = 1) -> list[Tensor]:
    """Draw a gradient for every output."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(y.shape, generator=generator).to(y.device, y.dtype) for y in outputs]


def run(
    function: Callable[..., Any],
    case: Case,
    inputs: Sequence[Tensor | None],
    upstream: Callable[[Sequence[Tensor]], list[Tensor]] = upstream_like,
) -> tuple[list[Tensor], list[Tensor | None]]:
    """Return the outputs and, for one upstream gradient, the gradients of all inputs that require one."""
    outputs = outputs_of(function, case[1], inputs)
    wanted = [x for x in inputs if x is not None and x.requires_grad]
    flowing = [y for y in outputs if y.requires_grad]
    gradients = torch.autograd.grad(flowing, wanted, upstream(flowing), allow_unused=True)
    return outputs, list(gradients)


def error(got: Tensor | None, expected: Tensor | None) -> float:
    """Return max |got - expected| / max |expected|; a missing gradient counts as zero."""
    if got is None and expected is None:
        return 0.0
    if expected is None:
        got, expected = expected, got
    assert expected is not None
    if got is None:
        got = torch.zeros_like(expected)
    expected = expected.to(got.device)
    if got.shape != expected.shape:
        raise ContractError(f"shape {tuple(got.shape)}, expected {tuple(expected.shape)}")
    if expected.numel() == 0 or torch.equal(got, expected.to(got.dtype)):
        return 0.0
    got, expected = got.detach().double(), expected.detach().double()
    same = (got == expected) | (got.isnan() & expected.isnan())
    distance = (got - expected).abs().masked_fill(same, 0)
    scale = expected.abs().masked_fill(~expected.isfinite(), 0).max().clamp_min(1e-3)
    return float((distance / scale).nan_to_num(nan=float("inf")).max())


def compare(
    got: Sequence[Tensor | None], expected: Sequence[Tensor | None], bound: float, what: str
) -> float:
    """Return the largest error of the pairs, and refuse one above the bound."""
    largest = 0.0
    for i, (g, e) in enumerate(zip(got, expected, strict=True)):
        distance = error(g, e)
        if not distance <= bound:
            raise ContractError(f"{what} {i}: relative error {distance:.2e}, allowed {bound:.0e}")
        largest = max(largest, distance)
    return largest


def agree(ours: Any, theirs: Any, bound: float) -> float:
    """Compare two results of `run`."""
    return max(
        compare(ours[0], theirs[0], bound, "output"), compare(ours[1], theirs[1], bound, "gradient of input")
    )


def against_torch(
    case: Case,
    inputs: Sequence[Tensor | None],
    upstream: Callable[[Sequence[Tensor]], list[Tensor]] = upstream_like,
) -> float:
    """Run ours and torch's on the same values, and refuse outputs or gradients that differ.

    Below float64, rounding is judged against the reference in float64: within the tolerance, or no more than
    four times torch's own.
    """
    layer, _ = case
    ours = run(layer.call, case, inputs, upstream)
    plain = track(layer, [None if x is None else x.detach().contiguous() for x in inputs])
    theirs = run(layer.reference, case, plain, upstream)
    dtypes, expected = ([y.dtype for y in result[0]] for result in (ours, theirs))
    if dtypes != expected:
        raise ContractError(f"outputs of {dtypes}, torch's of {expected}")
    dtype = min((x.dtype for x in plain if x is not None and x.is_floating_point()), key=lambda d: d.itemsize)
    if dtype == torch.float64:
        return agree(ours, theirs, TOLERANCE[dtype])
    double = track(layer, [x.double() if x is not None and x.is_floating_point() else x for x in plain])
    exact = run(layer.reference, case, double, upstream)
    return agree(ours, exact, max(TOLERANCE[dtype], 4 * agree(theirs, exact, float("inf"))))
