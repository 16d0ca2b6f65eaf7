"""A pose refined by descending a picture: the object is drawn, compared, and moved along the gradient.

    T(xi) = A exp(xi) B       A: to its middle, B: its turn; xi = (v, w), v in diameters, camera axes
    y = draw(T(xi))           depth z, mask m with smooth silhouettes, colour c (layers/render)
    l = sum (m - m')^2 / sum m'                                 where the mask m' is known
      + 10 mean |z - z'| / d  where both are, and nothing lies before it; Huber's rounding at 1 mm
      + mean |g c + h - c'|    g, h: the light, fitted by least squares; Huber's at 0.05

Adam over xi from several starts, first on coarse pixels, then on fine ones. The start is kept where nothing
is better. What lies nearer than the object by more than a limit hides it: there nothing is known of its mask.
Sources: Laine et al. 2020; Tremblay et al., Diff-DOPE (2023); Kingma and Ba, Adam (2015).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeprob import layers
from deeprob.geometry.mesh import Mesh
from deeprob.geometry.thinning import thinned

Floats = NDArray[np.float64]

FACES = 1000  # of the mesh that is drawn
RATE, LAST_RATE = 0.03, 0.002  # of a step, in diameters and radians
DECAY = (0.8, 0.95)  # of the running means of a slope and of its square
HIDING = 0.15  # diameters: what is so much nearer than the object lies before it
BETA_M, BETA_COLOUR = 0.001, 0.05
WEIGHTS = {"mask": 1.0, "depth": 10.0, "rgb": 1.0}


class Seen(NamedTuple):
    """What is known of one object on H x W pixels. Each may be None.

    K: float32 (3, 3), of these pixels. mask: float32 (H, W), 0 to 1 on the visible object, NaN unknown.
    depth: float32 (H, W), metres, 0 or NaN without a reading. rgb: float32 (H, W, 3), 0 to 1, NaN unknown.
    """

    K: Tensor
    mask: Tensor | None = None
    depth: Tensor | None = None
    rgb: Tensor | None = None

    @property
    def size(self) -> tuple[int, int]:
        """H and W."""
        first = next(x for x in (self.mask, self.depth, self.rgb) if x is not None)
        return first.shape[0], first.shape[1]


@dataclass(frozen=True, eq=False)
class Drawn:
    """A mesh as it is drawn: vertices float32 (V, 3) from its middle, faces int64 (F, 3).

    middle: (3,), metres. diameter: metres. closed: the back of no face is seen. colors: float32 (F, 3, 3), at
    the faces' corners.
    """

    vertices: Tensor
    faces: Tensor
    middle: Tensor
    diameter: float
    closed: bool
    colors: Tensor | None = None

    @classmethod
    def of(cls, mesh: Mesh, diameter: float, max_faces: int = FACES) -> Drawn:
        """Thin a mesh for drawing."""
        small = thinned(mesh, max_faces)
        middle = torch.from_numpy(mesh.centre).float()
        vertices = torch.from_numpy(small.vertices).float() - middle
        faces = torch.from_numpy(small.faces.astype(np.int64))
        return cls(vertices, faces, middle, diameter, small.closed, torch.from_numpy(corner_colors(small)))

    @classmethod
    def of_triangles(cls, triangles: Tensor, middle: Tensor, diameter: float) -> Drawn:
        """From corners (F, 3, 3) alone, metres; both sides of each are seen."""
        vertices, index = torch.unique(triangles.reshape(-1, 3) - middle, dim=0, return_inverse=True)
        return cls(vertices, index.reshape(-1, 3), middle, diameter, closed=False)

    def to_differentiate(self) -> Drawn:
        """Itself, or a copy where its tensors were made under inference mode."""
        if not self.vertices.is_inference():
            return self
        tensors = ("vertices", "faces", "middle", "colors")
        copies = {name: x.clone() for name in tensors if (x := getattr(self, name)) is not None}
        return replace(self, **copies)

    @cached_property
    def edges(self) -> Tensor:
        return layers.mesh_edges(self.faces)

    @cached_property
    def corners(self) -> Tensor:
        """Faces whose corners are vertices of their own."""
        return torch.arange(3 * len(self.faces)).reshape(-1, 3)


def corner_colors(mesh: Mesh) -> NDArray[np.float32]:
    """Colours (F, 3, 3) of the corners, textures included."""
    colors = mesh.colors.copy()
    for number, picture in enumerate(mesh.textures):
        own = mesh.face_texture == number
        texels = torch.from_numpy(picture.astype(np.float32) / 255)
        colors[own] *= layers.texture(texels, torch.from_numpy(mesh.uv[own])).numpy()
    return colors


class Refined(NamedTuple):
    """A pose float64 (4, 4), its loss and that of the start, and the loss of the best start at every step."""

    T: Floats
    loss: float
    before: float
    history: list[float]


def refined(
    T: Floats,
    pyramid: list[Seen],
    drawn: Drawn,
    steps: tuple[int, ...] = (30, 20),
    starts: int = 1,
    seed: int = 0,
    rates: tuple[float, float] = (RATE, LAST_RATE),
) -> Refined:
    """Refine a pose (4, 4), metres, on pictures from coarse to fine, with as many steps on each.

    starts: the pose itself, and others about it by some degrees. rates: of the first step and the last. The
    pose is kept where the last picture's loss does not fall.
    """
    with torch.inference_mode(False), torch.enable_grad():  # of whoever decodes
        copied = [
            Seen(seen.K.clone(), *(None if x is None else x.clone() for x in seen[1:])) for seen in pyramid
        ]
        return _descended(T, copied, drawn.to_differentiate(), steps, starts, seed, rates)


def _descended(
    T: Floats,
    pyramid: list[Seen],
    drawn: Drawn,
    steps: tuple[int, ...],
    starts: int,
    seed: int,
    rates: tuple[float, float],
) -> Refined:
    pose = torch.from_numpy(np.asarray(T, np.float64)).float()
    place, turn = torch.eye(4).repeat(starts, 1, 1), torch.eye(4).repeat(starts, 1, 1)
    place[:, :3, 3] = pose[:3, :3] @ drawn.middle + pose[:3, 3]
    turn[:, :3, :3] = pose[:3, :3]
    xi = 0.12 * torch.randn(starts, 6, generator=torch.Generator().manual_seed(seed))
    xi[0] = 0
    scale = torch.tensor([drawn.diameter] * 3 + [1.0] * 3)

    def moved(xi: Tensor) -> Tensor:
        return layers.matmul(layers.matmul(place, layers.se3_exp(xi * scale)), turn)

    with torch.no_grad():
        before = float(losses(moved(torch.zeros_like(xi)), pyramid[-1], drawn)[0])
    if not np.isfinite(before):
        return Refined(np.asarray(T, np.float64), before, before, [])
    history: list[float] = []
    mean, square = torch.zeros_like(xi), torch.zeros_like(xi)
    for seen, count in zip(pyramid, steps, strict=True):
        for _ in range(count):
            xi.requires_grad_()
            loss = losses(moved(xi), seen, drawn)
            (slope,) = torch.autograd.grad(loss.sum(), xi)
            history.append(float(loss.detach().min()))
            rate = annealed(rates, len(history) / sum(steps))
            xi = (xi.detach() - rate * adam_step(slope, mean, square, len(history))).nan_to_num()
    with torch.no_grad():
        there = moved(xi)
        last = losses(there, pyramid[-1], drawn).nan_to_num(torch.inf)
    best = int(last.argmin())
    if not float(last[best]) < before:
        return Refined(np.asarray(T, np.float64), before, before, history)
    found = there[best].double().numpy()
    found[:3, :3] = layers.rotation_9d_to_matrix(there[best, :3, :3].double()).numpy()
    found[:3, 3] -= found[:3, :3] @ drawn.middle.double().numpy()
    return Refined(found, float(last[best]), before, history)


def annealed(rates: tuple[float, float], done: float) -> float:
    """The rate when a share of the steps is done: half a cosine from the first to the last."""
    first, last = rates
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * done))


def adam_step(slope: Tensor, mean: Tensor, square: Tensor, done: int) -> Tensor:
    """The step, of rate 1, after `done` slopes; their running mean and square are updated."""
    mean.mul_(DECAY[0]).add_(slope, alpha=1 - DECAY[0])
    square.mul_(DECAY[1]).addcmul_(slope, slope, value=1 - DECAY[1])
    spread = (square / (1 - DECAY[1] ** done)).sqrt() + 1e-6
    return mean / (1 - DECAY[0] ** done) / spread


def losses(T: Tensor, seen: Seen, drawn: Drawn) -> Tensor:
    """The loss (B,) of poses T (B, 4, 4) of the object's middle; infinite where none of it is seen."""
    return losses_of_points(layers.project(drawn.vertices, T, seen.K), seen, drawn)


