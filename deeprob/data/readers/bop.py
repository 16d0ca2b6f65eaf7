"""BOP data sets in scenewise layout: YCB-V, LM-O, T-LESS, HOPE and others, and what the simulator writes.

    <root>/models/obj_000001.ply, models_info.json            millimetres
    <root>/<folder>/<scene>/rgb (or gray), depth, mask, mask_visib
    <root>/<folder>/<scene>/scene_camera.json, scene_gt.json, scene_gt_info.json

Format: https://github.com/thodan/bop_toolkit/blob/master/docs/bop_datasets_format.md; lengths become metres.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, ClassVar

from deeprob.data.frame import Frame, Instance
from deeprob.data.readers.bop_labels import BOXES, FILES, MASKS, box_of, read_scene, visible_box
from deeprob.data.readers.bop_models import (
    MILLIMETRES,
    check_unit,
    find_models,
    read_models_info,
    symmetries_of,
)
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
from deeprob.data.readers.files import FileSource, NoSplitError, read_depth, read_mask
from deeprob.data.readers.reading import IMAGE_SUFFIXES, OnBadSample, list_folder, read_image
from deeprob.errors import InputError
from deeprob.geometry.mesh import Mesh, load_mesh
from deeprob.geometry.symmetry import Symmetries


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
    targets: for each split it names, a targets file (test_targets_bop19.json), or None for all: only its
    images are taken, and of an image only the objects that it lists, the most visible ones first.
    class_names: the name of an obj_id; the rest are named obj_000001 and so on. Classes are in order of ids.
    labels: whether there are ground truth poses; the test sets of some challenges keep theirs.
    boxes: around the `visible` pixels, or `amodal`, around the whole silhouette as far as it lies inside the
    picture; the second is what BOP's 2-D detection task judges by default.
    A frame's group is its scene; its key `<folder>/<scene>/<im_id>`. Objects that are not seen are left out.
    """

    default_splits: ClassVar = {
        "train": (["train*/*"], ["train_pbr/*"]),
        "test": (["test*/*"], ["test/*"]),
    }
    has_models = True
    unit = "group"  # the images of a scene are a video, or views of one pile of objects

    def __init__(
        self,
        root: Path,
        splits: Mapping[str, Sequence[str]],
        targets: Mapping[str, str | None] | None = None,
        class_names: Mapping[int, str] | None = None,
        labels: bool = True,
        boxes: str = "visible",
        on_bad_sample: OnBadSample = "error",
        name: str | None = None,
    ) -> None:
        super().__init__(root, name, on_bad_sample)
        if boxes not in BOXES:
            raise InputError(f"data.source.boxes is {boxes!r}", expected=" or ".join(BOXES))
        self.box_convention = boxes
        self._models = find_models(self.root)
        self.models_info = read_models_info(self._models)
        self.class_numbers = tuple(sorted(self.models_info))
        names = class_names or {}
        self.classes = tuple(names.get(obj_id, f"obj_{obj_id:06d}") for obj_id in self.class_numbers)
        twice = [name for name, count in Counter(self.classes).items() if count > 1]
        if twice:
            raise InputError(
                f"data.source.class_names gives {twice[0]!r} to two objects", expected="a name for each"
            )
        self.labels = labels
        self._wanted: dict[Path, dict[int, int]] = {}
        self._items = self.gather(splits, lambda split: self._list(split, splits[split]))
        self.splits = tuple(self._items)
        for split, file in (targets or {}).items():
            if file is None:
                continue
            if split in splits and split not in self.splits:
                continue  # a default split that this set lacks
            self.check_split(split)
            self._items[split], wanted = _only_targets(self._items[split], self.root / file)
            self._wanted.update(wanted)
            self.least_visible = 0.0
        self._scene = functools.lru_cache(maxsize=16)(read_scene)

    def items(self, split: str) -> list[BopImage]:
        return self._items[split]

    def files(self, item: BopImage) -> Iterable[Path]:
        parts = (*FILES, "depth", *MASKS)
        return (item.image, *(item.scene / part for part in parts))

    def number_of(self, item: BopImage) -> Hashable | None:
        return (int(item.scene.name), item.im_id) if item.scene.name.isdigit() else None

    def key_of(self, item: BopImage) -> str:
        return f"{item.scene.parent.name}/{item.scene.name}/{item.im_id:06d}"

    def options(self) -> tuple[object, ...]:
        listed = sorted((str(path), sorted(counts.items())) for path, counts in self._wanted.items())
        return self.labels, self.box_convention, *([listed] if listed else [])

    def read(self, item: BopImage) -> Frame:
        scene = self._scene(item.scene, self.labels)
        image = read_image(item.image)
        camera_file = item.scene / FILES[0]
        where = f"{camera_file} image {item.im_id}"
        camera = as_object(field(scene[0], camera_file, str(item.im_id)), where, "camera")
        depth, depth_path = None, item.scene / "depth" / f"{item.im_id:06d}.png"
        if depth_path.parent.is_dir():
            if not depth_path.is_file() and depth_path.with_suffix(".tif").is_file():
                depth_path = depth_path.with_suffix(".tif")  # ITODD
            scale = as_numbers([camera.get("depth_scale", 1.0)], 1, where, "depth_scale")[0]
            depth = read_depth(depth_path, scale * MILLIMETRES, image.shape)
        return Frame(
            image=image,
            instances=self._targets(item, self._instances(item, scene, image.shape)) if self.labels else (),
            source=self.name,
            key=self.key_of(item),
            group=f"{item.scene.parent.name}/{item.scene.name}",
            K=as_intrinsics(field(camera, where, "cam_K"), where, "cam_K"),
            depth_m=depth,
        )

    def _targets(self, item: BopImage, seen: Iterable[Instance]) -> tuple[Instance, ...]:
        """Those of the objects in an image that a list of targets counts; all where there is none."""
        instances, wanted = list(seen), self._wanted.get(item.image)
        if not wanted:
            return tuple(instances)
        kept: list[Instance] = []
        for obj_id, count in wanted.items():
            of_object = [i for i in instances if self.class_numbers[i.class_id] == obj_id]
            kept += sorted(of_object, key=lambda i: -(i.visible_fraction or 0.0))[:count]
        return tuple(i for i in instances if any(i is k for k in kept))

    def mesh(self, class_id: int) -> Mesh:
        """Load the shape of a class's model, in metres, without its texture: what errors are measured on.

        Of models_eval where the set has them, as the benchmark does.
        """
        name = f"obj_{self.class_numbers[class_id]:06d}.ply"
        path = self.root / "models_eval" / name
        if not path.is_file():
            path = self._models.parent / name
        mesh = load_mesh(path, scale=MILLIMETRES, textured=False)
        check_unit(mesh, self.models_info[self.class_numbers[class_id]], path)
        return mesh

    def look(self, class_id: int) -> Mesh:
        """Load a class's model with its colours, in metres."""
        path = self._models.parent / f"obj_{self.class_numbers[class_id]:06d}.ply"
        return load_mesh(path, scale=MILLIMETRES)

    def symmetries(self, class_id: int) -> Symmetries:
        obj_id = self.class_numbers[class_id]
        return symmetries_of(self.models_info[obj_id], f"{self._models} object {obj_id}")

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
            raise NoSplitError(
                f"split {split!r} has no images", where=self.root, expected=f"scenes {list(patterns)}"
            )
        return items

    def _instances(self, item: BopImage, scene: tuple[Any, ...], size: tuple[int, ...]) -> Iterable[Instance]:
        gt_file, info_file = item.scene / FILES[1], item.scene / FILES[2]
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
                    f"obj_id is {obj_id}", where=where, expected=f"one of {list(self.class_numbers)}"
                )
            masks = [
                read_mask(path, size) if path.parent.is_dir() else None
                for path in (item.scene / folder / f"{item.im_id:06d}_{index:06d}.png" for folder in MASKS)
            ]
            place = f"{info_file} image {key} object {index}"
            box, fraction = visible_box(info, masks[0], size, place)
            if box is not None and self.box_convention == "amodal":
                box = box_of(info, masks[1], "amodal", size, place)
            if box is not None:
                yield Instance(
                    class_id=self.class_numbers.index(obj_id),
                    box_xyxy=box,
                    mask=masks[0],
                    amodal_mask=masks[1],
                    T_cam_obj=as_transform(entry, MILLIMETRES, where),
                    visible_fraction=fraction,
                )


