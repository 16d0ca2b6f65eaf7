"""A pose refined by descending its picture: Levenberg and Marquardt's steps over the twist.

    (N + lambda diag N) xi = -g,   T <- A exp(xi) B          N, g: normal.py, of the pose that is left

A step that makes the loss of by_render.py less is taken, and lambda divided by 4; one that does not is not,
and lambda multiplied by 6. It ends where steps become small, or several fail. Several starts about the pose
descend on the coarsest picture; the best of them go on to the finer ones. The pose is kept where the finest
picture's loss does not fall.

Against a noisy mask, made of colours pixel by pixel, the loss has many small hollows, and these steps end in
the first: there Adam descends the loss instead, from the pose alone, over all of its steps.
Sources: Marquardt, An algorithm for least-squares estimation of nonlinear parameters (1963); Kingma and Ba,
Adam (2015).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from deeprob import layers
from deeprob.models.pose.by_render import Drawn, Normal, Seen, losses
from deeprob.models.pose.normal import normal_equations

Floats = NDArray[np.float64]

STEPS = (12, 12)  # at most, on each picture
STARTS = 6  # where the pose may be far off
FIRST, LEAST, AFTER_FAILURE = 0.01, 1e-4, 1e-3  # lambda
EASED, HARDENED = 4.0, 6.0
FLOOR = 1e-4  # of the largest entry of N's diagonal: what nothing tells of does not move
FAILURES = 4  # in a row: nothing better is near
LARGEST = 0.3  # of a step, diameters and radians
SMALL, GAIN = 2e-3, 1e-3  # a step, and its part of the loss, after which there is nothing more to gain
SPREAD = 0.12  # of the starts, diameters and radians
FOLLOWED = 2  # starts that go on to finer pictures
ADAM_STEPS = (30, 20)  # where masks are noisy: on the coarsest picture, and on each finer one
RATE, LAST_RATE = 0.03, 0.002  # of Adam's steps, diameters and radians: half a cosine from one to the other
DECAY = (0.8, 0.95)  # of the running means of a slope and of its square


class Refined(NamedTuple):
    """A pose float64 (4, 4), its loss and that of the start, and the loss after each step that led there."""

    T: Floats
    loss: float
    before: float
    history: list[float]


class _Reached(NamedTuple):
    T: Floats
    loss: float
    history: list[float]


def refined(
    T: Floats,
    pyramid: Sequence[Seen],
    drawn: Drawn,
    steps: Sequence[int] = STEPS,
    starts: int = 1,
    seed: int = 0,
    free: Sequence[int] = range(6),
) -> Refined:
    """Refine a pose (4, 4), metres, on pictures from coarse to fine, with at most so many steps on each.

    starts: the pose itself, and others about it by some degrees. free: which of the six motions there are.
    The pose is kept where the last picture's loss does not fall.
    """
    start = np.asarray(T, np.float64)
    middle, scale = drawn.middle.double().numpy(), np.array([drawn.diameter] * 3 + [1.0] * 3)
    there = start.copy()
    there[:3, 3] += start[:3, :3] @ middle
    pictures = [normal_equations(seen, drawn) for seen in pyramid]
    before = pictures[-1](there).loss
    if not np.isfinite(before):
        return Refined(start, before, before, [])
    if all(seen.noisy for seen in pyramid):
        best = _by_adam(there, pyramid, drawn, scale)
        best = best._replace(loss=pictures[-1](best.T).loss)
    else:
        best = _by_levenberg(there, pictures, steps, starts, seed, scale, list(free))
    if not best.loss < before:
        return Refined(start, before, before, best.history)
    found = best.T.copy()
    found[:3, :3] = layers.rotation_9d_to_matrix(torch.from_numpy(found[:3, :3])).numpy()
    found[:3, 3] -= found[:3, :3] @ middle
    return Refined(found, best.loss, before, best.history)


def _by_levenberg(
    there: Floats,
    pictures: Sequence[Callable[[Floats], Normal]],
    steps: Sequence[int],
    starts: int,
    seed: int,
    scale: Floats,
    free: list[int],
) -> _Reached:
    """The best that several starts about a pose lead to."""
    twists = SPREAD * torch.randn(starts, 6, generator=torch.Generator().manual_seed(seed)).double().numpy()
    twists[0] = 0
    reached = [_Reached(moved(there, xi * scale), np.inf, []) for xi in twists]
    for of, count in zip(pictures, steps, strict=True):
        reached = [_descended(one, of, count, scale, free) for one in reached]
        reached = sorted(reached, key=lambda one: one.loss)[:FOLLOWED]
    return reached[0]


def _by_adam(there: Floats, pyramid: Sequence[Seen], drawn: Drawn, scale: Floats) -> _Reached:
    """Where Adam's steps end, good or bad; the loss there is not known yet."""
    place, turn = torch.eye(4)[None].clone(), torch.eye(4)[None].clone()
    place[0, :3, 3], turn[0, :3, :3] = torch.from_numpy(there[:3, 3]), torch.from_numpy(there[:3, :3])
    mean, square, xi, history = torch.zeros(1, 6), torch.zeros(1, 6), torch.zeros(1, 6), list[float]()
    lengths = torch.from_numpy(scale).float()
    counts = [ADAM_STEPS[min(k, 1)] for k in range(len(pyramid))]
    for seen, count in zip(pyramid, counts, strict=True):
        for _ in range(count):
            xi.requires_grad_()
            T = layers.matmul(layers.matmul(place, layers.se3_exp(xi * lengths)), turn)
            loss = losses(T, seen, drawn)
            (slope,) = torch.autograd.grad(loss.sum(), xi)
            history.append(float(loss.detach()))
            done = len(history)
            mean.mul_(DECAY[0]).add_(slope, alpha=1 - DECAY[0])
            square.mul_(DECAY[1]).addcmul_(slope, slope, value=1 - DECAY[1])
            spread = (square / (1 - DECAY[1] ** done)).sqrt() + 1e-6
            rate = LAST_RATE + (RATE - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * done / sum(counts)))
            xi = (xi.detach() - rate * mean / (1 - DECAY[0] ** done) / spread).nan_to_num()
    return _Reached(moved(there, xi.detach()[0].double().numpy() * scale), np.inf, history)


