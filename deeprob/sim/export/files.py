"""Files of an export: whole or absent, and the same bytes every time."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprob.geometry.boxes import from_pixels, to_edges
from deeprob.sim.physics import Scene
from deeprob.sim.render import Rendering
from deeprob.writing import naming

View = tuple[Scene, Rendering]
SLIVER = 0.1  # of a silhouette: BOP's least visible target
LARGE = 0.01  # of the picture


def put(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, then give it its own.

    Not synchronised one by one: an export takes up again at the last finished scene (see run.py), whose
    record is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with naming(path):
        partial.write_bytes(content)
    os.replace(partial, path)


def put_json(path: Path, value: Any) -> None:
    """Write JSON with one entry of the outermost container a line, as BOP's tools do."""
    if isinstance(value, dict):
        lines = [f"  {json.dumps(str(key))}: {json.dumps(entry)}" for key, entry in value.items()]
        text = "{\n" + ",\n".join(lines) + "\n}\n"
    else:
        text = "[\n" + ",\n".join(f"  {json.dumps(entry)}" for entry in value) + "\n]\n"
    put(path, text.encode())


def put_png(path: Path, picture: NDArray[Any]) -> None:
    """Write uint8 (H, W, 3) RGB, uint8 (H, W) or uint16 (H, W) as PNG."""
    _put_picture(path, picture, ".png", [])


def put_jpeg(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write uint8 (H, W, 3) RGB as JPEG of quality 95, its colours at full resolution."""
    import cv2

    sampling = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    _put_picture(path, picture, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, 95, *sampling])


def _put_picture(path: Path, picture: NDArray[Any], kind: str, options: list[int]) -> None:
    import cv2

    done, content = cv2.imencode(kind, picture[..., ::-1] if picture.ndim == 3 else picture, options)
    if not done:
        raise OSError(f"{path}: the picture cannot be encoded")
    put(path, content.tobytes())


def depth_steps(depth_m: NDArray[np.float32], step: float) -> NDArray[np.uint16]:
    """Depth as whole numbers of `step` metres; 0 is no reading, and so is what is too far to be written."""
    steps = np.rint(depth_m / step)
    return np.where(steps > 65535, 0, steps).astype(np.uint16)


def mask_picture(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A mask as a picture, 255 inside."""
    return mask.astype(np.uint8) * np.uint8(255)


def amodal_mask(rendering: Rendering, instance: int) -> NDArray[np.bool_]:
    """The silhouette of an instance, bool (H, W)."""
    return np.asarray(rendering.cover >> np.uint32(instance) & np.uint32(1) == 1)


def targets(scene: Scene, rendering: Rendering, min_visible: float) -> list[int]:
    """The instances that are visible enough for a label."""
    return [i for i in _seen(scene, rendering) if rendering.visible_fraction[i] >= min_visible]


def regions(scene: Scene, rendering: Rendering, min_visible: float) -> list[int]:
    """The instances that are seen, but not visible enough."""
    return [i for i in _seen(scene, rendering) if rendering.visible_fraction[i] < min_visible]


def targets_without_regions(scene: Scene, rendering: Rendering, min_visible: float) -> list[int]:
    """The instances to label where a format has no regions to be left out of training.

    A detector must not learn to pass over what is plainly there: an object that fills half the picture and
    hangs out of it.
    """
    least = min(min_visible, SLIVER)
    large = LARGE * rendering.owner.size
    return [
        i
        for i in _seen(scene, rendering)
        if rendering.visible_fraction[i] >= least or rendering.visible[i, 0] >= large
    ]


def _seen(scene: Scene, rendering: Rendering) -> list[int]:
    return [i for i in range(scene.labelled) if rendering.visible[i, 0]]


def edges(row: NDArray[np.int64]) -> list[float]:
    """Left, top, right, bottom edges, counted from the picture's corner, of a row of Rendering.visible."""
    found: list[float] = to_edges(from_pixels(row[1:])).tolist()
    return found
