"""A plain tree of images: one folder for each class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from deeprob.data.frame import Frame, Instance
from deeprob.data.readers.files import FileSource
from deeprob.data.readers.reading import OnBadSample, find_images, list_folder, read_image
from deeprob.errors import InputError


class FolderSource(FileSource[tuple[Path, int]]):
    """Images sorted into folders by class; each is a frame with one box around all of it.

    splits: for each split its folder relative to root, which holds a folder for each class, such as
    {"train": "train", "val": "val"}; "." is root itself. The classes are those of all splits, sorted by name.
    A frame's group is the folder that its class folder holds it in, or itself where it lies there directly.
    """

    def __init__(
        self,
        root: Path,
        splits: Mapping[str, str],
        on_bad_sample: OnBadSample = "error",
        name: str | None = None,
    ) -> None:
        super().__init__(root, name, on_bad_sample)
        self.splits = tuple(splits)
        found: dict[str, list[tuple[Path, str]]] = {}
        for split, folder in splits.items():
            base = self.root / folder
            if not base.is_dir():
                raise InputError(f"no folder for split {split!r}", where=base)
            classes = [path for path in list_folder(base) if path.is_dir()]
            found[split] = [(image, path.name) for path in classes for image in find_images(path)]
            if not found[split]:
                raise InputError(f"split {split!r} has no images", where=base, expected="<class>/<image>")
        self.classes = tuple(sorted({name for images in found.values() for _, name in images}))
        ids = {name: index for index, name in enumerate(self.classes)}
        self._items = {s: [(image, ids[name]) for image, name in images] for s, images in found.items()}

    def items(self, split: str) -> list[tuple[Path, int]]:
        return self._items[split]

    def files(self, item: tuple[Path, int]) -> Iterable[Path]:
        return (item[0],)

    def read(self, item: tuple[Path, int]) -> Frame:
        path, class_id = item
        image = read_image(path)
        box = np.array([-0.5, -0.5, image.shape[1] - 0.5, image.shape[0] - 0.5])
        direct = path.parent.name == self.classes[class_id]
        group = path if direct else path.parent
        return Frame(
            image=image,
            instances=(Instance(class_id, box),),
            source=self.name,
            key=path.relative_to(self.root).as_posix(),
            group=group.relative_to(self.root).as_posix(),
        )
