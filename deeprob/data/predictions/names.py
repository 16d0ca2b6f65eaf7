"""How a file of predictions names the images and the classes of a split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Any, Protocol

from deeprob.data.readers.fields import as_int, field
from deeprob.data.source import Source
from deeprob.errors import InputError


class Naming(Protocol):
    """How entries of a file of predictions name images and classes."""

    def of_key(self, key: str) -> dict[str, Any]:
        """Name the image of a frame."""
        ...

    def of_class(self, class_id: int) -> int | str:
        """Name a class, by a number or by its name."""
        ...


class Names:
    """Names of images and classes, by the data set's own numbers or by its words.

    An image: BOP's (scene_id, im_id); for PROPS poses, which has no scenes, (0, frame number); COCO's
    image_id. A class: BOP's obj_id, COCO's category_id. In JSON the key of a frame and the name of a class
    stand for them too; they are what other data sets have.
    """

    def __init__(self, source: Source, split: str) -> None:
        self.classes, self.numbers = source.classes, source.class_numbers
        numbered = source.image_numbers(split)
        self._known = {number for number, _ in numbered}
        if len(self._known) < len(numbered):
            twice = next(number for number, times in Counter(n for n, _ in numbered).items() if times > 1)
            raise InputError(
                f"two images of split {split!r} are called {twice}",
                where=source.name,
                fix="choose the folders of one: 'data.source.splits={test: [\"test/*\"]}'",
            )
        self.of_frames = dict(enumerate(number for number, _ in numbered))
        self._of_key = {key: number for number, key in numbered if key is not None}

    def image(self, entry: dict[str, Any], where: str) -> Hashable:
        """The image that a JSON entry is about. Raises InputError for a number that no image has."""
        value = field(entry, where, "image_id")
        if isinstance(value, str):
            return value
        name: Hashable = as_int(value, where, "image_id")
        if "scene_id" in entry:
            name = (as_int(entry["scene_id"], where, "scene_id"), name)
        return self.known(name, where)

    def known(self, name: Hashable, where: str) -> Hashable:
        """The number of an image, checked. Raises InputError where the split has no such image."""
        if name not in self._known:
            example = next(iter(self._known), "a frame's key as text")
            raise InputError(f"no image {name} in this split", where=where, expected=f"such as {example}")
        return name

    def of_key(self, key: str) -> dict[str, Any]:
        """How an entry names the image of a frame: by the data set's own number, else by the frame's key."""
        number = self._of_key.get(key, key)
        if isinstance(number, tuple):
            return {"scene_id": number[0], "image_id": number[1]}
        return {"image_id": number}

    def of_class(self, class_id: int) -> int | str:
        """How an entry names a class: by the data set's own number, else by its name."""
        return self.numbers[class_id] if self.numbers else self.classes[class_id]

    def class_id(self, value: Any, where: str) -> int:
        """The index of a class from its number or name. Raises InputError for one that is not there."""
        choices: tuple[Any, ...] = self.classes if isinstance(value, str) else self.numbers
        if isinstance(value, bool) or value not in choices:
            shown = ", ".join(map(str, choices[:12])) or ", ".join(self.classes[:12])
            raise InputError(f"no class {value!r}", where=where, expected=f"one of {shown}")
        return choices.index(value)

    def of_object(self, obj_id: int, where: str) -> int:
        """The index of a class from BOP's obj_id, counted from 1 where the data set has no numbers."""
        if self.numbers:
            return self.class_id(obj_id, where)
        if not 0 < obj_id <= len(self.classes):
            raise InputError(f"no object {obj_id}", where=where, expected=f"1 to {len(self.classes)}")
        return obj_id - 1
