"""BOP data sets in scenewise layout: YCB-V, LM-O, T-LESS, HOPE and others, and what the simulator writes.

    <root>/models/obj_000001.ply, models_info.json            millimetres
    <root>/<folder>/<scene>/rgb (or gray), depth, mask, mask_visib
    <root>/<folder>/<scene>/scene_camera.json, scene_gt.json, scene_gt_info.json

Format: https://github.com/thodan/bop_toolkit/blob/master/docs/bop_datasets_format.md; lengths become metres.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprob.data.frame import Frame, Instance
from deeprob.data.readers.fields import (
    as_int,
    as_intrinsics,
    as_list,
    as_numbers,
    as_object,
    as_transform,
    field,
    read_json,
)
from deeprob.data.readers.files import FileSource, mask_box, read_depth, read_mask
from deeprob.data.readers.reading import IMAGE_SUFFIXES, OnBadSample, list_folder, read_image
from deeprob.errors import InputError
from deeprob.geometry.mesh import Mesh, load_mesh
from deeprob.geometry.rotation import axis_angle_to_matrix
from deeprob.geometry.transform import make_transform

_MILLIMETRES = 1e-3
_FILES = ("scene_camera.json", "scene_gt.json", "scene_gt_info.json")


@dataclass(frozen=True)
class BopImage:
    """One image of one scene."""

    scene: Path
    image: Path

    @property
    def im_id(self) -> int:
        return int(self.image.stem)


class BopSource(FileSource[BopImage]):
    """A BOP data set, split by folder.

    splits: for each split, patterns over `<folder>/<scene>`, such as ["train_pbr/*"] or ["test/00004*"].
    targets: for each split it names, a targets file (test_targets_bop19.json): only its images are taken.
    class_names: the name of an obj_id; the rest are named obj_000001 and so on. Classes are in order of ids.
    labels: whether there are ground truth poses; the test sets of some challenges keep theirs.
    A frame's group is its scene; its key `<folder>/<scene>/<im_id>`. Objects that are not seen are left out.
    """

    unit = "group"  # the images of a scene are a video, or views of one pile of objects

    def __init__(
        self,
        root: Path,
        splits: Mapping[str, Sequence[str]],
        targets: Mapping[str, str] | None = None,
        class_names: Mapping[int, str] | None = None,
        labels: bool = True,
        on_bad_sample: OnBadSample = "error",
        name: str | None = None,
    ) -> None:
        super().__init__(root, name, on_bad_sample)
        self.models_info = _models_info(self.root)
        self.object_ids = tuple(sorted(self.models_info))
        names = class_names or {}
        self.classes = tuple(names.get(obj_id, f"obj_{obj_id:06d}") for obj_id in self.object_ids)
        self.labels = labels
        self.splits = tuple(splits)
        self._items = {split: self._list(split, patterns) for split, patterns in splits.items()}
        for split, file in (targets or {}).items():
            self.check_split(split)
            self._items[split] = _only_targets(self._items[split], self.root / file)
        self._scene = functools.lru_cache(maxsize=16)(_read_scene)

    def items(self, split: str) -> list[BopImage]:
        return self._items[split]

    def files(self, item: BopImage) -> Iterable[Path]:
        return (item.image, item.scene / "mask_visib", *(item.scene / file for file in _FILES))

    def read(self, item: BopImage) -> Frame:
        scene = self._scene(item.scene, self.labels)
        image = read_image(item.image)
        camera_file = item.scene / _FILES[0]
        where = f"{camera_file} image {item.im_id}"
        camera = as_object(field(scene[0], camera_file, str(item.im_id)), where, "camera")
        depth, depth_path = None, item.scene / "depth" / f"{item.im_id:06d}.png"
        if depth_path.parent.is_dir():
            scale = as_numbers([camera.get("depth_scale", 1.0)], 1, where, "depth_scale")[0]
            depth = read_depth(depth_path, scale * _MILLIMETRES, image.shape)
        return Frame(
            image=image,
            instances=tuple(self._instances(item, scene, image.shape)) if self.labels else (),
            source=self.name,
            key=f"{item.scene.parent.name}/{item.scene.name}/{item.im_id:06d}",
            group=f"{item.scene.parent.name}/{item.scene.name}",
            K=as_intrinsics(field(camera, where, "cam_K"), where, "cam_K"),
            depth_m=depth,
        )

    def mesh(self, class_id: int) -> Mesh:
        """Load the model of a class, in metres."""
        return load_mesh(
            self.root / "models" / f"obj_{self.object_ids[class_id]:06d}.ply", scale=_MILLIMETRES
        )

    def symmetries(self, class_id: int, steps: int = 36) -> NDArray[np.float64]:
        """List the transforms that leave a class looking the same: float64 (S, 4, 4), the identity first.

        The discrete ones of models_info.json, each with `steps` turns about the axis of a continuous one.
        """
        info = self.models_info[self.object_ids[class_id]]
        where = f"{self.root} models_info.json object {self.object_ids[class_id]}"
        found = [np.eye(4)]
        for values in as_list(info.get("symmetries_discrete", []), where, "symmetries_discrete"):
            T = as_numbers(values, 16, where, "symmetries_discrete").reshape(4, 4)
            entry = {"cam_R_m2c": T[:3, :3].ravel().tolist(), "cam_t_m2c": T[:3, 3].tolist()}
            found.append(as_transform(entry, _MILLIMETRES, f"{where} symmetries_discrete"))
        for value in as_list(info.get("symmetries_continuous", []), where, "symmetries_continuous"):
            entry = as_object(value, where, "symmetries_continuous")
            axis = as_numbers(field(entry, where, "axis"), 3, where, "axis")
            offset = as_numbers(field(entry, where, "offset"), 3, where, "offset") * _MILLIMETRES
            if not np.linalg.norm(axis) > 0:
                raise InputError("axis has no length", where=where)
            turns = [axis_angle_to_matrix(axis, 2 * np.pi * step / steps) for step in range(steps)]
            about = [make_transform(R, offset - R @ offset) for R in turns]
            found = [turn @ T for T in found for turn in about]
        return np.stack(found)

    def _list(self, split: str, patterns: Sequence[str]) -> list[BopImage]:
        scenes = [
            scene
            for folder in list_folder(self.root)
            if folder.is_dir()
            for scene in list_folder(folder)
            if scene.is_dir() and any(fnmatchcase(f"{scene.parent.name}/{scene.name}", p) for p in patterns)
        ]
        items = []
        for scene in scenes:
            folder = next((scene / name for name in ("rgb", "gray") if (scene / name).is_dir()), None)
            if folder is None:
                raise InputError("no folder of images", where=scene, expected="rgb or gray")
            paths = [path for path in list_folder(folder) if path.suffix.lower() in IMAGE_SUFFIXES]
            for path in paths:
                if not (path.stem.isascii() and path.stem.isdigit()):
                    raise InputError(
                        "the file's name is no image number", where=path, expected="such as 000012.png"
                    )
            items += [BopImage(scene, path) for path in paths]
        if not items:
            raise InputError(
                f"split {split!r} has no images", where=self.root, expected=f"scenes {list(patterns)}"
            )
        return items

    def _instances(self, item: BopImage, scene: tuple[Any, ...], size: tuple[int, ...]) -> Iterable[Instance]:
        gt_file, info_file = item.scene / _FILES[1], item.scene / _FILES[2]
        key = str(item.im_id)
        objects = as_list(field(scene[1], gt_file, key), gt_file, f"image {key}")
        infos: list[Any] = [None] * len(objects)
        if scene[2] is not None:
            infos = as_list(field(scene[2], info_file, key), info_file, f"image {key}")
            if len(infos) != len(objects):
                raise InputError(
                    f"image {key} has {len(infos)} objects",
                    where=info_file,
                    expected=f"{len(objects)}, as scene_gt",
                )
        for index, (entry, info) in enumerate(zip(objects, infos, strict=True)):
            where = f"{gt_file} image {key} object {index}"
            entry = as_object(entry, where, "object")
            obj_id = as_int(field(entry, where, "obj_id"), where, "obj_id")
            if obj_id not in self.models_info:
                raise InputError(
                    f"obj_id is {obj_id}", where=where, expected=f"one of {list(self.object_ids)}"
                )
            masks = [
                read_mask(path, size) if path.parent.is_dir() else None
                for path in (
                    item.scene / folder / f"{item.im_id:06d}_{index:06d}.png"
                    for folder in ("mask_visib", "mask")
                )
            ]
            box, fraction = _visible(info, masks[0], size, f"{info_file} image {key} object {index}")
            if box is not None:
                yield Instance(
                    class_id=self.object_ids.index(obj_id),
                    box_xyxy=box,
                    mask=masks[0],
                    amodal_mask=masks[1],
                    T_cam_obj=as_transform(entry, _MILLIMETRES, where),
                    visible_fraction=fraction,
                )


def _visible(
    info: Any, mask: NDArray[np.bool_] | None, size: tuple[int, ...], where: str
) -> tuple[NDArray[np.float64] | None, float | None]:
    """Find an object's visible box, None where nothing of it is seen, and its visible fraction."""
    fraction = box = None
    if info is not None:
        info = as_object(info, where, "object")
        if "visib_fract" in info:
            fraction = float(as_numbers([info["visib_fract"]], 1, where, "visib_fract")[0])
            if not 0 <= fraction <= 1:
                raise InputError(f"visib_fract is {fraction:g}", where=where, expected="0 to 1")
    if mask is not None:
        return mask_box(mask), fraction
    if info is None:
        raise InputError("neither this file nor mask_visib is there", where=where, expected="one of the two")
    x, y, width, height = as_numbers(field(info, where, "bbox_visib"), 4, where, "bbox_visib")
    if width >= 0 and height >= 0 and fraction != 0:
        # x, y and x + width, y + height are the first and the last pixel; boxes end half a pixel further.
        box = np.array([x - 0.5, y - 0.5, x + width + 0.5, y + height + 0.5])
        if (box < -1.5).any() or (box > np.array([size[1], size[0]] * 2) + 0.5).any():
            raise InputError(
                "bbox_visib lies outside the image", where=where, expected=f"{size[1]} x {size[0]}"
            )
        box = box.clip(-0.5, np.array([size[1], size[0]] * 2) - 0.5)
    return box, fraction


