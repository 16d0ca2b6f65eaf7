"""A source with splits of other data sets beside its own: trained on renders, evaluated on real frames."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from deeprob.data.frame import Frame
from deeprob.data.relabel import RelabelledSource
from deeprob.data.source import Source
from deeprob.errors import InputError
from deeprob.geometry.mesh import Mesh
from deeprob.geometry.symmetry import Symmetries


class ExtraSplits(Source):
    """A source, and splits of others under names of their own.

    extra: name of the new split -> the source that has it, and what it is called there. Its classes are
    some of the first source's, and are counted as there. Raises InputError where a name is taken, a split is
    not there, or a class is unknown.
    """

    def __init__(self, source: Source, extra: Mapping[str, tuple[Source, str]]) -> None:
        self.source = source
        self.name, self.real, self.classes = source.name, source.real, source.classes
        self.root, self.box_convention, self.streams = source.root, source.box_convention, source.streams
        self.on_bad_sample, self.skipped = source.on_bad_sample, source.skipped
        self.class_numbers, self.has_models = source.class_numbers, source.has_models
        self._extra: dict[str, tuple[Source, str]] = {}
        for name, (other, split) in extra.items():
            if name in source.splits:
                raise InputError(
                    f"data.extra_splits.{name}: {source.name} has a split of that name",
                    fix="give it another name",
                )
            if split not in other.splits:
                expected = " or ".join(other.splits)
                raise InputError(f"no split {split!r}", where=f"data.extra_splits.{name}", expected=expected)
            self._extra[name] = RelabelledSource(other, {}, source.classes), split
        self.splits = (*source.splits, *extra)

    @property
    def unit(self) -> str:
        return self.source.unit

    def prepare(self, progress: bool = False) -> None:
        self.source.prepare(progress)

    def visit(self, split: str, index: int, number: int) -> Frame:
        return self.source.visit(split, index, number)

    def frames(self, split: str) -> Sequence[Frame]:
        """List the frames of a split, each read when it is asked for."""
        source, name = self._of(split)
        return source.frames(name)

    def fingerprint(self, split: str) -> str | None:
        source, name = self._of(split)
        return source.fingerprint(name)

    def image_numbers(self, split: str) -> Sequence[tuple[Hashable, str | None]]:
        source, name = self._of(split)
        return source.image_numbers(name)

    def mesh(self, class_id: int) -> Mesh:
        return self.source.mesh(class_id)

    def look(self, class_id: int) -> Mesh:
        return self.source.look(class_id)

    def symmetries(self, class_id: int) -> Symmetries:
        return self.source.symmetries(class_id)

    def clouds(self, split: str) -> Sequence[Any]:
        return self.source.clouds(split)

    def _of(self, split: str) -> tuple[Source, str]:
        """The source that has a split, and its name there."""
        return self._extra.get(split, (self.source, split))
