"""Where an object is, in terms of its crop: numbers of one size whatever the camera, the crop and the object.

    (u, v) projection of the object's origin, s side of the crop, f its focal length, d the object's diameter
    code = ((u - c) / s, (v - c) / s, log(z s / (f d)))          c = (s - 1) / 2, the crop's middle

The third is the logarithm of how much larger than the object's image the crop is. Source: Li et al., CDPN
(2019), section 3.4, the scale-invariant translation.
"""

from __future__ import annotations

import torch
from torch import Tensor


def encode(t: Tensor, K: Tensor, side: int, diameter: Tensor) -> Tensor:
    """Codes (B, 3) of translations t (B, 3), metres, in crops of cameras K (B, 3, 3). diameter: (B,)."""
    pixel = (K @ t[..., None]).squeeze(-1)
    place = (pixel[:, :2] / pixel[:, 2:] - (side - 1) / 2) / side
    depth = torch.log(t[:, 2] * side / (focal(K) * diameter))
    return torch.cat([place, depth[:, None]], 1)


def decode(code: Tensor, K: Tensor, side: int, diameter: Tensor) -> Tensor:
    """Translations (B, 3), metres, of codes: the inverse of `encode`."""
    z = torch.exp(code[:, 2].clamp(-5, 5)) * focal(K) * diameter / side
    pixel = code[:, :2] * side + (side - 1) / 2
    return back_projected(pixel, z, K)


def back_projected(pixel: Tensor, z: Tensor, K: Tensor) -> Tensor:
    """Points (B, 3) of camera K (B, 3, 3) that are seen at pixels (B, 2) at depths z (B,)."""
    y = (pixel[:, 1] - K[:, 1, 2]) / K[:, 1, 1]
    x = (pixel[:, 0] - K[:, 0, 2] - K[:, 0, 1] * y) / K[:, 0, 0]
    return torch.stack([x, y, torch.ones_like(x)], 1) * z[:, None]


def focal(K: Tensor) -> Tensor:
    """Focal length (B,) in pixels: the geometric mean of both axes'."""
    return (K[:, 0, 0] * K[:, 1, 1]).sqrt()


def cell_pixels(grid: int, side: int) -> Tensor:
    """Pixels (grid,) of a crop `side` wide where the cells of a map `grid` wide have their centres."""
    return (torch.arange(grid, dtype=torch.float32) + 0.5) * (side / grid) - 0.5


def distance_code(z: Tensor, K: Tensor, diameter: Tensor) -> Tensor:
    """How often an object's image goes into a hundred pixels, as a logarithm: (B,) of depths z (B,)."""
    return torch.log(100 * z / (focal(K) * diameter))


def distance_of(code: Tensor, K: Tensor, diameter: Tensor) -> Tensor:
    """Depths (B,), metres, of codes: the inverse of `distance_code`."""
    return torch.exp(code.clamp(-5, 5)) * focal(K) * diameter / 100
