"""What a run folder says of the data it was trained on: enough to use its model where the data are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deeprob.data.frame import Frame
from deeprob.data.source import Source
from deeprob.errors import InputError

if TYPE_CHECKING:
    from deeprob.data.batches.datamodule import PerceptionData


class KnownSource(Source):
    """A source as a run folder describes it: its name, its classes and their numbers, and no frames."""

    splits = ()

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self.name, self.real = str(facts["name"]), bool(facts["real"])
        self.classes = tuple(facts["classes"])
        self.class_numbers = tuple(facts.get("class_numbers", ()))
        self.part_names = tuple(facts.get("part_names", ()))
        self.box_convention = str(facts.get("box_convention", self.box_convention))
        self._unit = str(facts.get("unit", super().unit))

    @property
    def unit(self) -> str:
        return self._unit

    def frames(self, split: str) -> Sequence[Frame]:
        """Raise InputError: the frames are elsewhere."""
        raise InputError(
            f"the data set {self.name} is not at hand", expected="its files, where the run's config says"
        )


def facts_of(data: PerceptionData) -> dict[str, Any]:
    """What a model needs of its data besides samples: plain facts, and the channels' statistics."""
    source = data.source
    return {
        "name": source.name,
        "real": bool(source.real),
        "classes": list(source.classes),
        "class_numbers": list(source.class_numbers),
        "part_names": list(source.part_names),
        "unit": source.unit,
        "box_convention": source.box_convention,
        "mean": list(data.mean),
        "std": list(data.std),
    }
