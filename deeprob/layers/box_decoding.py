"""Boxes from what a detection head says: distances from a point, or deltas of a box.

    y (..., 4) boxes (x1, y1, x2, y2), in the unit of the points or boxes that they come from

    distances, d = (l, t, r, b) (..., 4) from a point (px, py) (..., 2) to the four sides:
        y = (px - l, py - t, px + r, py + b)
        dd = (-dy1, -dy2, dy3, dy4)            dp = (dy1 + dy3, dy2 + dy4)

    deltas, d (..., 4) of a box of centre c and size s = (w, h), weights q (4):
        c' = c + s d_xy / q_xy,   s' = s e^v,   v = min(d_wh / q_wh, clamp)     y = (c' - s'/2, c' + s'/2)
        dc' = dy_lo + dy_hi,   ds' = (dy_hi - dy_lo) / 2
        dd_xy = dc' s / q_xy,  dd_wh = ds' s' / q_wh where v is not clamped, else 0
        dc = dc',  ds = dc' d_xy / q_xy + ds' e^v;   a box's corners have dc/2 - ds and dc/2 + ds

Points and boxes broadcast against what is said of them, and then their gradient is the sum. The clamp keeps
e^v from overflowing early in training, when d is anything.
Cost: some 10 and 40 FLOPs a box; distances save nothing, deltas save their inputs.
Source: Tian et al. 2019, FCOS, equation 1; Ren et al. 2015, Faster R-CNN, equation 2, and its clamp.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ._function import Function, expect, expect_alike

LARGEST_GROWTH = math.log(1000 / 16)


class DistancesToBoxesFunction(Function):
    """y = (p, p) + (-1, -1, 1, 1) d."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(points: Tensor, distances: Tensor) -> Tensor:
        return torch.addcmul(torch.cat([points, points], -1), distances, outwards(distances))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.shapes = [x.shape for x in inputs]

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        points, distances = ctx.shapes
        dtwice = dy.sum_to_size(*points[:-1], 4)
        return dtwice[..., :2] + dtwice[..., 2:], (dy * outwards(dy)).sum_to_size(distances)

    @staticmethod
    def tangent(ctx: Any, points_dot: Tensor, distances_dot: Tensor) -> Tensor:
        return DistancesToBoxesFunction.forward(points_dot, distances_dot)


class DeltasToBoxesFunction(Function):
    """y = (c' - s'/2, c' + s'/2). Inside, coordinates come first: (4, ...), whose halves are dense."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(boxes: Tensor, deltas: Tensor, weights: Sequence[float], clamp: float) -> Tensor:
        (centre, size), shift, growth = terms(boxes, deltas, weights)
        centre, size = centre + size * shift, size * growth.clamp_max(clamp).exp()
        return coordinates_last(centre - size / 2, centre + size / 2)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        boxes, deltas, ctx.weights, ctx.clamp = inputs
        ctx.save_for_backward(boxes, deltas)
        ctx.save_for_forward(boxes, deltas)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        boxes, deltas = ctx.saved_tensors
        need_boxes, need_deltas, *_ = ctx.needs_input_grad
        (_, size), shift, growth = terms(boxes, deltas, ctx.weights)
        factor = growth.clamp_max(ctx.clamp).exp()
        lo, hi = coordinates_first(dy, dy.dim()).chunk(2)
        dcentre, dsize = lo + hi, (hi - lo) / 2
        dboxes = ddeltas = None
        if need_boxes:
            ds = dcentre * shift + dsize * factor
            dboxes = coordinates_last(dcentre / 2 - ds, dcentre / 2 + ds).sum_to_size(boxes.shape)
        if need_deltas:
            dgrowth = dsize * size * factor * (growth <= ctx.clamp)
            said = weighted(dcentre * size, dgrowth, ctx.weights)
            ddeltas = coordinates_last(*said).sum_to_size(deltas.shape)
        return dboxes, ddeltas, None, None

    @staticmethod
    def tangent(ctx: Any, boxes_dot: Tensor, deltas_dot: Tensor, *__: None) -> Any:
        boxes, deltas = ctx.saved_tensors
        (_, size), shift, growth = terms(boxes, deltas, ctx.weights)
        (centre_dot, size_dot), shift_dot, growth_dot = terms(boxes_dot, deltas_dot, ctx.weights)
        growth_dot = growth_dot * (growth <= ctx.clamp)
        centre_dot = centre_dot + size_dot * shift + size * shift_dot
        size_dot = (size_dot + size * growth_dot) * growth.clamp_max(ctx.clamp).exp()
        return coordinates_last(centre_dot - size_dot / 2, centre_dot + size_dot / 2)


def outwards(like: Tensor) -> Tensor:
    """Return (-1, -1, 1, 1): which way a box's sides go as their distances grow."""
    return like.new_tensor([-1.0, -1.0, 1.0, 1.0])


