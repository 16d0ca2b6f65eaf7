"""Graded corruptions of images: what a camera, a light or a hand in the way does to them.

Five severities each, after Hendrycks and Dietterich, Benchmarking neural network robustness to common
corruptions and perturbations, ICLR 2019, with lengths as shares of the image side, so that small crops are
spoilt like large ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
NUM_SEVERITIES = 5
CHUNK = 256  # images held as floats at a time


def gaussian_noise(images: Images, severity: int, rng: np.random.Generator) -> Images:
    """Add independent noise to every value; standard deviations 0.04 to 0.26 of the full range."""
    std = 255 * (0.04, 0.08, 0.12, 0.18, 0.26)[severity - 1]
    noisy = [
        _rounded(part + std * rng.standard_normal(part.shape, dtype=np.float32))
        for part in np.array_split(images, max(1, len(images) // CHUNK))
    ]
    return np.concatenate(noisy)


def gaussian_blur(images: Images, severity: int, rng: np.random.Generator) -> Images:
    """Blur with a Gaussian of standard deviation 1/64 to 1/16 of the longer side."""
    sigma = max(images.shape[1:3]) / (64, 48, 32, 24, 16)[severity - 1]

    def blur(image: Images) -> Images:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT), np.uint8)

    return _each(images, blur)


def darker(images: Images, severity: int, rng: np.random.Generator) -> Images:
    """Scale all values by 0.8 down to 0.2."""
    return _table(images, np.arange(256) * (0.8, 0.65, 0.5, 0.35, 0.2)[severity - 1])


def brighter(images: Images, severity: int, rng: np.random.Generator) -> Images:
    """Add 0.1 to 0.5 of the full range to all values, cut off at white."""
    return _table(images, np.arange(256) + 255 * (0.1, 0.2, 0.3, 0.4, 0.5)[severity - 1])


def occlusion(images: Images, severity: int, rng: np.random.Generator) -> Images:
    """Cover 5 % to 40 % of the area by a grey rectangle of the image's shape, anywhere inside."""
    share = np.sqrt((0.05, 0.1, 0.2, 0.3, 0.4)[severity - 1])
    height, width = (max(1, round(side * share)) for side in images.shape[1:3])
    covered = images.copy()
    tops = rng.integers(images.shape[1] - height + 1, size=len(images))
    lefts = rng.integers(images.shape[2] - width + 1, size=len(images))
    for image, top, left in zip(covered, tops, lefts, strict=True):
        image[top : top + height, left : left + width] = 128
    return covered


def jpeg(images: Images, severity: int, rng: np.random.Generator) -> Images:
    """Compress as JPEG of quality 60 down to 8."""
    quality = (60, 40, 25, 15, 8)[severity - 1]

    def compress(image: Images) -> Images:
        _, code = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        return np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), dtype=np.uint8)[..., ::-1]

    return _each(images, compress)


CORRUPTIONS: Mapping[str, Callable[[Images, int, np.random.Generator], Images]] = {
    f.__name__: f for f in (gaussian_noise, gaussian_blur, darker, brighter, occlusion, jpeg)
}
"""Name -> function of images uint8 (N, H, W, 3), severity 1 to 5 and a random generator."""


def corrupt(images: Images, name: str, severity: int, seed: int = 0) -> Images:
    """Corrupt images uint8 (N, H, W, 3); the same arguments give the same images."""
    rng = np.random.default_rng([seed, list(CORRUPTIONS).index(name), severity])
    return CORRUPTIONS[name](images, severity, rng)


def _each(images: Images, change: Callable[[Images], Images]) -> Images:
    return np.stack([change(image) for image in images]) if len(images) else images


def _table(images: Images, values: NDArray[np.floating]) -> Images:
    return np.asarray(_rounded(values)[images])


def _rounded(values: NDArray[np.floating]) -> Images:
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)