def losses_of_points(points: Tensor, seen: Seen, drawn: Drawn) -> Tensor:
    """The loss (B,) of vertices projected to points (B, V, 3), pixels and depth."""
    b, visible = layers.rasterize(points, drawn.faces, seen.size, drawn.closed)
    shown, hidden = visible >= 0, torch.zeros_like(visible, dtype=torch.bool)
    total = torch.zeros(len(points))
    if seen.depth is not None:
        _, far = layers.split(points, [2, 1], 2)
        z = layers.interpolate_attributes(far, b, drawn.faces, visible).squeeze(-1)
        with torch.no_grad():
            gap = z - seen.depth
            read = shown & (seen.depth > 0)
            hidden = read & (gap > HIDING * drawn.diameter)
            counted = read & (gap.abs() <= HIDING * drawn.diameter)
            if seen.mask is not None:
                counted &= ~(seen.mask < 0.5)
            goal = torch.where(counted, seen.depth, z)
        error = layers.smooth_l1_loss(z, goal, "none", BETA_M).sum((1, 2))
        total = total + WEIGHTS["depth"] / drawn.diameter * error / counted.sum((1, 2)).clamp_min(1)
    if seen.mask is not None:
        crossings = layers.silhouette_crossings(points, drawn.edges, drawn.faces, visible)
        m = layers.antialias(shown.float()[..., None], points, *crossings).squeeze(-1)
        known = ~(hidden | seen.mask.isnan())
        goal = torch.where(known, seen.mask.nan_to_num(), m.detach())
        error = layers.mse_loss(m, goal, "none").sum((1, 2))
        total = total + WEIGHTS["mask"] * error / seen.mask.nan_to_num().sum().clamp_min(1)
    if seen.rgb is not None and drawn.colors is not None:
        total = total + WEIGHTS["rgb"] * photometric(b, visible, seen, drawn)
    return torch.where(shown.any(-1).any(-1), total, torch.inf)


