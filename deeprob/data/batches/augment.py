"""Augmentation of whole batches: uint8 images in, normalised floats out, no loop over samples.

Geometry is one affine map a sample (flip, translation, zoom, aspect, rotation), sampled once bilinearly:
    p_in = A p_out + t,   in pixels from the image's centre
Colour is one linear map a pixel. With brightness b, contrast c, saturation s, hue angle h, grey(x) = w . x:
    x' = b c R(h) (s x + (1 - s) grey(x)) + b (1 - c) mean grey(image)
where R(h) turns colours around the grey axis (Rodrigues). R and the saturation keep grey pixels grey, so all
is one 3x3 matrix and one offset a sample, and the normalisation (x' - mean) / std is folded into both.
Both maps are applied in one pass over the pixels (deeprob.data.batches.kernels); then blur, noise and cutout.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

from deeprob.data.batches.kernels import blur, warp_and_recolour
from deeprob.data.settings import Augmentation
from deeprob.layers.kernels.loops import run

_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601 luma


def stream(*numbers: int) -> torch.Generator:
    """Make a random generator that follows from `numbers` (each 0 or more), independent of any other's."""
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state))


def normalise(images: torch.Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    """Turn uint8 (B, H, W, 3) into contiguous float32 (B, 3, H, W): (x / 255 - mean) / std, by channel."""
    planes = images.permute(0, 3, 1, 2).contiguous().float()
    for channel in range(3):
        scale = 1 / (255 * std[channel])
        planes[:, channel].mul_(scale).sub_(mean[channel] / std[channel])
    return planes


def augment(
    images: torch.Tensor,
    augmentation: Augmentation,
    generator: torch.Generator,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> torch.Tensor:
    """Augment and normalise a batch: uint8 (B, H, W, 3) -> float32 (B, 3, H, W), contiguous.

    Every random number comes from `generator`: the result is a pure function of the arguments. But for the
    noise, the same numbers are drawn whatever is switched on or off.
    """
    return augment_with_maps(images, augmentation, generator, mean, std)[0]


def augment_with_maps(
    images: torch.Tensor,
    augmentation: Augmentation,
    generator: torch.Generator,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Augment as `augment` does; and the maps (B, 3, 3) from pixels of the old image to pixels of the new."""
    batch, height, width, _ = images.shape
    draws, layout = draw(batch, generator), Layout.whole(batch, height, width)
    affine = affine_maps(draws, augmentation, height, width)
    out = render(images, affine, layout, draws, augmentation, generator, mean, std)
    return out, pixel_maps(affine, layout, height, width)


class Layout(NamedTuple):
    """Where in a batch of images (batch, 3, height, width) each of T tiles lies.

    owner: int64 (T,), its image; tile i is the first of image i. place: int64 (T, 4), left, top, right,
    bottom in it.
    """

    owner: torch.Tensor
    place: torch.Tensor
    batch: int
    height: int
    width: int

    @classmethod
    def whole(cls, batch: int, height: int, width: int) -> Layout:
        """One tile an image, the whole of it."""
        place = torch.tensor([[0, 0, width, height]]).repeat(batch, 1)
        return cls(torch.arange(batch), place, batch, height, width)

    @property
    def sizes(self) -> torch.Tensor:
        """The width and height of each tile, int64 (T, 2)."""
        return self.place[:, 2:] - self.place[:, :2]


def draw(count: int, generator: torch.Generator) -> torch.Tensor:
    """Draw the numbers in [-1, 1) that `count` images are varied by, (14, count).

    Rows: flip, x, y, zoom, aspect, angle, brightness, contrast, saturation, hue, blur, noise, cutout y, x.
    """
    return 2 * torch.rand((14, count), generator=generator) - 1


def render(
    images: torch.Tensor,
    affine: torch.Tensor,
    layout: Layout,
    draws: torch.Tensor,
    a: Augmentation,
    generator: torch.Generator,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> torch.Tensor:
    """Lay uint8 images (T, H, W, 3) out as tiles, each by its map and with its own colours.

    affine: (T, 2, 3), as affine_maps gives them. draws: (14, T). Blur, noise and cutout are done to whole
    images. Returns float32 (batch, 3, height, width), normalised.
    """
    colour, lift = _colour_map(draws[6:10], a, mean, std)
    batch, height, width = layout[2:]
    out = torch.empty(batch, 3, height, width)
    low, high = (torch.tensor([(level - m) / d for m, d in zip(mean, std, strict=True)]) for level in (0, 1))
    where = layout.owner, layout.place
    run(warp_and_recolour, len(images), images.contiguous(), affine, colour, lift, low, high, *where, out)
    draws = draws[:, :batch]
    if a.blur:
        run(blur, batch, out, _gaussian(a.blur * draws[10].abs(), a.blur))
    if a.noise:
        # By each channel's std: the noise is defined on images from 0 to 1, and these are normalised.
        deviation = a.noise * draws[11].abs().view(-1, 1, 1, 1) / torch.tensor(std).view(1, 3, 1, 1)
        out.addcmul_(torch.randn(out.shape, generator=generator), deviation)
    if a.cutout:
        inside_y, inside_x = _interval(draws[12], a.cutout, height), _interval(draws[13], a.cutout, width)
        out.masked_fill_((inside_y[:, :, None] & inside_x[:, None, :])[:, None], 0.0)
    return out


def mix(
    images: torch.Tensor, labels: torch.Tensor, num_classes: int, a: Augmentation, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mix each image (B, 3, H, W) with another of the batch, in place, and its label int64 (B,) too.

    mixup:  x = r x_i + (1 - r) x_j                    r ~ Beta(a, a)   Zhang et al., mixup (2018)
    cutmix: a box of x_j, 1 - r of the area, in x_i    r ~ Beta(a, a)   Yun et al., CutMix (2019)

    Where both are on, a fair coin chooses one for the batch. Returns the images, and the share of each class
    in each, float32 (B, C).
    """
    targets = torch.nn.functional.one_hot(labels, num_classes).float()
    rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
    other = torch.randperm(len(images), generator=generator)
    cut = bool(a.cutmix) and (not a.mixup or rng.random() < 0.5)
    strength = a.cutmix if cut else a.mixup
    kept = torch.from_numpy(rng.beta(strength, strength, len(images)).astype(np.float32))
    partners = images[other]
    if cut:
        height, width = images.shape[2:]
        side, centre = (
            (1 - kept).sqrt(),
            torch.from_numpy(rng.uniform(-1, 1, (2, len(images))).astype(np.float32)),
        )
        box = _interval(centre[0], side, height)[:, :, None] & _interval(centre[1], side, width)[:, None, :]
        images.copy_(torch.where(box[:, None], partners, images))
        kept = 1 - box.float().mean((1, 2))  # what is outside of the image was not cut
    else:
        images.lerp_(partners, (1 - kept)[:, None, None, None])
    return images, targets.lerp(targets[other], (1 - kept)[:, None])


def affine_maps(draws: torch.Tensor, a: Augmentation, height: int, width: int) -> torch.Tensor:
    """Build the maps (T, 2, 3) by draws (14, T) from new pixels to old ones, each counted from its centre."""
    mirror = 1 - 2 * (draws[0] < 2 * a.flip - 1).float()
    shift_x, shift_y = (draws[1] * a.translate * width).round(), (draws[2] * a.translate * height).round()
    zoom, aspect = (1 + a.zoom) ** draws[3], (1 + a.aspect) ** (draws[4] / 2)
    cos, sin = torch.cos(draws[5] * a.rotate), torch.sin(draws[5] * a.rotate)
    scale_x, scale_y = zoom * aspect, zoom / aspect
    row_x = torch.stack([mirror * cos / scale_x, -sin / scale_y, shift_x], dim=1)
    row_y = torch.stack([mirror * sin / scale_x, cos / scale_y, shift_y], dim=1)
    return torch.stack([row_x, row_y], dim=1)


def pixel_maps(affine: torch.Tensor, layout: Layout, height: int, width: int) -> torch.Tensor:
    """Turn maps (T, 2, 3) from new to old, counted from centres, into (T, 3, 3) from old to new pixels.

    height, width: of the old images.
    """
    centre = torch.tensor([width - 1, height - 1]) / 2
    new_centre = layout.place[:, :2] + (layout.sizes - 1) / 2
    forward = torch.linalg.inv(affine[:, :, :2])
    maps = torch.eye(3).repeat(len(affine), 1, 1)
    maps[:, :2, :2] = forward
    maps[:, :2, 2] = new_centre - (forward @ (centre + affine[:, :, 2])[..., None]).squeeze(2)
    return maps


def _gaussian(sigma: torch.Tensor, largest: float) -> torch.Tensor:
    """Sample one half of each Gaussian, sigma (B,) pixels, its whole adding up to 1: (B, R + 1)."""
    distance = torch.arange(max(1, math.ceil(2.5 * largest)) + 1)
    taps = torch.exp(-0.5 * (distance / sigma.clamp(min=1e-3)[:, None]) ** 2)
    return taps / (taps[:, :1] + 2 * taps[:, 1:].sum(1, keepdim=True))


def _colour_map(
    draws: torch.Tensor, a: Augmentation, mean: tuple[float, ...], std: tuple[float, ...]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Build each sample's map from 0..255 to normalised colours, (B, 3, 4), and its part of grey, (B, 3)."""
    brightness, contrast = 1 + a.brightness * draws[0], 1 + a.contrast * draws[1]
    saturation, angle = (1 + a.saturation * draws[2])[:, None, None], (a.hue * draws[3])[:, None, None]
    saturate = saturation * torch.eye(3) + (1 - saturation) * torch.tensor(_GREY).expand(3, 3)
    cross = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3)
    turn = torch.cos(angle) * torch.eye(3) + (1 - torch.cos(angle)) / 3 + torch.sin(angle) * cross
    deviation = torch.tensor(std)
    matrix = (brightness * contrast / 255)[:, None, None] * (turn @ saturate) / deviation[:, None]
    offset = (-torch.tensor(mean) / deviation).expand(len(matrix), 3)
    return torch.cat([matrix, offset[..., None]], 2), (brightness * (1 - contrast))[:, None] / deviation


def _interval(draws: torch.Tensor, part: float | torch.Tensor, size: int) -> torch.Tensor:
    """Mark the pixels of an interval around a random centre, `part` of the side long: bool (B, size)."""
    centre = (draws[:, None] + 1) / 2 * size - 0.5
    half = part * size / 2
    return (torch.arange(size) - centre).abs() < (half[:, None] if isinstance(half, torch.Tensor) else half)
