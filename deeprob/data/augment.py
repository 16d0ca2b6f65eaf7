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
    planes = images.permute(0, 3, 1, 2).contiguous().float()
    flips = draws[0] < 2 * a.flip - 1
    if a.translate or a.zoom or a.aspect or a.rotate:
        planes = _warp(planes, _affine(draws[1:6], a, flips, height, width))
    elif a.flip:
        planes[flips] = planes[flips].flip(3)
    if a.blur:
        planes = _blur(planes, a.blur * draws[10].abs(), a.blur)
    planes = _recolour(planes, draws[6:10], a, mean, std)
    if a.noise:
        # Scaled by each channel's std: the noise is defined on images from 0 to 1, and these are normalised.
        deviation = a.noise * draws[11].abs().view(-1, 1, 1, 1) / torch.tensor(std).view(1, 3, 1, 1)
        planes.addcmul_(torch.randn(planes.shape, generator=generator), deviation)
    if a.cutout:
        inside_y = _interval(draws[12], a.cutout, height)
        inside_x = _interval(draws[13], a.cutout, width)
        planes.masked_fill_((inside_y[:, :, None] & inside_x[:, None, :])[:, None], 0.0)
    return planes


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
    batch, _, height, width = planes.shape
    x = torch.arange(width) - (width - 1) / 2
    y = torch.arange(height) - (height - 1) / 2
    grid = torch.empty(batch, height, width, 2)
    for axis, side in enumerate((width, height)):  # grid_sample counts a side from -1 to 1
        along_x, along_y, shift = (affine[:, axis] * (2 / side)).unbind(1)
        rows = along_y[:, None] * y + shift[:, None]
        torch.add(rows[:, :, None], (along_x[:, None] * x)[:, None, :], out=grid[..., axis])
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


def _recolour(
    planes: torch.Tensor,
    draws: torch.Tensor,
    a: Augmentation,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> torch.Tensor:
    """Map colours from 0..255 to normalised ones, clipped to black and white."""
    brightness, contrast = 1 + a.brightness * draws[0], 1 + a.contrast * draws[1]
    saturation, angle = (1 + a.saturation * draws[2])[:, None, None], (a.hue * draws[3])[:, None, None]
    grey = torch.tensor(_GREY)
    saturate = saturation * torch.eye(3) + (1 - saturation) * grey.expand(3, 3)
    cross = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3)
    turn = torch.cos(angle) * torch.eye(3) + (1 - torch.cos(angle)) / 3 + torch.sin(angle) * cross
    matrix = (brightness * contrast / 255)[:, None, None] * (turn @ saturate)
    mean_grey = (planes.mean((2, 3)) * grey).sum(1) / 255
    offset = brightness * (1 - contrast) * mean_grey
    out = torch.empty_like(planes)
    # Channel by channel, for a matrix product may round in another order where there are more threads.
    for channel in range(3):
        row = (matrix[:, channel] / std[channel])[:, :, None, None]
        torch.mul(planes[:, 0], row[:, 0], out=out[:, channel])
        out[:, channel].addcmul_(planes[:, 1], row[:, 1]).addcmul_(planes[:, 2], row[:, 2])
        out[:, channel].add_(((offset - mean[channel]) / std[channel])[:, None, None])
        out[:, channel].clamp_(-mean[channel] / std[channel], (1 - mean[channel]) / std[channel])
    return out


def _interval(draws: torch.Tensor, part: float, size: int) -> torch.Tensor:
    """Mark the pixels of an interval `part` of the side long around a random centre: bool (B, size)."""
    centre = (draws[:, None] + 1) / 2 * size - 0.5
    return (torch.arange(size) - centre).abs() < part * size / 2