def _only_targets(items: list[BopImage], path: Path) -> tuple[list[BopImage], dict[Path, dict[int, int]]]:
    """Keep the images that a list names; and for each the ids and numbers of the objects that it lists."""
    wanted: dict[tuple[int, int], dict[int, int]] = {}
    for index, target in enumerate(as_list(read_json(path), path, "the file")):
        where = f"{path} target {index}"
        target = as_object(target, where, "target")
        scene_id, im_id = (as_int(field(target, where, name), where, name) for name in ("scene_id", "im_id"))
        counts = wanted.setdefault((scene_id, im_id), {})
        if "obj_id" in target:  # lists for the detection of unknown objects name images alone
            obj_id = as_int(target["obj_id"], where, "obj_id")
            counts[obj_id] = as_int(target.get("inst_count", 1), where, "inst_count")
    found = {(int(i.scene.name), i.im_id): i for i in items if i.scene.name.isdigit()}
    missing = wanted.keys() - found.keys()
    if missing:
        scene_id, im_id = min(missing)
        raise InputError(
            f"{len(missing)} target images are missing, such as {scene_id:06d}/{im_id:06d}", where=path
        )
    kept = [item for name, item in found.items() if name in wanted]
    return kept, {item.image: wanted[name] for name, item in found.items() if name in wanted}