def terms(
    boxes: Tensor, deltas: Tensor, weights: Sequence[float]
) -> tuple[tuple[Tensor, Tensor], Tensor, Tensor]:
    """Return (c, s), d_xy / q_xy and d_wh / q_wh, each (2, ...)."""
    num_axes = max(boxes.dim(), deltas.dim())
    lo, hi = coordinates_first(boxes, num_axes).chunk(2)
    xy, wh = coordinates_first(deltas, num_axes).chunk(2)
    shift, growth = weighted(xy, wh, weights)
    return ((lo + hi) / 2, hi - lo), shift, growth


def weighted(xy: Tensor, wh: Tensor, weights: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Divide x, y, w and h, each of its own row, by their weights."""
    if all(w == 1 for w in weights):
        return xy, wh
    q_xy, q_wh = xy.new_tensor(weights).reshape(4, *[1] * (xy.dim() - 1)).chunk(2)
    return xy / q_xy, wh / q_wh


def coordinates_first(x: Tensor, num_axes: int) -> Tensor:
    """Lay x (..., 4) out as (4, ...), with as many axes as asked for."""
    return x.reshape(*[1] * (num_axes - x.dim()), *x.shape).movedim(-1, 0).contiguous()


def coordinates_last(lo: Tensor, hi: Tensor) -> Tensor:
    """Lay two halves (2, ...) out as (..., 4)."""
    return torch.cat([lo, hi]).movedim(0, -1).contiguous()


def distances_to_boxes(points: Tensor, distances: Tensor) -> Tensor:
    """Return boxes (..., 4) around points (..., 2) by the distances (..., 4) to left, top, right and bottom.

    Distances are in the points' unit: times the stride, where a head speaks in strides. Raises ValueError
    where shapes, dtypes or devices do not fit.
    """
    _expect_pair("distances_to_boxes", points, "points", 2, distances, "distances")
    y: Tensor = DistancesToBoxesFunction.apply(points, distances)
    return y


def deltas_to_boxes(
    boxes: Tensor,
    deltas: Tensor,
    weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
    clamp: float = LARGEST_GROWTH,
) -> Tensor:
    """Return boxes (..., 4) moved and resized by deltas (..., 4): as torchvision's BoxCoder decodes.

    deltas are (x, y, w, h), divided by `weights`: x and y in sizes of the box, w and h as the logarithm of
    the growth, at most `clamp`. One box has deltas for each class where boxes are (N, 1, 4), deltas
    (N, C, 4). Raises ValueError where shapes, dtypes, devices or options do not fit.
    """
    name = "deltas_to_boxes"
    _expect_pair(name, boxes, "boxes", 4, deltas, "deltas")
    expect(len(weights) == 4 and min(weights) > 0, name, "four weights above 0", tuple(weights))
    y: Tensor = DeltasToBoxesFunction.apply(boxes, deltas, tuple(weights), clamp)
    return y


def _expect_pair(layer: str, a: Tensor, what: str, width: int, b: Tensor, said: str) -> None:
    expect(a.dim() > 0 and a.shape[-1] == width, layer, f"{what} (..., {width})", a)
    expect(b.dim() > 0 and b.shape[-1] == 4, layer, f"{said} (..., 4)", b)
    leading = zip(a.shape[-2::-1], b.shape[-2::-1], strict=False)
    fits = all(i == j or 1 in (i, j) for i, j in leading)
    expect(fits, layer, f"{said} whose leading axes broadcast with {what} {tuple(a.shape)}", b)
    expect_alike(layer, **{what: a, said: b})
