"""What a camera adds to a perfect picture: saturation, hue, blur, noise, and the errors of RGB-D depth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deeprob.geometry.kernel import F32, F64, U8, kernel

if TYPE_CHECKING:
    from deeprob.sim.look import Look

NOISE_TILE = 1 << 17
BASELINE = 0.075  # metres between the two eyes of the depth camera
EDGE = 0.02  # metres; neighbouring depths that differ more are an edge


def make_noise_tile() -> F32:
    """Standard normal numbers that all pictures share."""
    return np.random.default_rng(NOISE_TILE).standard_normal(NOISE_TILE, np.float32)


def disturb_image(image: U8, look: Look, tile: F32) -> None:
    """Saturation, hue, blur and noise, in place."""
    import cv2

    if look.saturation != 1:
        grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        cv2.addWeighted(image, look.saturation, grey, 1 - look.saturation, 0, dst=image)
    if look.hue != 0:
        cv2.transform(image, _turn_about_grey(look.hue), dst=image)
    if look.blur > 0.2:  # a narrower lens moves no grey level
        cv2.GaussianBlur(image, (0, 0), look.blur, dst=image)
    if look.noise > 0:
        add_noise(image, look.noise, tile, look.seed)


def _turn_about_grey(degrees: float) -> F64:
    """The rotation (3, 3) of RGB space about its grey axis: Rodrigues' formula."""
    angle, axis = np.radians(degrees), 3**-0.5
    cross = axis * np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)


def disturb_depth(depth: F32, K: F64, look: Look, tile: F32) -> None:
    """Noise that grows with range, steps of the disparity, and no reading beside edges; in place, 0 stays 0.

    The deviation is Khoshelham and Elberink's ("Accuracy and resolution of Kinect depth data", 2012) in the
    form of Nguyen, Izadi and Lovell (2012): 1.2 mm + 1.9 mm (Z - 0.4 m)^2 / m^2.
    """
    if look.depth_holes > 0:
        import cv2

        side = 2 * look.depth_holes + 1
        far = np.where(depth > 0, depth, np.float32(1e3))
        spread = cv2.morphologyEx(far, cv2.MORPH_GRADIENT, np.ones((side, side), np.uint8))
        depth[spread > EDGE + 0.01 * side] = 0
    if not (look.depth_noise > 0 or look.depth_disparity > 0):
        return
    seen = depth > 0
    z = depth[seen].astype(np.float64)
    if look.depth_noise > 0:
        sigma = 0.0012 + 0.0019 * (z - 0.4) ** 2
        noise = np.resize(np.roll(tile, look.seed % NOISE_TILE), depth.size).reshape(depth.shape)[seen]
        z += look.depth_noise * sigma * noise
    if look.depth_disparity > 0:
        step = look.depth_disparity / (K[0, 0] * BASELINE)
        z = 1 / np.maximum(np.rint(1 / np.maximum(z, 1e-3) / step) * step, 1e-9)
    depth[seen] = z


@kernel
def add_noise(image: U8, sigma: float, tile: F32, seed: int) -> None:
    """Add `sigma` times the standard normal numbers of `tile` (2^n of them) to a picture, in place.

    Each row starts at its own place in the tile, given by a linear congruential step from `seed` (Knuth's
    MMIX).
    """
    height, width, channels = image.shape
    count = width * channels
    flat = image.reshape(height, count)
    mask = len(tile) - 1
    state = np.uint64(seed)
    for y in range(height):
        state = state * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
        start = np.int64(state >> np.uint64(40)) & mask
        row = flat[y]
        for k in range(count):
            value = row[k] + sigma * tile[(start + k) & mask]
            row[k] = np.uint8(min(max(value, 0.0), 255.0) + 0.5)
