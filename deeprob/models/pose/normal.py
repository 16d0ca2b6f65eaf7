"""The normal equations of a picture: which small motion makes it most like what is seen.

    T(xi) = A exp(xi) B       A: to the object's middle, B: its turn; xi = (v, w), v in diameters, camera axes
    y(xi) = draw(T(xi))       every term of by_render.py
    J = dy / dxi              six pictures: what `deeprob graph render=` shows
    r = y - y'
    N = sum w J^T J,  g = sum w J^T r      w: the pixel's weight / max(|r|, beta), Huber's, reweighted
    N xi = -g                              Gauss and Newton's step

Two things the loss does not have. A mask's r at a silhouette is how many pixels the seen mask's edge is away,
so that one step reaches it, where the loss itself says only that it is not there. And what lies on the
surface is weighted by cos^2 of the angle between normal and ray: what is seen edge on changes much by a small
motion, and then shows another face. For the same reason a depth's Huber weight is that of |r| cos, how far
the reading lies from the surface. `descent.py` takes the steps, and the loss decides whether a step was good.
Fast path: normal_loops.py.
Source: Holland and Welsch, Robust regression using iteratively reweighted least-squares (1977).
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.autograd import forward_ad

from deeprob import layers
from deeprob.layers._fast import or_faster
from deeprob.layers.kernels.descent import STEEP
from deeprob.models.pose.by_render import Drawn, Normal, Seen, Term, compared
from deeprob.models.pose.normal_loops import NormalLoops

Floats = NDArray[np.float64]


def _loops(seen: Seen, drawn: Drawn) -> Callable[[Floats], Normal] | None:
    return NormalLoops(seen, drawn, aim_of(seen))


@or_faster(_loops)
def normal_equations(seen: Seen, drawn: Drawn) -> Callable[[Floats], Normal]:
    """The function of poses of the object's middle, float64 (4, 4), metres, that gives their `Normal`."""
    with torch.inference_mode(False):  # of whoever decodes
        mask, depth, rgb, points = (
            None if x is None else x.double() for x in (seen.mask, seen.depth, seen.rgb, seen.points)
        )
        picture = Seen(seen.K.double(), mask, depth, rgb, points)
        mesh = Drawn(
            *(drawn.vertices.double(), drawn.faces.clone(), drawn.middle.double(), drawn.diameter),
            *(drawn.closed, None if drawn.colors is None else drawn.colors.double()),
        )
        aim = aim_of(seen)
        aimed = None if aim is None else torch.from_numpy(aim).double().nan_to_num()[..., None]
    return lambda T: _normal(torch.from_numpy(T), picture, mesh, aimed)


def _normal(T: Tensor, seen: Seen, drawn: Drawn, aimed: Tensor | None) -> Normal:
    place, turn = torch.eye(4).double(), torch.eye(4).double()
    place[:3, 3], turn[:3, :3] = T[:3, 3], T[:3, :3]
    N, g = torch.zeros(6, 6).double(), torch.zeros(6).double()
    scale = torch.tensor([drawn.diameter] * 3 + [1.0] * 3).double()
    loss = 0.0
    with torch.inference_mode(False), torch.enable_grad(), forward_ad.dual_level():
        still = torch.zeros(6, 6).double()
        xi = forward_ad.make_dual(still, torch.diag(scale))  # type: ignore[no-untyped-call]
        moved = layers.matmul(layers.matmul(place.expand(6, 4, 4), layers.se3_exp(xi)), turn.expand(6, 4, 4))
        terms, visible = compared(layers.project(drawn.vertices, moved, seen.K), seen, drawn)
        if not bool((visible >= 0).any()):
            return Normal(float("inf"), N.numpy(), g.numpy())
        sure = slant(T, visible[0], seen.K, drawn)
        for term in terms:
            loss += float((term.weight * _huber(term.y - term.goal, term.beta))[0].sum())
            picture, J = forward_ad.unpack_dual(term.y)  # type: ignore[no-untyped-call]
            if J is None:
                continue
            goal = term.goal if aimed is None or term.name != "mask" else aimed
            r = (picture - goal)[0]
            far = r.abs() * sure.sqrt() if term.name == "depth" else r.abs()
            w = _weight(term, sure) / far.clamp_min(term.beta)
            N += torch.einsum("ihwc,jhwc->ij", w * J, J)
            g += (w * J * r).sum((1, 2, 3))
    return Normal(loss, N.numpy(), g.numpy())


def _weight(term: Term, sure: Tensor) -> Tensor:
    return term.weight[0] * (sure if term.slanted else 1.0)


def _huber(r: Tensor, beta: float) -> Tensor:
    a: Tensor = forward_ad.unpack_dual(r).primal.abs()  # type: ignore[no-untyped-call]
    return torch.where(a < beta, a * a / (2 * beta), a - beta / 2)


def slant(T: Tensor, visible: Tensor, K: Tensor, drawn: Drawn) -> Tensor:
    """cos^2 (H, W, 1) between ray and normal of the face that each pixel shows; 0 where that is STEEP."""
    corners = (drawn.vertices @ T[:3, :3].T + T[:3, 3])[drawn.faces]
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    v, u = torch.meshgrid(*(torch.arange(n, dtype=T.dtype) for n in visible.shape), indexing="ij")
    ray = torch.stack([u, v, torch.ones_like(u)], -1) @ torch.linalg.inv(K).T
    n = normals[visible.clamp_min(0)]
    cos = ((n * ray).sum(-1) / (n.norm(dim=-1) * ray.norm(dim=-1))).abs()
    square: Tensor = cos.square() * (cos >= STEEP)
    return square[..., None]


def aim_of(seen: Seen) -> NDArray[np.float32] | None:
    """What a silhouette's pixel should show: 1/2 plus how many pixels inside the mask's edge it lies (H, W).

    Next to the edge it is the mask itself, which is finer than a pixel. Unknown pixels are taken as the
    nearest known ones. A noisy mask is taken as it is.
    """
    if seen.mask is None:
        return None
    given = seen.mask.numpy()
    if seen.noisy:
        return np.asarray(given, np.float32)
    known = ~np.isnan(given)
    if not known.all() and known.any():
        nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
        given = given[tuple(nearest)]
    inside = (given >= 0.5).astype(np.uint8)
    if not inside.any() or inside.all():
        return np.asarray(given, np.float32)
    deep, away = (cv2.distanceTransform(part, cv2.DIST_L2, 5) for part in (inside, 1 - inside))
    far = np.where(inside > 0, deep, 1 - away)
    return np.where(np.maximum(deep, away) < 1.2, given, far).astype(np.float32)
