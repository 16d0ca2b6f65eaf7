"""Label maps: an image whose values are classes beside each picture, in two trees of folders.

    plain       a PNG of indices, grey or with a palette (VOC, labelme, Cityscapes' *_labelIds.png): `values`
                says which class a value is
    panoptic    COCO's: a PNG whose colour is the number R + 256 G + 65536 B of a segment, and a JSON file
                that says the category of each segment; segments with iscrowd become the frame's crowds

Formats: https://cocodataset.org/#format-data; https://github.com/mcordts/cityscapesScripts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from deeprob.data.frame import Frame, Instance
from deeprob.data.readers.fields import as_flag, as_int, as_list, as_object, as_text, field, inside, read_json
from deeprob.data.readers.files import FileSource, NoSplitError, same_size
from deeprob.data.readers.image_headers import stretched
from deeprob.data.readers.reading import OnBadSample, Pixels, find_images, read_image, read_plane
from deeprob.errors import InputError
from deeprob.geometry.boxes import of_mask

REST = ("error", "ignore", "background")


@dataclass(frozen=True)
class LabelledImage:
    """A picture, its label map, and of a panoptic one the segments as the file has them."""

    image: Path
    labels: Path
    segments: tuple[Any, ...] | None = None
    file: Path | None = None
    where: str = ""


class LabelMapSource(FileSource[LabelledImage]):
    """Pictures with a class for every pixel.

    images, maps: for each split its folder of pictures, and of label maps, relative to root. A picture and
    its map have one name below their folders, but for image_suffix and map_suffix before the dot.
    values: value of a pixel -> the class; classes are in order of values. background: values of no class.
    ignore: values without a label, which no training aims at and no judgement counts. rest: what any other
    value is: an `error`, `ignore` or `background`. missing_maps: whether pictures without a map are an
    `error`, or `skip` leaves them out, as of VOC, of which a part is labelled.
    panoptic: for each split its JSON file of segments; `values` are then the categories' ids, and empty takes
    all of them by their names. Raises InputError where files or values do not fit.
    """

    default_splits: ClassVar = {split: (f"maps/{split}",) for split in ("train", "val")}

    def __init__(
        self,
        root: Path,
        images: Mapping[str, str],
        maps: Mapping[str, str],
        values: Mapping[int, str] | None = None,
        background: Sequence[int] = (0,),
        ignore: Sequence[int] = (255,),
        rest: str = "error",
        image_suffix: str = "",
        map_suffix: str = "",
        missing_maps: str = "error",
        panoptic: Mapping[str, str] | None = None,
        on_bad_sample: OnBadSample = "error",
        name: str | None = None,
    ) -> None:
        super().__init__(root, name, on_bad_sample)
        if rest not in REST:
            raise InputError(f"data.source.rest is {rest!r}", expected=" or ".join(REST))
        if missing_maps not in ("error", "skip"):
            raise InputError(f"data.source.missing_maps is {missing_maps!r}", expected="error or skip")
        self.rest, self.missing_maps, self.suffixes = rest, missing_maps, (image_suffix, map_suffix)
        self.background, self.ignore = frozenset(background), frozenset(ignore)
        known: dict[int, str] = {int(value): name for value, name in (values or {}).items()}
        for split in maps:
            if split not in images:
                raise InputError(f"no folder of pictures for split {split!r}", where="data.source.images")
        self._folders = {split: (self.root / images[split], self.root / maps[split]) for split in maps}
        files = {split: self.root / file for split, file in (panoptic or {}).items()}
        contents = {split: as_object(read_json(file), file, "the file") for split, file in files.items()}
        for split, content in contents.items() if not values else ():
            known |= _categories(content, files[split])
        if not known:
            raise InputError(
                "no classes",
                where=self.name,
                fix="set data.source.values={1: cup, 2: table}, by pixel values",
            )
        self.class_of = {value: index for index, value in enumerate(sorted(known))}
        self.classes = tuple(known[value] for value in sorted(known))
        self.class_numbers = tuple(sorted(known))
        self._items = self.gather(
            maps,
            lambda split: (
                self._panoptic(contents[split], files[split], *self._folders[split])
                if split in files
                else self._plain(split, *self._folders[split])
            ),
        )
        self.splits = tuple(self._items)

    def items(self, split: str) -> list[LabelledImage]:
        return self._items[split]

    def options(self) -> tuple[object, ...]:
        return self.class_numbers, sorted(self.background), sorted(self.ignore), self.rest

    def files(self, item: LabelledImage) -> Iterable[Path]:
        return (item.image, item.labels) if item.file is None else (item.image, item.labels, item.file)

    def read(self, item: LabelledImage) -> Frame:
        image = read_image(item.image)
        if item.segments is None:
            stored = read_plane(item.labels)
            same_size(stored, image.shape, item.labels)
            instances, crowds = self._of_values(self._values(stored, item.labels), item)
        else:
            colour = read_image(item.labels).astype(np.int64)
            plane = colour @ np.array([1, 256, 65536])
            same_size(plane, image.shape, item.labels)
            instances, crowds = self._of_segments(plane, item)
        key = item.image.relative_to(self.root).as_posix()
        return Frame(image, tuple(instances), self.name, key, key, crowds=tuple(crowds))

    def _values(self, plane: Pixels, path: Path) -> NDArray[np.int64]:
        """The values that a map stands for. Raises InputError where they are no whole numbers.

        Decoders stretch a grey PNG of 1, 2 or 4 bits to 0 to 255. Where the classes fit into these bits, they
        are the values that the file stores.
        """
        with np.errstate(invalid="ignore"):  # NaN becomes some number, which is told below
            values = np.asarray(plane, np.int64)
        if not (values == plane).all():
            raise InputError(f"values of type {plane.dtype}", where=path, expected="whole numbers")
        step = stretched(path)
        return values // step if step > 1 and max(self.class_of) <= 255 // step else values

    def _of_values(
        self, plane: NDArray[np.int64], item: LabelledImage
    ) -> tuple[list[Instance], list[Instance]]:
        """An instance for each class in a map of values, and a crowd for what has no label."""
        instances, ignored = [], np.zeros(plane.shape, bool)
        for value in np.unique(plane).tolist():
            if value in self.class_of:
                instances.append(_instance(self.class_of[value], plane == value))
            elif value in self.ignore or (self.rest == "ignore" and value not in self.background):
                ignored |= plane == value
            elif value not in self.background and self.rest == "error":
                raise InputError(
                    f"value {value}",
                    where=item.labels,
                    expected=f"one of {sorted({*self.class_of, *self.background, *self.ignore})}",
                    fix="name it in data.source.values, or set data.source.rest=ignore",
                )
        return instances, [_instance(0, ignored)] if ignored.any() else []

    def _of_segments(
        self, plane: NDArray[np.int64], item: LabelledImage
    ) -> tuple[list[Instance], list[Instance]]:
        """An instance for each segment whose category is a class; crowds, and pixels of no segment."""
        instances: list[Instance] = []
        crowds: list[Instance] = []
        seen = np.zeros(plane.shape, bool)
        for index, entry in enumerate(item.segments or ()):
            where = f"{item.where} segment {index}"
            segment = as_object(entry, where, "segment")
            number = as_int(field(segment, where, "id"), where, "id")
            category = as_int(field(segment, where, "category_id"), where, "category_id")
            mask = plane == number
            if not mask.any():
                raise InputError(
                    f"segment {number} has no pixel", where=item.labels, expected=f"as {where} says"
                )
            seen |= mask
            if category not in self.class_of:
                continue
            crowd = as_flag(segment.get("iscrowd", 0), where, "iscrowd")
            (crowds if crowd else instances).append(_instance(self.class_of[category], mask))
        if not seen.all():
            crowds.append(_instance(0, ~seen))
        return instances, crowds

    def _plain(self, split: str, images: Path, maps: Path) -> list[LabelledImage]:
        """Every picture of a split with its map."""
        for folder in (images, maps):
            if not folder.is_dir():
                raise NoSplitError(f"no folder for split {split!r}", where=folder)
        image_suffix, map_suffix = self.suffixes
        pictures: dict[str, Path] = {}
        for path in find_images(images):
            if path != pictures.setdefault(_name(path, images), path) and images != maps:
                raise InputError(
                    f"another picture has the same name: {pictures[_name(path, images)].name}",
                    where=path,
                    expected="one picture for a label map",
                )
        known = {_name(path, maps): path for path in find_images(maps) if path.suffix == ".png"}
        found = [
            LabelledImage(path, known.pop(name.removesuffix(image_suffix) + map_suffix, Path()))
            for name, path in pictures.items()
            if name.endswith(image_suffix) and path not in known.values()
        ]
        lost = next((path for name, path in known.items() if name.endswith(map_suffix)), None)
        if lost is not None and images != maps:
            raise InputError("a label map without a picture", where=lost, expected=f"one below {images}")
        if self.missing_maps == "error":
            bare = next((item.image for item in found if item.labels == Path()), None)
            if bare is not None:
                fix = "data.source.missing_maps=skip leaves such pictures out"
                raise InputError(
                    "a picture without a label map", where=bare, expected=f"one below {maps}", fix=fix
                )
        found = [item for item in found if item.labels != Path()]
        if not found:
            raise InputError(f"split {split!r} has no images", where=images)
        return found

    def _panoptic(self, content: Any, file: Path, images: Path, maps: Path) -> list[LabelledImage]:
        """Every annotation of a panoptic file."""
        names: dict[int, str] = {}
        for index, entry in enumerate(as_list(field(content, file, "images"), file, "images")):
            where = f"{file} image {index}"
            listed = as_object(entry, where, "image")
            number = as_int(field(listed, where, "id"), where, "id")
            names[number] = as_text(field(listed, where, "file_name"), where, "file_name")
        found = []
        for index, entry in enumerate(as_list(field(content, file, "annotations"), file, "annotations")):
            where = f"{file} annotation {index}"
            annotation = as_object(entry, where, "annotation")
            image_id = as_int(field(annotation, where, "image_id"), where, "image_id")
            if image_id not in names:
                raise InputError(f"image_id is {image_id}", where=where, expected="an id of the images")
            labels = as_text(field(annotation, where, "file_name"), where, "file_name")
            segments = as_list(field(annotation, where, "segments_info"), where, "segments_info")
            image = inside(images, names[image_id], where, "file_name")
            found.append(
                LabelledImage(image, inside(maps, labels, where, "file_name"), tuple(segments), file, where)
            )
        return found


def _categories(content: Any, file: Path) -> dict[int, str]:
    """The id and name of each category of a panoptic file."""
    found = {}
    for index, entry in enumerate(as_list(field(content, file, "categories"), file, "categories")):
        where = f"{file} category {index}"
        category = as_object(entry, where, "category")
        number = as_int(field(category, where, "id"), where, "id")
        found[number] = as_text(field(category, where, "name"), where, "name")
    return found


def _name(path: Path, folder: Path) -> str:
    """What a picture and its map are called below their folders."""
    return path.relative_to(folder).with_suffix("").as_posix()


def _instance(class_id: int, mask: NDArray[np.bool_]) -> Instance:
    box = of_mask(mask)
    assert box is not None
    return Instance(class_id, box, mask)
