"""What flows through a layer, in numbers and in words: vanishing, exploding, dead, saturated."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

DEAD_SHARE, SATURATED_SHARE = 0.5, 0.5  # of the units, or entries, from which a word is said
VANISHING, EXPLODING = 1e-4, 1e4  # gradient norm relative to that at the model's output
EDGE = 0.01  # how near its limits a sigmoid or tanh counts as saturated
RECTIFIERS = {"relu", "ReLU"}
LIMITS = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}


@dataclass(frozen=True)
class Flow:
    """One layer's output over a batch.

    norm: Euclidean. dead: share of a rectifier's units (axis 1) that are zero for the whole batch.
    saturated: share of a sigmoid's or tanh's entries within EDGE of its limits. None where it does not apply.
    """

    norm: float
    dead: float | None = None
    saturated: float | None = None


@torch.no_grad()
def flow_of(y: Tensor, kind: str) -> Flow:
    """The flow of an output y (N, units, ...) of a layer of this kind."""
    y = y.detach()
    norm = float(
        torch.linalg.vector_norm(y, dtype=torch.float64 if y.dtype == torch.float64 else torch.float32)
    )
    if kind in RECTIFIERS and y.dim() >= 2 and y.numel():
        alive = (y != 0).any(0)
        alive = alive.flatten(1).any(1) if alive.dim() > 1 else alive
        return Flow(norm, dead=1 - float(alive.float().mean()))
    limits = LIMITS.get(kind.lower())
    if limits is not None and y.numel():
        low, high = limits
        near = (y < low + EDGE) | (y > high - EDGE)
        return Flow(norm, saturated=float(near.float().mean()))
    return Flow(norm)


def words(flow: Flow | None, gradient: float | None, at_output: float | None) -> list[str]:
    """What is wrong with a layer; empty where nothing is.

    gradient: norm of dL/dy of the layer; at_output: that of the model's output, to compare with.
    """
    told = []
    if flow is not None:
        if not math.isfinite(flow.norm):
            told.append("activation is not finite")
        if flow.dead is not None and flow.dead >= DEAD_SHARE:
            told.append(f"dead: {100 * flow.dead:.0f} % of its units are zero for the whole batch")
        if flow.saturated is not None and flow.saturated >= SATURATED_SHARE:
            told.append(f"saturated: {100 * flow.saturated:.0f} % of its entries lie at a limit")
    if gradient is None or at_output is None:
        return told
    if not math.isfinite(gradient):
        told.append("gradient is not finite")
    elif gradient == 0 < at_output:
        told.append("no gradient reaches it")
    elif at_output > 0 and gradient < VANISHING * at_output:
        told.append(f"vanishing gradient: {gradient / at_output:.0e} of that at the output")
    elif at_output > 0 and gradient > EXPLODING * at_output:
        told.append(f"exploding gradient: {gradient / at_output:.0e} times that at the output")
    return told
