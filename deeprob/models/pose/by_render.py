"""A pose judged by its picture: the object is drawn, and compared with what is seen of it.

    y = draw(T)      layers/render: depth z, mask m with smooth silhouettes, colour c, surface point X
    l = sum (m - m')^2 / sum m'                                 where the mask m' is known
      + 10 mean |z - z'| / d  where both are, and nothing lies before it; Huber's rounding at 1 mm
      + mean |g c + h - c'|    g, h: the light, fitted by least squares; Huber's at 0.05
      + mean |X - X'| / d      where somebody says which point of the object a pixel shows; Huber's at 0.03

`descent.py` finds the pose for which l is least. What lies nearer than the object by more than a limit hides
it: there nothing is known of its mask.
Sources: Laine et al. 2020; Tremblay et al., Diff-DOPE (2023).
"""

from __future__ import annotations

from dataclasses import dataclass
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
HIDING = 0.15  # diameters: what is so much nearer than the object lies before it
BETA_M, BETA_COLOUR, BETA_POINTS = 0.001, 0.05, 0.03  # metres; of 1; diameters
LEAST_SPREAD = 0.02  # of a light's fit: the variance of colours that tells nothing of it
LEAST_GAIN, LARGEST_GAIN = 0.1, 3.0
WEIGHTS = {"mask": 1.0, "depth": 10.0, "rgb": 1.0, "points": 1.0}


class Seen(NamedTuple):
    """What is known of one object on H x W pixels. Each may be None.

    K: float32 (3, 3), of these pixels. mask: float32 (H, W), 0 to 1 on the visible object, NaN unknown.
    depth: float32 (H, W), metres, 0 or NaN without a reading. rgb: float32 (H, W, 3), 0 to 1, NaN unknown.
    points: float32 (H, W, 3), metres, which point of the object each pixel shows, from the object's middle in
    its own axes, NaN unknown. noisy: the mask is each pixel's own guess, and has no edge to speak of.
    """

    K: Tensor
    mask: Tensor | None = None
    depth: Tensor | None = None
    rgb: Tensor | None = None
    points: Tensor | None = None
    noisy: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """H and W."""
        first = next(x for x in (self.mask, self.depth, self.rgb, self.points) if x is not None)
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


class Normal(NamedTuple):
    """Of a pose: its loss, infinite where nothing is seen, and its normal equations N (6, 6), g (6,)."""

    loss: float
    N: Floats
    g: Floats


class Term(NamedTuple):
    """What is drawn y (B, H, W, C), what it should be, how much it counts (B, H, W, 1), and Huber's limit.

    slanted: whether it lies on the surface, so that a pixel that sees it edge on tells little of a motion.
    """

    name: str
    y: Tensor
    goal: Tensor
    weight: Tensor
    beta: float
    slanted: bool


def losses(T: Tensor, seen: Seen, drawn: Drawn) -> Tensor:
    """The loss (B,) of poses T (B, 4, 4) of the object's middle; infinite where none of it is seen."""
    return losses_of_points(layers.project(drawn.vertices, T, seen.K), seen, drawn)


def losses_of_points(points: Tensor, seen: Seen, drawn: Drawn) -> Tensor:
    """The loss (B,) of vertices projected to points (B, V, 3), pixels and depth."""
    terms, visible = compared(points, seen, drawn)
    total = points.new_zeros(len(points))
    for term in terms:
        error = layers.smooth_l1_loss(term.y, term.goal, "none", term.beta)
        total = total + (term.weight * error).sum((1, 2, 3))
    return torch.where((visible >= 0).any(-1).any(-1), total, torch.inf)


def compared(points: Tensor, seen: Seen, drawn: Drawn) -> tuple[list[Term], Tensor]:
    """The terms of the loss, and the face (B, H, W) that each pixel shows."""
    b, visible = layers.rasterize(points, drawn.faces, seen.size, drawn.closed)
    shown, hidden = visible >= 0, torch.zeros_like(visible, dtype=torch.bool)
    on = shown
    if seen.mask is not None:
        on = on & (seen.mask.nan_to_num() > 0.5)
    terms = []
    if seen.depth is not None:
        _, far = layers.split(points, [2, 1], 2)
        z = layers.interpolate_attributes(far, b, drawn.faces, visible)
        with torch.no_grad():
            depth = seen.depth.to(z.dtype)[None, ..., None]
            read, gap = shown[..., None] & (depth > 0), z - depth
            hidden = (read & (gap > HIDING * drawn.diameter)).squeeze(-1)
            counted = read & (gap.abs() <= HIDING * drawn.diameter)
            if seen.mask is not None:
                counted &= ~(seen.mask < 0.5)[..., None]
        share = WEIGHTS["depth"] / drawn.diameter
        terms.append(_term("depth", z, depth.expand_as(z), counted, share, BETA_M))
    if seen.mask is not None:
        crossings = layers.silhouette_crossings(points, drawn.edges, drawn.faces, visible)
        m = layers.antialias(shown.to(points.dtype)[..., None], points, *crossings)
        known = ~(hidden | seen.mask.isnan())[..., None]
        weight = 2 * WEIGHTS["mask"] / seen.mask.nan_to_num().sum().clamp_min(1)
        goal = torch.where(known, seen.mask.to(m.dtype)[..., None], m.detach())
        terms.append(Term("mask", m, goal, known * weight, 1.0, False))  # 2 H(m - m') = (m - m')^2
    if seen.rgb is not None and drawn.colors is not None:
        colors = drawn.colors.to(points.dtype).reshape(-1, 3)
        c = layers.interpolate_attributes(colors, b, drawn.corners, visible)
        known = (on & ~hidden & ~seen.rgb.isnan().any(-1))[..., None]
        goal = lit(c.detach(), known, seen.rgb.nan_to_num().to(c.dtype))
        terms.append(_term("rgb", c, goal, known, WEIGHTS["rgb"] / 3, BETA_COLOUR))
    if seen.points is not None:
        X = layers.interpolate_attributes(drawn.vertices.to(points.dtype), b, drawn.faces, visible)
        known = (on & ~hidden & ~seen.points.isnan().any(-1))[..., None]
        goal = seen.points.to(X.dtype).expand_as(X)
        share = WEIGHTS["points"] / 3 / drawn.diameter
        terms.append(_term("points", X, goal, known, share, BETA_POINTS * drawn.diameter))
    return terms, visible


def _term(name: str, y: Tensor, goal: Tensor, counted: Tensor, share: float, beta: float) -> Term:
    """A mean over the pixels that are counted (B, H, W, 1), times a share."""
    weight = counted * share / counted.sum((1, 2, 3), keepdim=True).clamp_min(1)
    return Term(name, y, torch.where(counted, goal, y.detach()), weight, beta, True)


def lit(c: Tensor, on: Tensor, rgb: Tensor) -> Tensor:
    """What is seen, rgb (H, W, 3), under the light of what is drawn, c (B, H, W, 3), by least squares.

    on: (B, H, W, 1), the pixels that tell of it.
    """
    inside = on.to(c.dtype)
    count = inside.sum((1, 2), keepdim=True).clamp_min(1)
    c_mean = (c * inside).sum((1, 2), keepdim=True) / count
    seen_mean = (rgb * inside).sum((1, 2), keepdim=True) / count
    apart = (c - c_mean) * inside
    gain = (apart * (rgb - seen_mean)).sum((1, 2), keepdim=True)
    gain = gain / (apart.square().sum((1, 2), keepdim=True) + LEAST_SPREAD * count)
    return (rgb - seen_mean) / gain.clamp(LEAST_GAIN, LARGEST_GAIN) + c_mean
