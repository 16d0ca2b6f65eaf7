"""From a mesh's projected vertices to a picture: what is seen where, textures, smooth silhouettes."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..render.antialias import antialias, mesh_edges, silhouette_crossings
from ..render.interpolate import interpolate_attributes
from ..render.rasterize import barycentrics, visible_faces
from ..render.texture import texture
from ._entry import Draw, Inputs, Layer, bench, kink, real, tiny

OCTAHEDRON = torch.tensor(
    [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]]
)


def widened(reference: Any) -> Any:
    """The reference in float32 at least, outside of autocast."""

    def call(x: Tensor, *others: Tensor) -> Tensor:
        half = x.dtype == torch.bfloat16
        with torch.autocast(x.device.type, enabled=False):
            inputs = [o.float() if half and o.is_floating_point() else o for o in (x, *others)]
            found: Tensor = reference(*inputs).to(x.dtype)
        return found

    return call


def solved_barycentrics(points: Tensor, faces: Tensor, visible: Tensor) -> Tensor:
    """The ray of each pixel as a sum of its face's corners: a linear system, solved by torch."""
    u, v, z = points.unbind(-1)
    corners = torch.stack([u * z, v * z, z], -1)
    poses = torch.arange(len(points), device=points.device)[:, None, None, None]
    shown = (visible >= 0)[..., None]
    H = corners[poses, faces[visible.clamp_min(0)]].mT
    H = torch.where(shown[..., None], H, torch.eye(3).to(H))
    y, x = torch.meshgrid(*(torch.arange(n).to(points) for n in visible.shape[1:]), indexing="ij")
    rays = torch.stack([x, y, torch.ones_like(x)], -1).expand(*H.shape[:-1])
    shares: Tensor = torch.linalg.solve(H, rays)
    return shares / torch.where(shown, shares.sum(-1, keepdim=True), 1) * shown


def indexed_attributes(a: Tensor, b: Tensor, faces: Tensor, visible: Tensor) -> Tensor:
    """Read every corner by its index, and add up."""
    shared = a if a.dim() == 3 else a.expand(len(b), *a.shape)
    poses = torch.arange(len(b), device=a.device)[:, None, None, None]
    corners = shared[poses, faces[visible.clamp_min(0)]]
    return (b[..., None] * corners).sum(-2) * (visible >= 0)[..., None]


def sampled_texture(x: Tensor, uv: Tensor) -> Tensor:
    """Torch's grid_sample of the texture with a rim that repeats."""
    height, width = x.shape[:2]
    places = uv.reshape(-1, 2)
    s, t = places[:, 0] * width - 0.5, (1 - places[:, 1]) * height - 0.5
    s, t = s - (s / width).floor().detach() * width, t - (t / height).floor().detach() * height
    padded = F.pad(x.permute(2, 0, 1)[None], (0, 1, 0, 1), "circular")
    grid = torch.stack([2 * s / width - 1, 2 * t / height - 1], -1)
    read = F.grid_sample(padded, grid[None, None], align_corners=True)
    return read[0, :, 0].mT.reshape(*uv.shape[:-1], x.shape[2])


