"""How a picture follows its object: derivatives of mask and depth by six motions, and one pixel read back.

    y = antialias(mask(project(p))),   p = m + exp(xi) (X - m)        m: the object's middle in the camera

The pictures come from forward mode, a column of the Jacobian each: dy/dxi_k of every pixel. The reading comes
from backward, a row of it: dy(u, v)/dxi, layer by layer, upstream x local = downstream. Both meet in six
numbers.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeprob import layers
from deeprob.errors import InputError
from deeprob.geometry.mesh import Mesh
from deeprob.geometry.thinning import thinned
from deeprob.graphs.modes import jvp
from deeprob.graphs.page import fill, step
from deeprob.graphs.picture import frame, number
from deeprob.layers.render.antialias import reach

SIDE, ZOOM, GAP = 96, 1.5, 12.0  # pixels of a picture; how large each is drawn, and what is between two
FACES = 2000
FOCAL, AWAY = 2.0, 2.2  # in sides of the picture; in diameters
TURN = (0.9, -0.5, 0.3)
MOTIONS = ("right", "down", "away", "about x", "about y", "about z")
UNITS = ("m", "m", "m", "rad", "rad", "rad")
TITLES = {"mask": "mask", "depth": "depth, m"}


@dataclass(frozen=True, eq=False)
class Scene:
    """A mesh before a camera. vertices: (V, 3) from its middle. R: (3, 3), m: (3,), K: (3, 3), size: H, W."""

    vertices: Tensor
    faces: Tensor
    closed: bool
    R: Tensor
    m: Tensor
    K: Tensor
    size: tuple[int, int]

    @classmethod
    def of(cls, mesh: Mesh) -> Scene:
        """A mesh as it is looked at from some diameters away."""
        small = thinned(mesh, FACES)
        vertices = torch.from_numpy(small.vertices - mesh.centre).float()
        m = torch.tensor([0, 0, AWAY * 2 * float(vertices.norm(dim=1).max())])
        K = torch.tensor([[FOCAL * SIDE, 0, SIDE / 2 - 0.5], [0, FOCAL * SIDE, SIDE / 2 - 0.5], [0, 0, 1]])
        faces = torch.from_numpy(small.faces.astype(np.int64))
        return cls(vertices, faces, small.closed, layers.so3_exp(torch.tensor(TURN)), m, K, (SIDE, SIDE))

    def in_camera(self, xi: Tensor) -> Tensor:
        """The vertices (V, 3) after a twist (6,) about the object's middle."""
        T = layers.se3_exp(xi)
        return (self.vertices @ self.R.mT) @ T[:3, :3].mT + T[:3, 3] + self.m

    def points(self, p: Tensor) -> Tensor:
        """Pixels and depth (1, V, 3) of vertices (V, 3) in the camera."""
        return layers.project(p, torch.eye(4)[None], self.K)

    def seen(self) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The visible faces (1, H, W), and the crossings of the silhouette with their shares."""
        points = self.points(self.in_camera(torch.zeros(6)))
        visible = layers.visible_faces(points, self.faces, self.size, self.closed)
        return visible, layers.silhouette_crossings(
            points, layers.mesh_edges(self.faces), self.faces, visible
        )

    def pictures(
        self, points: Tensor, visible: Tensor, crossings: tuple[Tensor, Tensor]
    ) -> dict[str, Tensor]:
        """Mask and depth (H, W) of projected vertices."""
        b = layers.barycentrics(points, self.faces, visible)
        depth = layers.interpolate_attributes(points[..., 2:], b, self.faces, visible)
        mask = layers.antialias((visible >= 0).float()[..., None], points, *crossings)
        return {"mask": mask[0, ..., 0], "depth": depth[0, ..., 0]}


@functools.lru_cache(maxsize=1)  # the reading chooses its pixel by them, the drawing shows them
def derivatives(scene: Scene) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Mask and depth (H, W), and their derivatives (6, H, W) by the motions, by forward mode."""
    visible, crossings = scene.seen()

    def pictures(xi: Tensor) -> Tensor:
        shown = scene.pictures(scene.points(scene.in_camera(xi)), visible, crossings)
        return torch.stack([shown[name] for name in TITLES])

    found = [jvp(pictures, torch.zeros(6), motion) for motion in torch.eye(6)]
    slopes = torch.stack([slope for _, slope in found], 1)
    return dict(zip(TITLES, found[0][0], strict=True)), dict(zip(TITLES, slopes, strict=True))


@dataclass(frozen=True, eq=False)
class Reading:
    """One pixel of the mask or the depth read back. d: (6,), its derivative by the motions.

    layers: (title, words, rows of input, upstream, local and downstream), the last layer first.
    """

    name: str
    pixel: tuple[int, int]
    value: float
    d: Tensor
    layers: Sequence[tuple[str, str, list[list[str]]]]


