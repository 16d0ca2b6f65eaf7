"""Features computed from images by rule, to stand before a classifier that cannot find them itself.

All take images as batches hold them, float (N, C, H, W), and give one row of numbers an image, (N, D).
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

ORIENTATIONS = 9  # over half a turn: a gradient and its opposite count as one
BLOCK = 2  # cells a side
CLIP = 0.2  # no direction may dominate its block
COLOUR_LIMIT = 2.0  # standard deviations


def pixels(images: Tensor) -> Tensor:
    """The values themselves, (N, C H W)."""
    return images.flatten(1)


def colour_histogram(images: Tensor, bins: int = 8, limit: float = COLOUR_LIMIT) -> Tensor:
    """Share of the pixels in each of bins^C colours, (N, bins^C): what is there, whatever its shape.

    limit: the bins divide -limit to limit, in the units of the images (normalised: standard deviations);
    values beyond count in the outermost. Source: Swain and Ballard, Color indexing, IJCV 7(1), 1991.
    """
    N, C = images.shape[:2]
    level = ((images + limit) * (bins / (2 * limit))).long().clamp_(0, bins - 1).flatten(2)
    colour = torch.zeros_like(level[:, 0])
    for channel in range(C):
        colour = colour * bins + level[:, channel]
    histogram = images.new_zeros(N, bins**C)
    share = images.new_full((), 1 / max(colour.shape[1], 1)).expand_as(colour)
    return histogram.scatter_add_(1, colour, share)


def hog(images: Tensor, cell: int = 4) -> Tensor:
    """Histograms of oriented gradients, (N, (H/cell - 1) (W/cell - 1) 4 * 9): shape, whatever its light.

        g(p)   central differences of the channel where they are longest; borders repeat
        h_c,o  sum over p of |g(p)| a_c(p) b_o(angle of g(p))      a, b: linear interpolation between centres
        v      the 4 cells' h of a block, v / sqrt(|v|^2 + eps^2), clipped at 0.2, and normalised once more

    cell: pixels a side. Pixels that do not fill a cell at the right and at the bottom are left out.
    Raises ValueError where the image has not two cells a side.
    Source: Dalal and Triggs, Histograms of oriented gradients for human detection, CVPR 2005: R-HOG, 2 x 2
    cells, L2-Hys; without its Gaussian window.
    """
    return hog_blocks(images, cell).flatten(1)


def hog_blocks(images: Tensor, cell: int = 4) -> Tensor:
    """The blocks v of `hog` by their place, (N, H/cell - 1, W/cell - 1, 4 * 9)."""
    H, W = images.shape[2:]
    rows, columns = H // cell, W // cell
    if min(rows, columns) < BLOCK:
        raise ValueError(f"hog: images of {H} x {W} have less than {BLOCK} x {BLOCK} cells of {cell} pixels")
    images = images[..., : rows * cell, : columns * cell]
    votes = orientation_votes(images)
    down, across = (interpolation(n, cell).to(votes) for n in (rows, columns))
    cells = down @ votes @ across.T  # (N, 9, rows, columns)
    blocks = cells.unfold(2, BLOCK, 1).unfold(3, BLOCK, 1)  # (N, 9, rows - 1, columns - 1, 2, 2)
    blocks = blocks.permute(0, 2, 3, 4, 5, 1).flatten(3)
    clipped = unit_length(blocks).clamp_(max=CLIP)
    return unit_length(clipped)


def orientation_votes(images: Tensor) -> Tensor:
    """Length of each pixel's gradient, shared between the two directions nearest to its own, (N, 9, H, W)."""
    dx, dy = torch.empty_like(images), torch.empty_like(images)
    torch.sub(images[..., 2:], images[..., :-2], out=dx[..., 1:-1])
    torch.sub(images[..., 1], images[..., 0], out=dx[..., 0])
    torch.sub(images[..., -1], images[..., -2], out=dx[..., -1])
    torch.sub(images[..., 2:, :], images[..., :-2, :], out=dy[..., 1:-1, :])
    torch.sub(images[..., 1, :], images[..., 0, :], out=dy[..., 0, :])
    torch.sub(images[..., -1, :], images[..., -2, :], out=dy[..., -1, :])
    strongest = (dx.square() + dy.square()).argmax(1, keepdim=True)
    dx, dy = dx.gather(1, strongest), dy.gather(1, strongest)
    position = torch.atan2(dy, dx).remainder_(math.pi) * (ORIENTATIONS / math.pi) - 0.5
    lower = position.floor()
    upper_share = position - lower
    length = torch.hypot(dx, dy)
    N, _, H, W = dx.shape
    votes = images.new_zeros(N, ORIENTATIONS, H, W)
    below = lower.long()
    votes.scatter_(1, below.remainder(ORIENTATIONS), length * (1 - upper_share))
    return votes.scatter_(1, (below + 1).remainder(ORIENTATIONS), length * upper_share)


@cache
def interpolation(num_cells: int, cell: int) -> Tensor:
    """How much each pixel of a line counts in each cell, float64 (num_cells, num_cells cell).

    One at a cell's centre, falling to zero at the centres of its neighbours.
    """
    pixel = (torch.arange(num_cells * cell, dtype=torch.float64) + 0.5) / cell
    centre = torch.arange(num_cells, dtype=torch.float64) + 0.5
    return (1 - (pixel[None] - centre[:, None]).abs()).clamp_(min=0)


def unit_length(v: Tensor, eps: float = 1e-3) -> Tensor:
    """Rows v / sqrt(|v|^2 + eps^2)."""
    return v / (v.square().sum(-1, keepdim=True) + eps**2).sqrt()


def polar(points: Tensor) -> Tensor:
    """Radius and angle [rad] of points (N, 2): circles about the origin become straight lines."""
    x, y = points.unbind(1)
    return torch.stack([torch.hypot(x, y), torch.atan2(y, x)], 1)
