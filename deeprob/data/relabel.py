"""The same source with other class names: renamed, merged or dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from deeprob.data.frame import Frame, Instance
from deeprob.data.readers.reading import Frames, fingerprint
from deeprob.data.source import Source
from deeprob.errors import InputError


class RelabelledSource(Source):
    """A source seen through a label map.

    label_map: for a class the name it gets, or None to drop its objects; a class not named stays as it is.
    Classes that get the same name are one. Raises InputError for a class that the source does not have, and
    where no class is left.
    """

    def __init__(self, source: Source, label_map: Mapping[str, str | None]) -> None:
        unknown = [name for name in label_map if name not in source.classes]
        if unknown:
            raise InputError(
                f"data.label_map names {unknown[0]!r}, no class of {source.name}",
                expected=", ".join(source.classes),
            )
        self.source = source
        self.label_map = dict(label_map)
        self.name, self.real, self.splits = source.name, source.real, source.splits
        self.root, self.box_convention, self.streams = source.root, source.box_convention, source.streams
        self.on_bad_sample, self.skipped = source.on_bad_sample, source.skipped
        names = [self.label_map.get(name, name) for name in source.classes]
        self.classes = tuple(dict.fromkeys(name for name in names if name is not None))
        if not self.classes:
            raise InputError("data.label_map drops every class", where=source.name)
        self._new_id = [None if name is None else self.classes.index(name) for name in names]

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