def read_back(scene: Scene, pixel: tuple[int, int] | None = None) -> Reading:
    """Read back a pixel (u, v); None: that of the outline which a motion to the right changes most.

    Of the mask where the outline blends it, else of the depth. Raises InputError where neither is.
    """
    visible, (crossings, shares) = scene.seen()
    p = scene.in_camera(torch.zeros(6)).requires_grad_()
    points = scene.points(p)
    shown = scene.pictures(points, visible, (crossings, shares))
    height, width = scene.size
    if pixel is None:
        place = int(derivatives(scene)[1]["mask"][0].abs().argmax())
        pixel = place % width, place // width
    u, v = pixel
    if not (0 <= u < width and 0 <= v < height):
        raise InputError(f"pixel=[{u},{v}]", expected=f"inside of {width} x {height}")
    (dmask,) = torch.autograd.grad(shown["mask"][v, u], points, retain_graph=True)
    name = "mask" if bool(dmask.any()) else "depth"
    if name == "depth" and visible[0, v, u] < 0:
        raise InputError(f"pixel=[{u},{v}] shows neither the object nor its outline", where="pixel")
    (dpoints,) = torch.autograd.grad(shown[name][v, u], points, retain_graph=True)
    (dp,) = torch.autograd.grad(shown[name][v, u], p)
    used = dpoints[0].abs().sum(1).nonzero()[:, 0].tolist()
    if name == "mask":
        told = [_of_mask(points.detach(), crossings, shares, (visible >= 0).float(), v * width + u)]
    else:
        told = [_of_depth(points.detach(), scene, visible, pixel)]
    rows = [
        [f"vertex {i}", _vector(dpoints[0, i]), _local(p[i].detach(), scene.K), _vector(dp[i])] for i in used
    ]
    told.append(("project", "u = fx x / z + cx, v = fy y / z + cy", rows))
    arms = (p.detach() - scene.m)[used]
    turns = torch.linalg.cross(arms, dp[used])
    d = torch.cat([dp[used].sum(0), turns.sum(0)])
    rows = [
        ["a shift", "(dx, dy, dz) of each vertex", "the same for all: 1", _vector(d[:3])],
        ["a turn", "(dx, dy, dz) of each vertex", "crossed from its arm, p − m", _vector(d[3:])],
    ]
    told.append(("the motion", "p = m + exp(xi) (X − m): the sum over the vertices", rows))
    return Reading(name, pixel, float(shown[name][v, u].detach()), d, told)


def _of_mask(
    points: Tensor, crossings: Tensor, shares: Tensor, mask: Tensor, place: int
) -> tuple[str, str, list[list[str]]]:
    """The rows of `antialias` for a pixel that the outline blends, upstream 1."""
    d, sign, r, _, side_by_side = reach(points, crossings, torch.Size((*mask.shape, 1)))
    a, b, i, j = crossings.unbind(1)
    own = (torch.where(d > 0.5, b, a) == place).nonzero()[:, 0].tolist()
    rows, flat = [], mask.flatten()
    for n in own:
        apart = float(flat[a[n]] - flat[b[n]])
        local = float(shares[n]) * apart
        axis = "u" if bool(side_by_side[n]) else "v"
        rows.append(["d, how far it reaches", "1", f"e (I[a] − I[b]) = {number(local)}", number(local)])
        for vertex, share in ((i[n], 1 - r[n]), (j[n], r[n])):
            by = float(sign[n] * share)
            rows.append([f"{axis} of vertex {int(vertex)}", number(local), number(by), number(local * by)])
    return "antialias", "y += e (d − 1/2) (I[a] − I[b])", rows


def _of_depth(
    points: Tensor, scene: Scene, visible: Tensor, pixel: tuple[int, int]
) -> tuple[str, str, list[list[str]]]:
    """The rows of `interpolate_attributes` for a pixel on the object, upstream 1."""
    u, v = pixel
    b = layers.barycentrics(points, scene.faces, visible)[0, v, u]
    corners = scene.faces[visible[0, v, u]]
    z = points[0, corners, 2]
    rows = []
    for k, vertex in enumerate(corners.tolist()):
        rows.append([f"z of vertex {vertex}", "1", f"b = {number(float(b[k]))}", number(float(b[k]))])
        rows.append([f"b of vertex {vertex}", "1", f"z = {float(z[k]):.4g}", f"{float(z[k]):.4g}"])
    return "interpolate_attributes", "y = sum of b z; b goes on to (u, v, z) by barycentrics", rows


def _local(p: Tensor, K: Tensor) -> str:
    """The Jacobian of (u, v, z) by (x, y, z), row by row."""
    x, y, z = p.tolist()
    fx, fy = float(K[0, 0]), float(K[1, 1])
    rows = [[fx / z, 0, -fx * x / z**2], [0, fy / z, -fy * y / z**2], [0, 0, 1]]
    return "\n".join("  ".join(number(value).rjust(8) for value in row) for row in rows)