def _read_scene(scene: Path, labels: bool) -> tuple[dict[str, Any], Any, Any]:
    """Parse the three label files of a scene; of boxes and visibility (the third) there may be none."""
    camera, gt, info = (scene / file for file in _FILES)
    return (
        as_object(read_json(camera), camera, "the file"),
        as_object(read_json(gt), gt, "the file") if labels else None,
        as_object(read_json(info), info, "the file") if labels and os.path.lexists(info) else None,
    )


def _models_info(root: Path) -> dict[int, dict[str, Any]]:
    found = sorted(root.glob("models*/models_info.json"))
    if not found:
        raise InputError("no models/models_info.json, which lists the objects", where=root)
    entries = as_object(read_json(found[0]), found[0], "the file")
    if not all(key.isascii() and key.isdigit() for key in entries):
        raise InputError("a key is no object id", where=found[0], expected="whole numbers")
    return {int(key): as_object(value, found[0], f"object {key}") for key, value in entries.items()}


def _only_targets(items: list[BopImage], path: Path) -> list[BopImage]:
    wanted = set()
    for index, target in enumerate(as_list(read_json(path), path, "the file")):
        where = f"{path} target {index}"
        target = as_object(target, where, "target")
        wanted.add(tuple(as_int(field(target, where, n), where, n) for n in ("scene_id", "im_id")))
    kept = [
        item for item in items if item.scene.name.isdigit() and (int(item.scene.name), item.im_id) in wanted
    ]
    if len(kept) < len(wanted):
        missing = wanted - {(int(item.scene.name), item.im_id) for item in kept}
        scene_id, im_id = min(missing)
        raise InputError(
            f"{len(missing)} target images are missing, such as {scene_id:06d}/{im_id:06d}", where=path
        )
    return kept
