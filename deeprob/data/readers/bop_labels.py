"""The label files of a scene in BOP's layout, and the boxes and visible parts that they tell of."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprob.data.readers.fields import (
    as_numbers,
    as_object,
    field,
    read_json,
)
from deeprob.errors import InputError
from deeprob.geometry.boxes import from_span, of_image, of_mask

FILES = ("scene_camera.json", "scene_gt.json", "scene_gt_info.json")
BOXES = {"visible": ("mask_visib", "bbox_visib"), "amodal": ("mask", "bbox_obj")}  # folder of masks, field
MASKS = tuple(folder for folder, _ in BOXES.values())


def visible_box(
    info: Any, mask: NDArray[np.bool_] | None, size: tuple[int, ...], where: str
) -> tuple[NDArray[np.float64] | None, float | None]:
    """Find an object's visible box, None where nothing of it is seen, and its visible fraction."""
    fraction = None
    if info is not None:
        info = as_object(info, where, "object")
        if "visib_fract" in info:
            fraction = float(as_numbers([info["visib_fract"]], 1, where, "visib_fract")[0])
            if not 0 <= fraction <= 1:
                raise InputError(f"visib_fract is {fraction:g}", where=where, expected="0 to 1")
    if mask is None and fraction == 0:
        return None, fraction
    return box_of(info, mask, "visible", size, where), fraction


def box_of(
    info: Any, mask: NDArray[np.bool_] | None, kind: str, size: tuple[int, ...], where: str
) -> NDArray[np.float64] | None:
    """Take a box from its mask, else from its field of scene_gt_info.json; None where it is empty."""
    if mask is not None:
        return of_mask(mask)
    folder, name = BOXES[kind]
    if info is None:
        raise InputError(f"neither this file nor {folder} is there", where=where, expected="one of the two")
    values = as_numbers(field(info, where, name), 4, where, name)
    if (values[2:] < 0).any():
        return None
    box, limits = from_span(values), of_image(size)
    if kind == "visible" and ((box[:2] < limits[:2] - 1).any() or (box[2:] > limits[2:] + 1).any()):
        raise InputError(f"{name} lies outside the image", where=where, expected=f"{size[1]} x {size[0]}")
    box = box.clip(np.tile(limits[:2], 2), np.tile(limits[2:], 2))
    return box if (box[2:] > box[:2]).all() else None


def read_scene(scene: Path, labels: bool) -> tuple[dict[str, Any], Any, Any]:
    """Parse the three label files of a scene; of boxes and visibility (the third) there may be none."""
    camera, gt, info = (scene / file for file in FILES)
    return (
        as_object(read_json(camera), camera, "the file"),
        as_object(read_json(gt), gt, "the file") if labels else None,
        as_object(read_json(info), info, "the file") if labels and os.path.lexists(info) else None,
    )
