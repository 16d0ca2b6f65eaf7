"""A plain tree of images: one folder for each class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar

from deeprob.data.frame import Frame, Instance
from deeprob.data.readers.files import FileSource, NoSplitError
from deeprob.data.readers.reading import OnBadSample, find_images, list_folder, read_image
from deeprob.errors import InputError
from deeprob.geometry.boxes import of_image


class FolderSource(FileSource[tuple[Path, int]]):
    """Images sorted into folders by class; each is a frame with one box around all of it.

    splits: for each split its folder relative to root, which holds a folder for each class, such as
    {"train": "train", "val": "val"}; "." is root itself. The classes are those of all splits, sorted by name.
    A frame's group is the folder that its class folder holds it in, or itself where it lies there directly.
    """

    default_splits: ClassVar = {split: (split,) for split in ("train", "val")}

    def __init__(
        self,
        root: Path,
        splits: Mapping[str, str],
        on_bad_sample: OnBadSample = "error",
        name: str | None = None,
    ) -> None:
        super().__init__(root, name, on_bad_sample)
        unread: list[Path] = []
        # The number of a class is known when those of all splits are: until then it is 0.
        found = self.gather(splits, lambda split: _list(split, self.root / splits[split], unread))
        self.pass_over(unread)
        self.splits = tuple(found)
        base = {split: self.root / splits[split] for split in found}
        names = {s: [path.relative_to(base[s]).parts[0] for path, _ in found[s]] for s in found}
        self.classes = tuple(sorted({name for of_split in names.values() for name in of_split}))
        ids = {name: index for index, name in enumerate(self.classes)}
        self._items = {
            s: [(path, ids[name]) for (path, _), name in zip(found[s], names[s], strict=True)] for s in found
        }

    def items(self, split: str) -> list[tuple[Path, int]]:
        return self._items[split]

    def files(self, item: tuple[Path, int]) -> Iterable[Path]:
        return (item[0],)

    def read(self, item: tuple[Path, int]) -> Frame:
        path, class_id = item
        image = read_image(path)
        direct = path.parent.name == self.classes[class_id]
        group = path if direct else path.parent
        return Frame(
            image=image,
            instances=(Instance(class_id, of_image(image.shape)),),
            source=self.name,
            key=path.relative_to(self.root).as_posix(),
            group=group.relative_to(self.root).as_posix(),
        )


def _list(split: str, base: Path, unread: list[Path]) -> list[tuple[Path, int]]:
    if not base.is_dir():
        raise NoSplitError(f"no folder for split {split!r}", where=base)
    classes = [path for path in list_folder(base) if path.is_dir()]
    found = [(image, 0) for path in classes for image in find_images(path, unread)]
    if not found:
        raise InputError(f"split {split!r} has no images", where=base, expected="<class>/<image>")
    return found
