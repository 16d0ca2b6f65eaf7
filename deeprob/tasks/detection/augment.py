"""Where the frames of a batch are shown, and where their boxes go.

A frame is seen through a window. Measured in pixels of the new image, the frame and each of its objects have
an extent; the window's centre may lie wherever the window stays inside the frame and around the object that
it is to hold. Where the window is larger than the frame, it may lie wherever the frame stays inside it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from deeprob.data.batches.augment import Layout, affine_maps, draw
from deeprob.data.batches.images import WholeView
from deeprob.data.batches.samples import Ragged
from deeprob.data.settings import DetectionAugmentation
from deeprob.errors import InputError

Labels = tuple[list[Tensor], list[Tensor], list[Tensor]]
"""Boxes (n, 4), labels (n,) and crowds (k, 4) of each image of a batch."""
STEP = 32  # pixels: a cell of the coarsest level of the usual detectors


def lay_out(
    indices: Tensor, count: int, a: DetectionAugmentation, size: tuple[int, int], generator: torch.Generator
) -> tuple[Layout, Tensor]:
    """Draw which of `count` frames the tiles of the images of frames `indices` (B,) show, int64 (T,).

    size: height and width of a frame. An image is one tile or four, the first of its own frame; the others of
    a mosaic are three different frames. Where there are not as many, there is no mosaic.
    """
    layout = Layout.whole(len(indices), *window_size(a, size, generator))
    if not a.mosaic or count < 4:
        return layout, indices
    mixed = (torch.rand(len(indices), generator=generator) < a.mosaic).nonzero().squeeze(1)
    u = torch.rand((len(mixed), 2), generator=generator)
    x, y = ((0.25 + u / 2) * torch.tensor([layout.width, layout.height])).round().long().T
    none, right, bottom = (
        torch.zeros_like(x),
        x.new_full(x.shape, layout.width),
        y.new_full(y.shape, layout.height),
    )
    layout.place[mixed] = torch.stack([none, none, x, y], 1)
    others = ((x, none, right, y), (none, y, x, bottom), (x, y, right, bottom))
    place = torch.stack([torch.stack(tile, 1) for tile in others], 1).view(-1, 4)
    # Three different steps from the frame to others, none of them back to it.
    steps = torch.randint(count - 3, (len(mixed), 3), generator=generator).sort(1).values + torch.arange(1, 4)
    frames = (indices[mixed, None] + steps) % count
    owner = torch.cat([layout.owner, mixed.repeat_interleave(3)])
    layout = layout._replace(owner=owner, place=torch.cat([layout.place, place]))
    return layout, torch.cat([indices, frames.flatten()])


def window_size(
    a: DetectionAugmentation, size: tuple[int, int], generator: torch.Generator
) -> tuple[int, int]:
    """Draw the height and width of a batch's windows on frames of a height and width."""
    height, width = a.crop or size
    if not a.multi_scale:
        return height, width
    low, high = a.multi_scale
    factor = low * (high / low) ** float(torch.rand((), generator=generator))
    return max(STEP, round(height * factor / STEP) * STEP), max(STEP, round(width * factor / STEP) * STEP)


def check_crop(crop: Sequence[int], view: WholeView) -> None:
    """Raise InputError for a crop larger than the frames of a view."""
    if any(c > size for c, size in zip(crop, (view.height, view.width), strict=False)):
        raise InputError(
            f"augmentation.crop is {list(crop)}",
            expected=f"at most [{view.height}, {view.width}], the view's height and width",
        )


def pictures_of(matrices: Tensor, sizes: Tensor) -> Tensor:
    """Find where frames of a height and width (n, 2) lie under scaling maps (n, 3, 3): float32 (n, 4)."""
    scale, shift = matrices.diagonal(dim1=1, dim2=2)[:, :2], matrices[:, :2, 2]
    return torch.cat([shift - 0.5 * scale, shift + scale * (sizes.flip(1) - 0.5)], 1).float()