def _descended(
    start: _Reached, of: Callable[[Floats], Normal], steps: int, scale: Floats, free: list[int]
) -> _Reached:
    """At most so many steps on one picture."""
    T, now, history = start.T, of(start.T), [*start.history]
    damping, failures, xi = FIRST, 0, np.zeros(6)
    if not np.isfinite(now.loss):
        return _Reached(T, np.inf, history)
    history.append(now.loss)
    for _ in range(steps):
        N, g = now.N[np.ix_(free, free)], now.g[free]
        diagonal = N.diagonal()
        damped = N + np.diag(damping * diagonal + FLOOR * diagonal.max() + 1e-12)
        xi[free] = -np.linalg.solve(damped, g)
        size = float(np.abs(xi).max())
        candidate = moved(T, xi * scale * min(1.0, LARGEST / max(size, 1e-12)))
        then = of(candidate)
        if then.loss < now.loss:
            gained = now.loss - then.loss
            T, now, damping, failures = candidate, then, max(damping / EASED, LEAST), 0
            if gained < GAIN * now.loss and size < SMALL:
                break
        else:
            damping, failures = max(damping * HARDENED, AFTER_FAILURE), failures + 1
            if failures >= FAILURES:
                break
        history.append(now.loss)
    return _Reached(T, now.loss, history)


def moved(T: Floats, xi: Floats) -> Floats:
    """The pose (4, 4) of the middle, turned about it and shifted by a twist (6,), metres and radians."""
    step = layers.se3_exp(torch.from_numpy(xi)).numpy()
    there = T.copy()
    there[:3, :3], there[:3, 3] = step[:3, :3] @ T[:3, :3], T[:3, 3] + step[:3, 3]
    return there