def _vector(values: Tensor) -> str:
    return "\n".join(number(float(value)).rjust(9) for value in values)


def steps_of(scene: Scene, reading: Reading) -> list[dict[str, Any]]:
    """What the page's steps say: the picture, its derivatives, and the pixel read back."""
    u, v = reading.pixel
    told = [
        step("forward", "The picture", "project, rasterize, interpolate, antialias", gate="picture"),
        *(
            step(
                "forward",
                f"Forward mode: the derivative by a motion {name}" if k < 3 else f"The derivative {name}",
                note="Red grows, blue shrinks. The mask changes along its outline alone, the depth inside.",
                gate=f"motion{k}",
            )
            for k, name in enumerate(MOTIONS)
        ),
    ]
    start = f"y = {reading.name}({u}, {v}) = {number(reading.value)},  dL/dy = 1"
    told.append(step("backward", "Backward starts at one pixel", start, gate="picture"))
    for title, words, rows in reading.layers:
        told.append(step("backward", f"Backward: {title}", words, rows=rows))
    text = "\n".join(
        f"dy/d({name}) = {number(float(d))} per {unit}"
        for name, d, unit in zip(MOTIONS, reading.d, UNITS, strict=True)
    )
    note = "The six pictures hold these numbers at this pixel: forward mode gives columns, backward rows."
    return [*told, step("result", "The gradient of this pixel by the six motions", text, note)]


def drawing(scene: Scene, reading: Reading, title: str, encode: Any) -> str:
    """The SVG: the picture, and mask's and depth's derivatives below each other. encode: image -> address."""
    shown, slopes = derivatives(scene)
    side = SIDE * ZOOM
    parts = [_tile(encode(_shaded(shown)), 24, 40, "picture", "the object", reading.pixel)]
    for row, name in enumerate(TITLES):
        y = 40 + row * (side + GAP + 14)
        for k, motion in enumerate(MOTIONS):
            x = 24 + (k + 1) * (side + GAP)
            image = encode(red_and_blue(slopes[name][k].numpy()))
            key = f"motion{k}" if row == 0 else f"motion{k}-{name}"
            parts.append(_tile(image, x, y, key, f"{TITLES[name]}: {motion}", reading.pixel))
    legend = [("g", "red: the pixel grows with the motion; blue: it shrinks; white: nothing changes")]
    return frame(parts, 24 + 7 * (side + GAP), 40 + 2 * (side + GAP + 14), title, legend)


def page(scene: Scene, reading: Reading, title: str, encode: Any) -> str:
    """The stepping page."""
    svg = drawing(scene, reading, title, encode)
    return fill("steps.html.j2", title=title, svg=svg, steps=steps_of(scene, reading))


def red_and_blue(slope: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A picture uint8 (H, W, 3) RGB of numbers (H, W): white at 0, red above, blue below.

    Full colour from the number that one in fifty of those not zero exceeds: single ones hide no other.
    """
    size = np.abs(slope)
    share = slope / max(float(np.quantile(size[size > 0], 0.98)) if size.any() else 0.0, 1e-6)
    picture = np.full((*slope.shape, 3), 255.0)
    picture[..., 1:] -= 255 * np.clip(share, 0, 1)[..., None]
    picture[..., :2] -= 255 * np.clip(-share, 0, 1)[..., None]
    return picture.clip(0, 255).astype(np.uint8)


def _shaded(shown: dict[str, Tensor]) -> NDArray[np.uint8]:
    """The object in grey, the nearer the lighter, on white."""
    mask, depth = shown["mask"].numpy(), shown["depth"].numpy()
    inside = depth > 0
    span = max(float(np.ptp(depth[inside])), 1e-9) if inside.any() else 1.0
    grey = 70 + 130 * np.where(inside, (depth.max() - depth) / span, 0.5)
    picture = np.round(255 + mask * (grey - 255)).clip(0, 255).astype(np.uint8)
    return np.repeat(picture[..., None], 3, -1)


def _tile(image: str, x: float, y: float, key: str, words: str, pixel: tuple[int, int]) -> str:
    """A picture with its words above, and a ring around the pixel that is read."""
    side, (u, v) = SIDE * ZOOM, pixel
    return (
        f'<g id="{key}"><text class="small" x="{x + side / 2:.1f}" y="{y - 6:.1f}">{escape(words)}</text>'
        f'<image href="{image}" x="{x:.1f}" y="{y:.1f}" width="{side:.1f}" height="{side:.1f}" '
        f'style="image-rendering:pixelated"/><rect x="{x:.1f}" y="{y:.1f}" width="{side:.1f}" '
        f'height="{side:.1f}" fill="none" stroke="var(--line)"/>'
        f'<circle cx="{x + (u + 0.5) * ZOOM:.1f}" cy="{y + (v + 0.5) * ZOOM:.1f}" r="5" fill="none" '
        f'stroke="var(--ink)"/></g>'
    )
