"""A source with further splits, borrowed from other data sets: trained on renders, judged on real frames."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from deeprob.data.frame import Frame, Source
from deeprob.data.relabel import RelabelledSource
from deeprob.errors import InputError


class BorrowingSource:
    """A source, and splits of others under names of their own.

    borrowed: name of the new split -> the source that has it, and what it is called there. Its classes are
    some of the first source's, and are counted as there. Raises InputError where a name is taken, a split is
    not there, or a class is unknown.
    """

    def __init__(self, source: Source, borrowed: Mapping[str, tuple[Source, str]]) -> None:
        self.source = source
        self.name, self.real, self.classes = source.name, source.real, source.classes
        self.unit = getattr(source, "unit", "frame" if source.real else "group")
        self.box_convention = getattr(source, "box_convention", "visible")
        self.streams: Collection[str] = getattr(source, "streams", ())
        self._borrowed: dict[str, tuple[RelabelledSource, str]] = {}
        for name, (other, split) in borrowed.items():
            if name in source.splits:
                raise InputError(
                    f"data.borrowed.{name}: {source.name} has a split of that name",
                    fix="give it another name",
                )
            if split not in other.splits:
                expected = " or ".join(other.splits)
                raise InputError(f"no split {split!r}", where=f"data.borrowed.{name}", expected=expected)
            self._borrowed[name] = RelabelledSource(other, {}, source.classes), split
        self.splits = (*source.splits, *borrowed)
        if hasattr(source, "visit"):
            self.visit = source.visit
        if hasattr(source, "prepare"):
            self.prepare = source.prepare
        if hasattr(source, "fingerprint"):
            self.fingerprint = self._fingerprint

    def frames(self, split: str) -> Sequence[Frame]:
        """List the frames of a split, each read when it is asked for."""
        if split not in self._borrowed:
            return self.source.frames(split)
        other, name = self._borrowed[split]
        return other.frames(name)

    def _fingerprint(self, split: str) -> str:
        """Name the split's content."""
        if split not in self._borrowed:
            return str(self.source.fingerprint(split))  # type: ignore[attr-defined]
        other, name = self._borrowed[split]
        return str(other.fingerprint(name))  # type: ignore[no-untyped-call]