def photometric(b: Tensor, visible: Tensor, seen: Seen, drawn: Drawn) -> Tensor:
    """How far the colours (B,) are off, under the light that fits them best, over what is drawn."""
    assert seen.rgb is not None
    assert drawn.colors is not None
    c = layers.interpolate_attributes(drawn.colors.reshape(-1, 3), b, drawn.corners, visible)
    with torch.no_grad():
        on = ((visible >= 0) & ~seen.rgb.isnan().any(-1)).float()[..., None]
        if seen.mask is not None:
            on = on * (seen.mask.nan_to_num() > 0.5).float()[..., None]
        rgb = seen.rgb.nan_to_num()
        count = on.sum((1, 2), keepdim=True).clamp_min(1)
        c_mean = (c * on).sum((1, 2), keepdim=True) / count
        seen_mean = (rgb * on).sum((1, 2), keepdim=True) / count
        apart = (c - c_mean) * on
        gain = (apart * (rgb - seen_mean)).sum((1, 2), keepdim=True)
        gain = (gain / (apart.square().sum((1, 2), keepdim=True) + 0.02 * count)).clamp(0.1, 3)
        goal = torch.where(on > 0, (rgb - seen_mean) / gain + c_mean, c)
    error = layers.smooth_l1_loss(c, goal, "none", BETA_COLOUR)
    return error.sum((1, 2, 3)) / (3 * count.flatten())
