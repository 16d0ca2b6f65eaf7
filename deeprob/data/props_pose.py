"""PROPS poses: RGB-D frames of the DeepRob course with the pose and the mask of each object.

    <root>/{train,val}/rgb, depth, mask_visib, {train,val}_gt.json, {train,val}_gt_info.json
    <root>/model/<id>_<name>/textured_simple.obj

The files look like BOP's, but the stored transform is the camera in the object's frame, the inverse of BOP's.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprob.data.fields import as_int, as_list, as_object, as_transform, field, read_json
from deeprob.data.frame import Frame, Instance
from deeprob.data.props import CLASSES
from deeprob.data.reading import OnBadSample, read_image
from deeprob.data.source import FileSource, mask_box, read_depth, read_mask
from deeprob.errors import InputError
from deeprob.geometry.camera import make_intrinsics
from deeprob.geometry.mesh import Mesh, load_mesh
from deeprob.geometry.transform import invert_transform

OBJECT_IDS = (1, 2, 3, 4, 5, 6, 8, 9, 14, 18)  # of the classes, in their order
K = make_intrinsics(902.19, 902.39, 342.35, 252.23)
_DEPTH_AGREEMENT = (
    2.0  # a unit mistaken is a factor of 10 or more; a surface is not twice as near as its centre
)


class PropsPoseSource(FileSource[tuple[str, int]]):
    """500 + 500 RGB-D frames of 640 x 480 pixels, at most one object of each class.

    depth_scale: metres of one step of depth. translation_scale: metres of a stored translation of 1.
    Both are checked in each frame, the depth inside a mask against the distance of its pose, for the data set
    does not say which units it keeps. Objects without a visible pixel are left out.
    """

    classes = CLASSES
    object_ids = OBJECT_IDS
    splits = ("train", "val")

    def __init__(
        self,
        root: Path,
        depth_scale: float = 1e-4,
        translation_scale: float = 1.0,
        on_bad_sample: OnBadSample = "error",
        name: str | None = None,
    ) -> None:
        super().__init__(root, name, on_bad_sample)
        self.depth_scale, self.translation_scale = depth_scale, translation_scale
        self._gt: dict[str, dict[str, Any]] = {}
        self._frames: dict[str, list[tuple[str, int]]] = {}
        for split in self.splits:
            path = self._gt_file(split)
            self._gt[split] = as_object(read_json(path), path, "the file")
            if not all(key.isascii() and key.isdigit() for key in self._gt[split]):
                raise InputError("a key is no frame number", where=path, expected="whole numbers")
            self._frames[split] = sorted((split, int(key)) for key in self._gt[split])
            if not self._frames[split]:
                raise InputError("no frames", where=path)
        self._keys = {split: {int(key): key for key in entries} for split, entries in self._gt.items()}

    def items(self, split: str) -> list[tuple[str, int]]:
        return self._frames[split]

    def files(self, item: tuple[str, int]) -> Iterable[Path]:
        split, number = item
        folder = self.root / split
        return (
            self._gt_file(split),
            folder / "rgb" / f"{number:06d}.png",
            folder / "depth" / f"{number:06d}.png",
            *sorted((folder / "mask_visib").glob(f"{number:06d}_*.png")),
        )

    def read(self, item: tuple[str, int]) -> Frame:
        split, number = item
        folder = self.root / split
        image = read_image(folder / "rgb" / f"{number:06d}.png")
        depth = read_depth(folder / "depth" / f"{number:06d}.png", self.depth_scale, image.shape)
        where = f"{self._gt_file(split)} frame {number}"
        instances = []
        for index, entry in enumerate(as_list(self._gt[split][self._keys[split][number]], where, "frame")):
            place = f"{where} object {index}"
            entry = as_object(entry, place, "object")
            obj_id = as_int(field(entry, place, "obj_id"), place, "obj_id")
            if obj_id not in OBJECT_IDS:
                raise InputError(f"obj_id is {obj_id}", where=place, expected=f"one of {OBJECT_IDS}")
            mask = read_mask(folder / "mask_visib" / f"{number:06d}_{index:06d}.png", image.shape)
            box = mask_box(mask)
            if box is None:
                continue
            T_cam_obj = invert_transform(as_transform(entry, self.translation_scale, place))
            self._check_units(depth[mask], T_cam_obj, place)
            instances.append(Instance(OBJECT_IDS.index(obj_id), box, mask, T_cam_obj=T_cam_obj))
        return Frame(image, tuple(instances), self.name, f"{split}/{number:06d}", split, K.copy(), depth)

    def mesh(self, class_id: int) -> Mesh:
        """Load the model of a class, in metres."""
        obj_id = OBJECT_IDS[class_id]
        folders = sorted((self.root / "model").glob(f"{obj_id}_*"))
        if not folders:
            raise InputError(f"no model {obj_id}_{CLASSES[class_id]}", where=self.root / "model")
        return load_mesh(folders[0] / "textured_simple.obj")

    def _gt_file(self, split: str) -> Path:
        return self.root / split / f"{split}_gt.json"

    def _check_units(self, depth: NDArray[np.float32], T_cam_obj: NDArray[np.float64], where: str) -> None:
        distance = float(T_cam_obj[2, 3])
        if distance <= 0:
            raise InputError(f"the object lies {-distance:.3g} m behind the camera", where=where)
        readings = depth[depth > 0]
        if len(readings) < 50:
            return
        ratio = distance / float(np.median(readings))
        if not 1 / _DEPTH_AGREEMENT < ratio < _DEPTH_AGREEMENT:
            nearest = self.depth_scale * 10.0 ** round(np.log10(ratio))
            raise InputError(
                f"depth {float(np.median(readings)):.3g} m but pose at {distance:.3g} m",
                where=where,
                fix=f"try data.source.depth_scale={nearest:g}",
            )
