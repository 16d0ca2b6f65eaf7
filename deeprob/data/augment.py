"""Augmentation of whole batches: uint8 images in, normalised floats out, no loop over samples.

Geometry is one affine map a sample (flip, translation, zoom, aspect, rotation), sampled once bilinearly:
    p_in = A p_out + t,   in pixels from the image's centre
Colour is one linear map a pixel. With brightness b, contrast c, saturation s, hue angle h, grey(x) = w . x:
    x' = b c R(h) (s x + (1 - s) grey(x)) + b (1 - c) mean grey(image)
where R(h) turns colours around the grey axis (Rodrigues). R and the saturation keep grey pixels grey, so all
is one 3x3 matrix and one offset a sample, and the normalisation (x' - mean) / std is folded into both.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F

from deeprob.data.settings import Augmentation

_BLOCK_PIXELS = 2**16  # samples are worked on in blocks whose planes stay in the cache
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
    batch, height, width, _ = images.shape
    a = augmentation
    # Rows: flip, x, y, zoom, aspect, angle, brightness, contrast, saturation, hue, blur, noise, cutout y, x.
    draws = 2 * torch.rand((14, batch), generator=generator) - 1
    flips = draws[0] < 2 * a.flip - 1
    affine = _affine(draws[1:6], a, flips, height, width)
    matrix, lift = _colour_map(draws[6:10], a)
    cut_y, cut_x = _interval(draws[12], a.cutout, height), _interval(draws[13], a.cutout, width)
    out = torch.empty(batch, 3, height, width)
    block = max(1, _BLOCK_PIXELS // max(height * width, 1))
    for part in (slice(start, start + block) for start in range(0, batch, block)):
        planes = images[part].permute(0, 3, 1, 2).contiguous().float()
        if a.translate or a.zoom or a.aspect or a.rotate:
            planes = _warp(planes, affine[part])
        elif a.flip:
            planes[flips[part]] = planes[flips[part]].flip(3)
        if a.blur:
            planes = _blur(planes, a.blur * draws[10, part].abs(), a.blur)
        _recolour(planes, matrix[part], lift[part], mean, std, out[part])
        if a.noise:
            # By each channel's std: the noise is defined on images from 0 to 1, and these are normalised.
            deviation = a.noise * draws[11, part].abs().view(-1, 1, 1, 1) / torch.tensor(std).view(1, 3, 1, 1)
            out[part].addcmul_(torch.randn(planes.shape, generator=generator), deviation)
        if a.cutout:
            out[part].masked_fill_((cut_y[part, :, None] & cut_x[part, None, :])[:, None], 0.0)
    return out


def _affine(
    draws: torch.Tensor, a: Augmentation, flips: torch.Tensor, height: int, width: int
) -> torch.Tensor:
    """Build each sample's map from output to input pixels, (B, 2, 3), both counted from the centre."""
    shift_x, shift_y = (draws[0] * a.translate * width).round(), (draws[1] * a.translate * height).round()
    zoom, aspect = (1 + a.zoom) ** draws[2], (1 + a.aspect) ** (draws[3] / 2)
    cos, sin = torch.cos(draws[4] * a.rotate), torch.sin(draws[4] * a.rotate)
    scale_x, scale_y = zoom * aspect, zoom / aspect
    mirror = 1 - 2 * flips.float()
    row_x = torch.stack([mirror * cos / scale_x, -sin / scale_y, shift_x], dim=1)
    row_y = torch.stack([mirror * sin / scale_x, cos / scale_y, shift_y], dim=1)
    return torch.stack([row_x, row_y], dim=1)


def _warp(planes: torch.Tensor, affine: torch.Tensor) -> torch.Tensor:
    """Sample (B, 3, H, W) at the affine image of each pixel; outside, the border is repeated."""
    height, width = planes.shape[2:]
    x = torch.arange(width) - (width - 1) / 2
    y = torch.arange(height) - (height - 1) / 2
    # grid_sample counts each side from -1 to 1.
    along_x, along_y, shift = (affine * torch.tensor([[2 / width], [2 / height]])).unbind(2)
    columns = along_x[:, :, None] * x
    rows = along_y[:, :, None] * y + shift[:, :, None]
    grid = (columns[:, :, None, :] + rows[:, :, :, None]).permute(0, 2, 3, 1)
    return F.grid_sample(planes, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _blur(planes: torch.Tensor, sigma: torch.Tensor, largest: float) -> torch.Tensor:
    """Blur each sample by its own Gaussian, sigma (B,) pixels, one axis after the other."""
    radius = max(1, math.ceil(2.5 * largest))
    taps = torch.exp(-0.5 * (torch.arange(radius + 1) / sigma.clamp(min=1e-3)[:, None]) ** 2)
    taps /= taps[:, :1] + 2 * taps[:, 1:].sum(1, keepdim=True)
    weights = taps.view(*taps.shape, 1, 1, 1)
    for axis in (2, 3):
        padding = (0, 0, radius, radius) if axis == 2 else (radius, radius, 0, 0)
        padded = F.pad(planes, padding, mode="replicate")
        size = planes.shape[axis]
        planes = planes * weights[:, 0]
        for offset in range(1, radius + 1):
            both = padded.narrow(axis, radius - offset, size) + padded.narrow(axis, radius + offset, size)
            planes.addcmul_(both, weights[:, offset])
    return planes


def _colour_map(draws: torch.Tensor, a: Augmentation) -> tuple[torch.Tensor, torch.Tensor]:
    """Build each sample's colour matrix (B, 3, 3), and the part of its mean grey to add, (B,)."""
    brightness, contrast = 1 + a.brightness * draws[0], 1 + a.contrast * draws[1]
    saturation, angle = (1 + a.saturation * draws[2])[:, None, None], (a.hue * draws[3])[:, None, None]
    saturate = saturation * torch.eye(3) + (1 - saturation) * torch.tensor(_GREY).expand(3, 3)
    cross = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3)
    turn = torch.cos(angle) * torch.eye(3) + (1 - torch.cos(angle)) / 3 + torch.sin(angle) * cross
    return (brightness * contrast)[:, None, None] * (turn @ saturate), brightness * (1 - contrast)


def _recolour(
    planes: torch.Tensor,
    matrix: torch.Tensor,
    lift: torch.Tensor,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    out: torch.Tensor,
) -> None:
    """Map colours from 0..255 to normalised ones, clipped to black and white, into `out`."""
    offset = lift * (planes.mean((2, 3)) * torch.tensor(_GREY)).sum(1) / 255
    rows = (matrix / (255 * torch.tensor(std)[:, None]))[..., None, None]
    offsets = ((offset[:, None] - torch.tensor(mean)) / torch.tensor(std))[..., None, None]
    # Channel by channel, for a matrix product may round in another order where there are more threads.
    for channel in range(3):
        target, row = out[:, channel], rows[:, channel]
        torch.addcmul(offsets[:, channel], planes[:, 0], row[:, 0], out=target)
        target.addcmul_(planes[:, 1], row[:, 1]).addcmul_(planes[:, 2], row[:, 2])
        target.clamp_(-mean[channel] / std[channel], (1 - mean[channel]) / std[channel])


def _interval(draws: torch.Tensor, part: float, size: int) -> torch.Tensor:
    """Mark the pixels of an interval `part` of the side long around a random centre: bool (B, size)."""
    centre = (draws[:, None] + 1) / 2 * size - 0.5
    return (torch.arange(size) - centre).abs() < part * size / 2
