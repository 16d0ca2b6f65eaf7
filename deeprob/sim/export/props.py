"""The three PROPS formats, as deeprob.data.readers.props and deeprob.data.readers.props_pose read them.

They have ten classes with fixed names: class k of the simulation is written as the k-th of them, and
classes.json says which object that is.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from deeprob.data.readers.props import CLASSES
from deeprob.data.readers.props_pose import OBJECT_IDS
from deeprob.geometry.boxes import from_pixels, to_span
from deeprob.geometry.mesh_files import write_obj
from deeprob.geometry.transform import invert_transform
from deeprob.sim.export.files import (
    View,
    depth_steps,
    edges,
    mask_picture,
    put,
    put_json,
    put_png,
    targets,
    targets_without_regions,
)
from deeprob.sim.object_model import ObjectModel

CROP = 32
MARGIN = 1.1  # side of a crop over the longer side of the object's box
DEPTH_STEP = 1e-4  # metres


def begin(out: Path, objects: tuple[ObjectModel, ...]) -> None:
    """Write classes.json: PROPS' name of a class -> the object behind it."""
    put_json(out / "classes.json", {name: model.name for name, model in zip(CLASSES, objects, strict=False)})


def begin_pose(out: Path, objects: tuple[ObjectModel, ...]) -> None:
    """Write the models beside classes.json."""
    begin(out, objects)
    for obj_id, name, model in zip(OBJECT_IDS, CLASSES, objects, strict=False):
        write_obj(model.mesh, out / "model" / f"{obj_id}_{name}" / "textured_simple.obj")


def write_pose_scene(out: Path, split: str, first: int, views: list[View]) -> Any:
    """Write the pictures of one scene, frames first, first + 1, ...; returns their gt and gt_info.

    The stored transform is the camera in the object's frame, the inverse of BOP's; metres.
    """
    folder = out / split
    truth: dict[str, list[Any]] = {}
    infos: dict[str, list[Any]] = {}
    for number, (scene, rendering) in enumerate(views, start=first):
        put_png(folder / "rgb" / f"{number:06d}.png", rendering.image)
        put_png(folder / "depth" / f"{number:06d}.png", depth_steps(rendering.depth_m, DEPTH_STEP))
        truth[str(number)], infos[str(number)] = [], []
        for i in range(scene.labelled):
            visible = rendering.owner == i
            put_png(folder / "mask_visib" / f"{number:06d}_{i:06d}.png", mask_picture(visible))
            T_obj_cam = invert_transform(scene.T_world_obj[i]) @ rendering.T_world_cam
            truth[str(number)].append(
                {
                    "cam_R_m2c": T_obj_cam[:3, :3].reshape(-1).tolist(),
                    "cam_t_m2c": T_obj_cam[:3, 3].tolist(),
                    "obj_id": OBJECT_IDS[int(scene.models[i])],
                }
            )
            pixels, *pixel_box = rendering.visible[i]
            infos[str(number)].append({"bbox_visib": to_span(from_pixels(pixel_box)) if pixels else []})
    return truth, infos


def finish_pose(out: Path, split: str, parts: list[Any]) -> None:
    """Write <split>_gt.json and <split>_gt_info.json."""
    for position, name in enumerate(("gt", "gt_info")):
        merged = {key: value for part in parts for key, value in part[position].items()}
        put_json(out / split / f"{split}_{name}.json", merged)


def write_detection_scene(out: Path, split: str, first: int, views: list[View], min_visible: float) -> Any:
    """Write the pictures of one scene; returns their entries of <split>.json."""
    entries = []
    for number, (scene, rendering) in enumerate(views, start=first):
        path = f"PROPS-Detection/{split}/{number:06d}.png"
        put_png(out / path, rendering.image)
        boxes = [
            {"name": CLASSES[int(scene.models[i])], "xyxy": edges(rendering.visible[i])}
            for i in targets_without_regions(scene, rendering, min_visible)
        ]
        entries.append([path, boxes])
    return entries


def finish_detection(out: Path, split: str, parts: list[Any]) -> None:
    """Write <split>.json."""
    put_json(out / f"{split}.json", [entry for part in parts for entry in part])


def write_classification_scene(
    out: Path, split: str, index: int, views: list[View], min_visible: float
) -> Any:
    """Write the crops of each class in a scene as one object instance, <class>_<n>.pkl; returns the stems."""
    crops: dict[int, list[Any]] = {}
    for scene, rendering in views:
        for i in targets(scene, rendering, min_visible):
            crops.setdefault(int(scene.models[i]), []).append(_crop(rendering.image, rendering.visible[i]))
    stems = []
    for class_id, pictures in sorted(crops.items()):
        stems.append(
            f"{CLASSES[class_id]}_{2 * index + (split == 'test')}"
        )  # the splits never share a number
        content = {"data": np.stack(pictures), "labels": [class_id] * len(pictures)}
        put(out / f"{stems[-1]}.pkl", pickle.dumps(content, protocol=2))
    return [split, stems]


def finish_classification(out: Path, parts: list[Any]) -> None:
    """Write meta.pkl, which names the instances of the test split."""
    test = sorted(stem for split, stems in parts if split == "test" for stem in stems)
    put(out / "meta.pkl", pickle.dumps({"test_split": test}, protocol=2))


def _crop(image: Any, row: Any) -> Any:
    """A square of the picture around a box, 32 x 32; what lies outside the picture repeats its border."""
    import cv2

    left, top, right, bottom = edges(row)
    side = MARGIN * max(right - left, bottom - top)
    x, y = (left + right - side) / 2, (top + bottom - side) / 2
    scale = side / CROP
    if scale > 1:  # shrinking: blur first, so that no pixel is passed over
        image = cv2.GaussianBlur(image, (0, 0), 0.4 * scale)
    M = np.array([[scale, 0, x + scale / 2 - 0.5], [0, scale, y + scale / 2 - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, M, (CROP, CROP), flags=flags, borderMode=cv2.BORDER_REPLICATE)
