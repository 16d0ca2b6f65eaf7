"""Verify one function of a user's own, and say in words which entry of which input is wrong."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from ..catalogue import Draw, Layer, Sample
from . import _checks as checks
from ._measure import ContractError, error, outputs_of, upstream_like


def claims(function: Callable[..., Any], shapes: Sequence[Sequence[int]]) -> dict[str, Callable[[], float]]:
    """Name the promises that can be checked without a reference, on random float64 inputs of these shapes.

    Each raises ContractError, in words, where it is broken, and returns the largest relative error otherwise.
    """
    inputs = [Draw(seed).nonzero(*shape) for seed, shape in enumerate(shapes)]
    sample = Sample("tiny", "given", lambda d: [x.to(d.dtype) for x in inputs])
    case = (Layer("function", function, function, [sample]), sample)
    found = {
        "gradient, entry by entry": lambda: jacobian_agrees(function, sample, inputs),
        "upstream gradient left alone": lambda: upstream_untouched(function, sample, inputs),
        "any subset of inputs": lambda: checks.every_subset_of_gradients(case),
        "second derivative": lambda: checks.second_derivative(case),
        "forward mode": lambda: checks.forward_mode(case),
        "no vendor gradient": lambda: checks.no_vendor_gradient(case),
        "torch.compile": lambda: checks.compiles(case),
    }
    owner = getattr(function, "__self__", None)
    if isinstance(owner, type) and issubclass(owner, Function):
        with_tangent = hasattr(owner, "tangent") or owner.jvp is not Function.jvp
        if not with_tangent:
            del found["forward mode"]  # a Function need not offer it
    return found


def jacobian_agrees(
    function: Callable[..., Any], sample: Sample, inputs: Sequence[Tensor], step: float = 1e-6
) -> float:
    """Compare every entry of every input's Jacobian with central differences; name the worst that differs."""
    tracked = [x.detach().clone().requires_grad_() for x in inputs]
    outputs = outputs_of(function, sample, tracked)
    weights = upstream_like(outputs)
    analytic = torch.autograd.grad(outputs, tracked, weights, allow_unused=True)

    def weighted(xs: Sequence[Tensor]) -> float:
        with torch.no_grad():
            ys = outputs_of(function, sample, xs)
        return float(sum((y * w).sum() for y, w in zip(ys, weights, strict=True)))

    largest = 0.0
    for i, (x, dx) in enumerate(zip(inputs, analytic, strict=True)):
        if dx is not None and dx.shape != x.shape:
            raise ContractError(
                f"the gradient of input {i} has shape {tuple(dx.shape)}; the input has {tuple(x.shape)}"
            )
        numeric = torch.zeros_like(x)
        for j in range(x.numel()):
            sides = []
            for sign in (1, -1):
                moved = x.detach().clone()
                moved.view(-1)[j] += sign * step
                sides.append(weighted([moved if k == i else z for k, z in enumerate(inputs)]))
            numeric.view(-1)[j] = (sides[0] - sides[1]) / (2 * step)
        found = torch.zeros_like(x) if dx is None else dx
        off = (found - numeric).abs()
        distance = error(found, numeric)
        if distance > 1e-5:
            worst = int(off.argmax())
            entry = tuple(int(n) for n in torch.unravel_index(torch.tensor(worst), x.shape))
            wrong = int((off > 1e-5 * numeric.abs().max().clamp_min(1e-3)).sum())
            a, n = float(found.view(-1)[worst]), float(numeric.view(-1)[worst])
            hint = _hint(found, numeric) if dx is not None else "; backward returned None for it"
            raise ContractError(
                f"input {i}, entry {entry}: backward gives {a:.6g}, finite differences give {n:.6g}; "
                f"{wrong} of {x.numel()} entries of this input differ{hint}"
            )
        largest = max(largest, distance)
    return largest


def _hint(found: Tensor, numeric: Tensor) -> str:
    """Say what kind of mistake it looks like, where one factor or a transposition explains all entries."""
    factor = float((found * numeric).sum() / (numeric * numeric).sum().clamp_min(1e-30))
    if torch.allclose(found, factor * numeric, rtol=1e-4, atol=1e-6):
        return f"; all are {factor:.4g} times the right value"
    if (
        found.dim() == 2
        and found.shape[0] == found.shape[1]
        and torch.allclose(found, numeric.t(), rtol=1e-4)
    ):
        return "; it is the transpose of the right gradient"
    return ""


def upstream_untouched(function: Callable[..., Any], sample: Sample, inputs: Sequence[Tensor]) -> float:
    """Check that the backward does not write into the upstream gradient, and takes one of stride 0."""
    tracked = [x.detach().clone().requires_grad_() for x in inputs]
    outputs = outputs_of(function, sample, tracked)
    upstream = upstream_like(outputs)
    before = [u.clone() for u in upstream]
    torch.autograd.grad(outputs, tracked, upstream, retain_graph=True, allow_unused=True)
    for i, (u, b) in enumerate(zip(upstream, before, strict=True)):
        if not torch.equal(u, b):
            raise ContractError(
                f"backward wrote into the upstream gradient of output {i}, which another branch of the graph "
                "may share: use `dy * ...` or a clone, never `dy.mul_(...)`"
            )
    torch.autograd.grad(
        outputs, tracked, [torch.ones(()).to(y).expand_as(y) for y in outputs], allow_unused=True
    )
    return 0.0