def arrange(
    boxes: Ragged,
    pictures: Tensor,
    layout: Layout,
    a: DetectionAugmentation,
    size: tuple[int, int],
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Draw how T tiles show their frames of height and width `size`, with their boxes.

    pictures: float32 (T, 4), where a frame is not the black that fills it up.

    Returns the draws (14, T) of `render`, and the maps (T, 2, 3) from new to old pixels.
    """
    draws = draw(len(layout.owner), generator)
    affine = affine_maps(draws, a, *size)
    if a.quarter_turns:
        affine[:, :, :2] = affine[:, :, :2] @ quarter_turns(len(affine), a.quarter_turns, generator)
    if a.scale:
        low, high = a.scale
        affine[:, :, :2] /= (low * (high / low) ** ((draws[3] + 1) / 2)).view(-1, 1, 1)
    if a.multi_scale:
        affine[:, :, :2] *= (a.crop or size)[0] / layout.height
    windows = torch.full((len(affine),), bool(a.crop)) | (layout.sizes != torch.tensor(size[::-1])).any(1)
    if bool(windows.any()):
        middle = torch.tensor([size[1] - 1, size[0] - 1]) / 2
        centres = window_centres(affine[:, :, :2], boxes, pictures, layout.sizes, a.whole_object, generator)
        shifts = centres - middle
        affine[:, :, 2] = torch.where(windows[:, None], shifts, affine[:, :, 2])
    return draws, affine


def quarter_turns(count: int, probability: float, generator: torch.Generator) -> Tensor:
    """Draw rotations (count, 2, 2): with a probability by 90, 180 or 270 degrees, else by 0."""
    u = torch.rand((2, count), generator=generator)
    number = torch.where(u[0] < probability, 1 + (3 * u[1]).long(), 0)
    cos, sin = torch.tensor([1.0, 0, -1, 0])[number], torch.tensor([0.0, 1, 0, -1])[number]
    return torch.stack([cos, -sin, sin, cos], 1).view(-1, 2, 2)


def blank_outside(pixels: Tensor, affine: Tensor, layout: Layout, size: tuple[int, int]) -> None:
    """Set to 0, the mean colour, what tiles show that lies outside of their frames, in place.

    There `render` repeats a frame's edge, and what the edge cuts would go on beyond its box. A convolution's
    padding shows the network 0 beyond a frame's edge too. affine, size: as for `arrange`.
    """
    half = torch.tensor(size[::-1]) / 2
    for a, owner, (left, top, right, bottom) in zip(
        affine, layout.owner.tolist(), layout.place.tolist(), strict=True
    ):
        x = torch.arange(right - left) - (right - left - 1) / 2
        y = (torch.arange(bottom - top) - (bottom - top - 1) / 2)[:, None]
        outside = torch.zeros(1, 1, dtype=torch.bool)
        for (of_x, of_y, shift), reach in zip(a, half, strict=True):
            # An axis that a map does not turn is seen along one line.
            seen = (of_x * x if of_x else x.new_zeros(1)) + (of_y * y if of_y else y.new_zeros(1, 1)) + shift
            outside = outside | (seen.abs() > reach)
        if bool(outside.any()):
            pixels[owner, :, top:bottom, left:right].masked_fill_(outside, 0.0)


def window_centres(
    linear: Tensor,
    boxes: Ragged,
    pictures: Tensor,
    sizes: Tensor,
    whole_object: float,
    generator: torch.Generator,
) -> Tensor:
    """Draw where in its frame each window has its centre: x and y, float32 (T, 2).

    linear: (T, 2, 2), from new pixels to old ones. boxes: of each frame. pictures: (T, 4), what the windows
    are to stay in. sizes: their widths and heights, int64 (T, 2). whole_object: probability that a window
    holds a random box whole.
    """
    forward = torch.linalg.inv(linear)
    low, high = _centres(_extent(pictures, forward), sizes)
    u = torch.rand((4, len(linear)), generator=generator)
    holds = (u[2] < whole_object) & (boxes.counts > 0)
    if bool(holds.any()):
        chosen = boxes.offsets[:-1] + (u[3] * boxes.counts).long().minimum(boxes.counts - 1)
        near, far = _centres(_extent(boxes.values[chosen[holds]], forward[holds]), sizes[holds])
        least, most = low[holds], high[holds]
        low[holds], high[holds] = near.maximum(least).minimum(most), far.maximum(least).minimum(most)
    centre = (linear @ (low + u[:2].T * (high - low))[..., None]).squeeze(2)
    half = (linear @ ((sizes - 1) / 2)[..., None]).squeeze(2)
    # Where nothing is scaled or turned, pixels stay as they are: corner on corner.
    copied = (linear.abs() == torch.eye(2)).flatten(1).all(1)
    return torch.where(copied[:, None], (centre - half).round() + half, centre)


def _extent(boxes: Tensor, linear: Tensor) -> Tensor:
    """Find the boxes (n, 4) around boxes (n, 4) under linear maps (n, 2, 2)."""
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].view(-1, 4, 2) @ linear.mT
    return torch.cat([corners.amin(1), corners.amax(1)], 1)


def _centres(extent: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """Say where centres of windows of `sizes` (n, 2) may be: inside boxes (n, 4), or around smaller ones."""
    first, last = extent[:, :2] + sizes / 2, extent[:, 2:] - sizes / 2
    return first.minimum(last), first.maximum(last)


def move_labels(
    boxes: Ragged, labels: Ragged, crowds: Ragged, maps: Tensor, layout: Layout, min_visible: float
) -> Labels:
    """Find the boxes, labels and crowds of each image, by the maps (T, 3, 3) and layout of T tiles.

    Of an object with less than `min_visible` of its box inside its tile, what is left joins the crowds.
    """
    tiles = torch.arange(len(maps))
    of_box, of_crowd = tiles.repeat_interleave(boxes.counts), tiles.repeat_interleave(crowds.counts)
    moved, visible = move_boxes(boxes.values, maps[of_box], layout.place[of_box])
    ignored, shown = move_boxes(crowds.values, maps[of_crowd], layout.place[of_crowd])
    kept = (visible > 0) & (visible >= min_visible)
    rest, seen = (visible > 0) & ~kept, shown > 0
    owner = layout.owner[of_box]
    owner_of_rest = torch.cat([layout.owner[of_crowd[seen]], owner[rest]])
    return (
        _by_image(moved[kept], owner[kept], layout.batch),
        _by_image(labels.values[kept], owner[kept], layout.batch),
        _by_image(torch.cat([ignored[seen], moved[rest]]), owner_of_rest, layout.batch),
    )


def move_boxes(boxes: Tensor, maps: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """Move boxes (n, 4) by maps (n, 3, 3) and clip them to their tiles.

    place: left, top, right, bottom of the tile in whole pixels, (n, 4) or (4,). Returns the boxes, and which
    part of each box's area is inside, (n,).
    """
    moved = _extent(boxes, maps[:, :2, :2]) + maps[:, :2, 2].repeat(1, 2)
    low, high = moved[:, :2], moved[:, 2:]
    first, last = place[..., :2] - 0.5, place[..., 2:] - 0.5
    inside_low, inside_high = low.maximum(first).minimum(last), high.maximum(first).minimum(last)
    visible = (inside_high - inside_low).prod(1) / (high - low).prod(1)
    return torch.cat([inside_low, inside_high], 1), visible.nan_to_num(0.0)


def mix_up(images: Tensor, seen: Labels, a: DetectionAugmentation, generator: torch.Generator) -> Labels:
    """Blend half of the images (B, 3, H, W) with others of the batch, in place; return the labels of all.

    x = r x_i + (1 - r) x_j with the objects of both, r ~ Beta(a, a). Source: Zhang et al., Bag of freebies
    for training object detection neural networks (2019).
    """
    count = len(images)
    rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
    mixed = rng.permutation(count)[: count // 2]
    other = (mixed + rng.integers(1, count, len(mixed))) % count if count > 1 else mixed
    ratio = torch.from_numpy(rng.beta(a.mixup, a.mixup, len(mixed)).astype(np.float32))
    images[mixed] = images[mixed].lerp(images[other], 1 - ratio[:, None, None, None])
    partner = dict(zip(mixed.tolist(), other.tolist(), strict=True))
    boxes, labels, crowds = (
        [torch.cat([row, rows[partner[i]]]) if i in partner else row for i, row in enumerate(rows)]
        for rows in seen
    )
    return boxes, labels, crowds


def _by_image(rows: Tensor, owner: Tensor, batch: int) -> list[Tensor]:
    """Part rows (n, ...) by the image that each belongs to, their order kept."""
    order = owner.argsort(stable=True)
    return list(torch.split(rows[order], torch.bincount(owner, minlength=batch).tolist()))
