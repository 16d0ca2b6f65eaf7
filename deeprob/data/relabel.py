"""The same source with other class names: renamed, merged or dropped."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

from deeprob.data.frame import Frame, Instance
from deeprob.data.readers.reading import Frames, fingerprint
from deeprob.data.source import Source
from deeprob.errors import InputError
from deeprob.geometry.mesh import Mesh
from deeprob.geometry.symmetry import Symmetries

REST = "rest"
"""In a label map: every class that it does not name."""


class RelabelledSource(Source):
    """A source seen through a label map.

    label_map: for a class the name it gets, or None to drop its objects; a class not named stays as it is,
    or gets the name that `rest` does where that is no class.
    Classes that get the same name are one. classes: what classes there are and how they are counted; empty:
    those of the source. Raises InputError for a class that the source does not have, one that is not among
    `classes`, and where no class is left.
    """

    def __init__(
        self, source: Source, label_map: Mapping[str, str | None], classes: Sequence[str] = ()
    ) -> None:
        named = dict(label_map)
        if REST in named and REST not in source.classes:
            other = named.pop(REST)
            named = {name: named.get(name, other) for name in source.classes} | named
        unknown = [name for name in named if name not in source.classes]
        if unknown:
            raise InputError(
                f"data.label_map names {unknown[0]!r}, no class of {source.name}",
                expected=", ".join(source.classes),
            )
        self.source = source
        self.label_map = named
        self.name, self.real, self.splits = source.name, source.real, source.splits
        self.root, self.box_convention, self.streams = source.root, source.box_convention, source.streams
        self.on_bad_sample, self.skipped = source.on_bad_sample, source.skipped
        names = [self.label_map.get(name, name) for name in source.classes]
        kept = tuple(dict.fromkeys(name for name in names if name is not None))
        self.classes = tuple(classes) or kept
        unknown = sorted(set(kept) - set(self.classes))
        if unknown:
            raise InputError(
                f"classes that are not known: {', '.join(unknown)}",
                where=source.name,
                expected=", ".join(self.classes),
                fix="rename or leave them out by a label_map: {theirs: ours, other: null}",
            )
        if not self.classes:
            raise InputError("data.label_map drops every class", where=source.name)
        self._new_id = [None if name is None else self.classes.index(name) for name in names]
        self._old_id = {new: old for old, new in reversed(list(enumerate(self._new_id)))}
        self.has_models, self.least_visible = source.has_models, source.least_visible
        if source.class_numbers:  # -1 for a class that only `order` names
            old = [self._old_id.get(new) for new in range(len(self.classes))]
            self.class_numbers = tuple(-1 if i is None else source.class_numbers[i] for i in old)

    def image_numbers(self, split: str) -> Sequence[tuple[Hashable, str | None]]:
        return self.source.image_numbers(split)

    def mesh(self, class_id: int) -> Mesh:
        return self.source.mesh(self._old(class_id))

    def look(self, class_id: int) -> Mesh:
        return self.source.look(self._old(class_id))

    def symmetries(self, class_id: int) -> Symmetries:
        return self.source.symmetries(self._old(class_id))

    def _old(self, class_id: int) -> int:
        if class_id not in self._old_id:
            raise InputError(f"no object {self.classes[class_id]}", where=self.name)
        return self._old_id[class_id]

    @property
    def unit(self) -> str:
        return self.source.unit

    def prepare(self, progress: bool = False) -> None:
        self.source.prepare(progress)

    def visit(self, split: str, index: int, number: int) -> Frame:
        return self._relabel(self.source.visit(split, index, number))

    def fingerprint(self, split: str) -> str | None:
        content = self.source.fingerprint(split)
        return None if content is None else fingerprint(content, self.classes, self._new_id)

    def frames(self, split: str) -> Sequence[Frame]:
        """List the frames of a split, each read when it is asked for."""
        frames = self.source.frames(split)
        if isinstance(frames, Frames):
            return frames.map(self._relabel)
        return Frames(range(len(frames)), lambda index: self._relabel(frames[index]))

    def _relabel(self, frame: Frame) -> Frame:
        def of(instances: tuple[Instance, ...]) -> tuple[Instance, ...]:
            kept = ((self._new_id[instance.class_id], instance) for instance in instances)
            return tuple(replace(i, class_id=new) for new, i in kept if new is not None)

        return replace(frame, instances=of(frame.instances), crowds=of(frame.crowds))
