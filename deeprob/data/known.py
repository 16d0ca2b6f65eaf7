"""What a run folder says of the data it was trained on: enough to use its model where the data are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deeprob.errors import InputError

if TYPE_CHECKING:
    from deeprob.data.batches.datamodule import PerceptionData
    from deeprob.data.frame import Frame

SIMPLE = ("classes", "category_ids", "object_ids", "part_names", "unit", "box_convention")
"""Attributes of a source that are plain words and numbers; most sources lack some of them."""


class KnownSource:
    """A source as a run folder describes it: its name, its classes and their numbers, and no frames."""

    splits: tuple[str, ...] = ()

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self.name, self.real = str(facts["name"]), bool(facts["real"])
        self.classes: tuple[str, ...] = tuple(facts["classes"])
        for key in SIMPLE:
            value = facts.get(key)
            if value is not None:
                setattr(self, key, tuple(value) if isinstance(value, list) else value)

    def frames(self, split: str) -> Sequence[Frame]:
        """Raise InputError: the frames are elsewhere."""
        raise InputError(
            f"the data set {self.name} is not at hand", expected="its files, where the run's config says"
        )


def facts_of(data: PerceptionData) -> dict[str, Any]:
    """What a model needs of its data besides samples: plain facts, and the channels' statistics."""
    source = data.source
    plain = {key: getattr(source, key) for key in SIMPLE if getattr(source, key, None) is not None}
    return {
        "name": source.name,
        "real": bool(source.real),
        **plain,
        "mean": list(data.mean),
        "std": list(data.std),
    }
