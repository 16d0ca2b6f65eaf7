"""PROPS poses: RGB-D frames of the DeepRob course with the pose and the mask of each object.

    <root>/{train,val}/rgb, depth, mask_visib, {train,val}_gt.json, {train,val}_gt_info.json
    <root>/model/<id>_<name>/textured_simple.obj

The files look like BOP's, but the stored transform is the camera in the object's frame, the inverse of BOP's.
Direction and units are checked in a few frames of each split, by deeprob.data.readers.props_check.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Hashable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprob.data.frame import Frame, Instance
from deeprob.data.readers.fields import as_int, as_list, as_numbers, as_object, as_transform, field, read_json
from deeprob.data.readers.files import FileSource, read_depth, read_mask
from deeprob.data.readers.props import CLASSES
from deeprob.data.readers.props_check import STORED, Reading, Seen, check_agreement, some
from deeprob.data.readers.reading import Frames, OnBadSample, read_image
from deeprob.errors import InputError
from deeprob.geometry.boxes import of_mask
from deeprob.geometry.camera import make_intrinsics
from deeprob.geometry.mesh import Mesh, load_mesh, load_vertices
from deeprob.geometry.symmetry import Symmetries

OBJECT_IDS = (1, 2, 3, 4, 5, 6, 8, 9, 14, 18)  # of the classes, in their order
K = make_intrinsics(902.19, 902.39, 342.35, 252.23)
SIZE = (480, 640)


class PropsPoseSource(FileSource[tuple[str, int]]):
    """500 + 500 RGB-D frames of 640 x 480 pixels, at most one object of each class.

    depth_scale: metres of one step of depth. stored, translation_scale, model_scale: see
    props_check.Reading. Where files of a few frames contradict them, InputError names those that
    fit; check=False reads all the same. Objects without a visible pixel, or with an empty bbox_visib, are
    left out. A frame of another size than 640 x 480 has K scaled along.
    """

    classes = CLASSES
    class_numbers = OBJECT_IDS
    has_models = True
    splits = ("train", "val")

    def __init__(
        self,
        root: Path,
        depth_scale: float = 1e-4,
        stored: str = "T_obj_cam",
        translation_scale: float = 1.0,
        model_scale: float = 1.0,
        check: bool = True,
        on_bad_sample: OnBadSample = "error",
        name: str | None = None,
    ) -> None:
        super().__init__(root, name, on_bad_sample)
        if stored not in STORED:
            raise InputError(f"data.source.stored is {stored!r}", expected=" or ".join(STORED))
        self.depth_scale, self.reading = depth_scale, Reading(stored, translation_scale, model_scale)
        self.check = check
        self._vertices = functools.lru_cache(maxsize=None)(self._read_vertices)
        self._gt: dict[str, dict[str, Any]] = {}
        self._info: dict[str, dict[str, Any] | None] = {}
        self._frames: dict[str, list[tuple[str, int]]] = {}
        for split in self.splits:
            path, info = self._gt_file(split), self._info_file(split)
            # What is visible, the masks say as well; they alone where this file is not there.
            self._info[split] = (
                as_object(read_json(info), info, "the file") if os.path.lexists(info) else None
            )
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
            self._info_file(split),
            folder / "rgb" / f"{number:06d}.png",
            folder / "depth" / f"{number:06d}.png",
            folder / "mask_visib",
        )

    def number_of(self, item: tuple[str, int]) -> Hashable:
        return (0, item[1])  # it has no scenes

    def options(self) -> tuple[object, ...]:
        return self.depth_scale, self.reading

    def frames(self, split: str) -> Frames[tuple[str, int]]:
        found = super().frames(split)
        if self.check:
            where = self.root / split
            for class_id in range(len(CLASSES)):  # a broken model is told here, not passed over below
                self._vertices(class_id)
            check_agreement(some(self.items(split), self._seen), self.reading, self.depth_scale, where)
        return found

    def read(self, item: tuple[str, int]) -> Frame:
        split, number = item
        image, depth = self._pictures(item)
        instances = []
        for place, class_id, mask, stored in self._objects(item, image.shape):
            box = of_mask(mask)
            if box is None:
                continue
            T_cam_obj = self.reading.pose(stored)
            if T_cam_obj[2, 3] <= 0:
                raise InputError(f"the object lies {-T_cam_obj[2, 3]:.3g} m behind the camera", where=place)
            if np.abs(T_cam_obj[:3, 3]).max() > 1000:
                raise InputError(
                    f"cam_t_m2c is {np.abs(T_cam_obj[:3, 3]).max():g} m away",
                    where=place,
                    expected="under 1000 m",
                )
            instances.append(Instance(class_id, box, mask, T_cam_obj=T_cam_obj))
        key = f"{split}/{number:06d}"
        K = _intrinsics(image.shape, self.root / split / "rgb" / f"{number:06d}.png")
        return Frame(image, tuple(instances), self.name, key, split, K, depth)

    def mesh(self, class_id: int) -> Mesh:
        """Load the shape of a class's model, in metres, without its texture."""
        return self._load(class_id, textured=False)

    def look(self, class_id: int) -> Mesh:
        """Load a class's model with its texture, in metres."""
        return self._load(class_id, textured=True)

    def _load(self, class_id: int, textured: bool) -> Mesh:
        path = self._model(class_id)
        if path is None:
            name = f"{OBJECT_IDS[class_id]}_{CLASSES[class_id]}"
            raise InputError(f"no model {name}", where=self.root / "model")
        return load_mesh(path, scale=self.reading.model_scale, textured=textured)

    def symmetries(self, class_id: int) -> Symmetries:
        """None are told of these objects: their labels make each view another."""
        return Symmetries()

    def _model(self, class_id: int) -> Path | None:
        folders = sorted((self.root / "model").glob(f"{OBJECT_IDS[class_id]}_*"))
        return folders[0] / "textured_simple.obj" if folders else None

    def _read_vertices(self, class_id: int) -> NDArray[np.float64] | None:
        path = self._model(class_id)
        return None if path is None else load_vertices(path)

    def _pictures(self, item: tuple[str, int]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        split, number = item
        image = read_image(self.root / split / "rgb" / f"{number:06d}.png")
        depth_file = self.root / split / "depth" / f"{number:06d}.png"
        return image, read_depth(depth_file, self.depth_scale, image.shape)

    def _objects(
        self, item: tuple[str, int], size: tuple[int, ...]
    ) -> Iterator[tuple[str, int, NDArray[np.bool_], NDArray[np.float64]]]:
        """Read where each object is described, its class, its mask, and its transform as it is stored."""
        split, number = item
        where, key = f"{self._gt_file(split)} frame {number}", self._keys[split][number]
        entries = as_list(self._gt[split][key], where, "frame")
        for index, entry in enumerate(entries):
            place = f"{where} object {index}"
            entry = as_object(entry, place, "object")
            obj_id = as_int(field(entry, place, "obj_id"), place, "obj_id")
            if obj_id not in OBJECT_IDS:
                raise InputError(f"obj_id is {obj_id}", where=place, expected=f"one of {OBJECT_IDS}")
            if self._is_visible(item, index, len(entries)):
                mask_file = self.root / split / "mask_visib" / f"{number:06d}_{index:06d}.png"
                mask = read_mask(mask_file, size)
                # The unit may be mistaken, which the check is there to find: no limit yet.
                stored = as_transform(entry, 1.0, place, farthest=1e12)
                yield place, OBJECT_IDS.index(obj_id), mask, stored

    def _is_visible(self, item: tuple[str, int], index: int, count: int) -> bool:
        """Whether gt_info has a box for an object; an empty list stands for none."""
        split, number = item
        info = self._info[split]
        if info is None:
            return True
        file = self._info_file(split)
        where = f"{file} frame {number}"
        entries = as_list(field(info, file, self._keys[split][number]), where, "frame")
        if len(entries) != count:
            raise InputError(
                f"{len(entries)} objects", where=where, expected=f"{count}, as {self._gt_file(split).name}"
            )
        place = f"{where} object {index}"
        box = as_list(
            field(as_object(entries[index], place, "object"), place, "bbox_visib"), place, "bbox_visib"
        )
        if box:
            as_numbers(box, 4, place, "bbox_visib")
        return bool(box)

    def _seen(self, item: tuple[str, int]) -> list[Seen]:
        """The objects of a frame, for the check of directions and units."""
        image, depth = self._pictures(item)
        K = _intrinsics(image.shape, self.root)
        return [
            Seen(stored, mask, depth[mask], K, self._vertices(class_id))
            for _, class_id, mask, stored in self._objects(item, image.shape)
            if mask.any()
        ]

    def _gt_file(self, split: str) -> Path:
        return self.root / split / f"{split}_gt.json"

    def _info_file(self, split: str) -> Path:
        return self.root / split / f"{split}_gt_info.json"


def _intrinsics(size: tuple[int, ...], where: object) -> NDArray[np.float64]:
    """K of a frame, (H, W, ...): that of 640 x 480 pixels, scaled where the frame was."""
    scale = size[1] / SIZE[1]
    if size[0] * SIZE[1] != size[1] * SIZE[0]:
        raise InputError(
            f"image of {size[1]} x {size[0]} pixels", where=where, expected="640 x 480, or in proportion"
        )
    scaled = K * scale
    scaled[:2, 2] += (scale - 1) / 2  # a coordinate counts from a pixel's centre
    scaled[2, 2] = 1
    return scaled