def blended(image: Tensor, points: Tensor, crossings: Tensor, shares: Tensor) -> Tensor:
    """Intersect each edge with the line through both centres, and mix the pixels one after the other."""
    height, width = image.shape[1:3]
    pixels = list(image.flatten(0, 2).unbind(0))
    before, ends = list(pixels), points.flatten(0, 1)
    for (a, b, i, j), share in zip(crossings.tolist(), shares, strict=True):
        here = torch.tensor([a % width, a // width % height]).to(points)
        step = torch.tensor([1 if b > a else -1, 0]).to(points)
        step = step if abs(a - b) == 1 else step.flip(0)
        edge = ends[j, :2] - ends[i, :2]
        gap = ends[i, :2] - here
        d = (gap[0] * edge[1] - gap[1] * edge[0]) / (step[0] * edge[1] - step[1] * edge[0])
        if d > 0.5:
            pixels[b] = pixels[b] + share * (d - 0.5) * (before[a] - before[b])
        else:
            pixels[a] = pixels[a] + share * (0.5 - d) * (before[b] - before[a])
    return torch.stack(pixels).reshape(image.shape)


def _octahedra(d: Draw, poses: int, height: int, width: int) -> Tensor:
    """Draw points (poses, 6, 3) of octahedra that fill most of a picture, a little out of shape."""
    base = torch.tensor(
        [[0.1, 0.4, 2], [0.9, 0.6, 2], [0.45, 0.05, 2], [0.55, 0.95, 2], [0.4, 0.5, 1.5], [0.6, 0.5, 3]]
    )
    size = torch.tensor([width - 1.0, height - 1.0, 1.0])
    points = base * size + 0.03 * size * d(poses, 6, 3).double().cpu()
    return points.to(d.device, d.dtype)


def _seen(poses: int, height: int, width: int) -> Inputs:
    def inputs(d: Draw) -> list[Tensor]:
        points = _octahedra(d, poses, height, width)
        faces = OCTAHEDRON.to(d.device)
        return [points, faces, visible_faces(points, faces, (height, width))]

    return inputs


def _attributes(*shape: int, poses: int, height: int, width: int) -> Inputs:
    def inputs(d: Draw) -> list[Tensor]:
        faces = torch.stack([d.classes(shape[-2], 7) for _ in range(3)], 1)
        visible = d.classes(8, poses, height, width) - 1
        return [d(*shape), d(poses, height, width, 3), faces, visible]

    return inputs


def _silhouettes(poses: int, height: int, width: int, channels: int) -> Inputs:
    def inputs(d: Draw) -> list[Tensor]:
        points = _octahedra(d, poses, height, width)
        faces = OCTAHEDRON.to(d.device)
        visible = visible_faces(points, faces, (height, width))
        found = silhouette_crossings(points, mesh_edges(faces), faces, visible)
        return [d(poses, height, width, channels), points, *found]

    return inputs


def _on_texels(d: Draw) -> list[Tensor]:
    """Hit texels, and the lines between them, exactly."""
    return [d(4, 2, 3), d.coarse(9, 2) / 8]


LAYERS = [
    Layer(
        "barycentrics",
        barycentrics,
        widened(solved_barycentrics),
        samples=[
            tiny("two poses", _seen(2, 5, 6)),
            real("pictures", _seen(3, 24, 20)),
            bench("8 poses at 128 px", _seen(8, 128, 128)),
        ],
        rejects=[
            (lambda d: [d(2, 6, 2), *_seen(2, 5, 6)(d)[1:]], {}),
            (lambda d: [d(2, 5, 3), *_seen(2, 5, 6)(d)[1:]], {}),
            (lambda d: [d(3, 6, 3), *_seen(2, 5, 6)(d)[1:]], {}),
            (lambda d: [d(2, 6, 3), OCTAHEDRON[:0], d.classes(1, 2, 5, 6)], {}),
            (lambda d: [d(2, 6, 3), OCTAHEDRON, d.classes(20, 2, 5, 6)], {}),
        ],
        autocast=False,
    ),
    Layer(
        "interpolate_attributes",
        interpolate_attributes,
        widened(indexed_attributes),
        samples=[
            tiny("a pose's own", _attributes(2, 5, 3, poses=2, height=3, width=2)),
            tiny("of all poses", _attributes(5, 2, poses=2, height=2, width=3)),
            real("pictures", _attributes(2, 30, 4, poses=2, height=12, width=16)),
            bench("8 poses at 128 px", _attributes(8, 2500, 4, poses=8, height=128, width=128)),
        ],
        rejects=[
            (lambda d: [d(3, 5, 3), *_attributes(2, 5, 3, poses=2, height=3, width=2)(d)[1:]], {}),
            (lambda d: [d(2, 1, 3), *_attributes(2, 5, 3, poses=2, height=3, width=2)(d)[1:]], {}),
            (lambda d: [d(5, 3), d(2, 3, 2, 2), OCTAHEDRON[:1], d.classes(1, 2, 3, 2)], {}),
            (lambda d: [d(6, 3), d(2, 3, 2, 3), OCTAHEDRON[:1], d.classes(1, 2, 2, 3)], {}),
        ],
        batched=(1,),
        autocast=False,
    ),
    Layer(
        "texture",
        texture,
        widened(sampled_texture),
        samples=[
            tiny("positions", lambda d: [d(3, 4, 2), d.uniform(5, 2, low=-1.2, high=2.2)]),
            tiny("a picture", lambda d: [d(2, 3, 3), d.uniform(2, 3, 2)]),
            kink("on texels", _on_texels),
            real("a picture", lambda d: [d(16, 12, 3), d.uniform(2, 12, 10, 2)]),
            bench("8 pictures of 128 px", lambda d: [d(256, 256, 3), d.uniform(8, 128, 128, 2)]),
        ],
        rejects=[
            (lambda d: [d(3, 4), d(5, 2)], {}),
            (lambda d: [d(3, 4, 2), d(5, 3)], {}),
            (lambda d: [d(3, 4, 2), d(5, 2).float()], {}),
        ],
        batched=(1,),
        autocast=False,
    ),
    Layer(
        "antialias",
        antialias,
        widened(blended),
        samples=[
            tiny("one pose", _silhouettes(1, 6, 7, 2)),
            tiny("two poses", _silhouettes(2, 5, 6, 1)),
            real("pictures", _silhouettes(2, 14, 12, 3)),
            bench("8 poses at 128 px", _silhouettes(8, 128, 128, 4)),
        ],
        rejects=[
            (lambda d: [d(1, 6, 7), *_silhouettes(1, 6, 7, 2)(d)[1:]], {}),
            (lambda d: [d(2, 6, 7, 2), *_silhouettes(1, 6, 7, 2)(d)[1:]], {}),
            (lambda d: [d(1, 6, 7, 2), d(1, 6, 3), d.classes(4, 3, 3), d(3)], {}),
            (lambda d: [d(1, 6, 7, 2), d(1, 6, 3), d.classes(4, 3, 4), d(2)], {}),
            (lambda d: [d(1, 2, 2, 2), d(1, 6, 3), 4 + d.classes(2, 3, 4), d(3)], {}),
        ],
        constants=(3,),
        batched=(0,),
        autocast=False,
        unrolled=True,
    ),
]
