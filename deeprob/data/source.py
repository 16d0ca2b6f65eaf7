"""The contract of data sets: all that is asked of one, with what holds where it says nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable, Sequence
from pathlib import Path
from typing import Any

from deeprob.data.frame import Frame
from deeprob.errors import InputError
from deeprob.geometry.mesh import Mesh
from deeprob.geometry.symmetry import Symmetries


class Source(ABC):
    """A data set: class names, and a lazily read sequence of frames for each split.

    name: of the data set. real: whether a camera took the pictures. root: the folder it is read from, if any.
    class_numbers: the data set's own number of each class, such as BOP's obj_id; empty where names serve.
    box_convention: whether a box is around what is `visible`, or `amodal`, what others hide too; empty: not
        known.
    streams: the splits whose frames look different at every visit. on_bad_sample: `error`, or `skip`, where
    `skipped` gets a line for each bad sample. passed_over: lines about files of kinds that are not read.
    has_clouds: whether it holds point clouds in the place of frames. part_names: of the parts of its clouds.
    has_models: whether `mesh` knows the shape of every class. least_visible: an instance of whose silhouette
    a smaller share is seen is no target of pose estimation.
    """

    name: str
    real: bool
    classes: tuple[str, ...]
    splits: tuple[str, ...]
    root: Path | None = None
    class_numbers: tuple[int, ...] = ()
    box_convention: str = ""
    streams: Collection[str] = ()
    on_bad_sample: str = "error"
    skipped: Sequence[str] = ()
    passed_over: Sequence[str] = ()
    has_clouds: bool = False
    has_models: bool = False
    least_visible: float = 0.1
    part_names: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """What is independent for statistics: each `frame`, or only each `group` of them.

        Frames of one simulated scene share their objects; those of a real session lie apart in time.
        """
        return "frame" if self.real else "group"

    @abstractmethod
    def frames(self, split: str) -> Sequence[Frame]:
        """The frames of a split, each read when it is asked for. Raises InputError for an unknown split."""

    def clouds(self, split: str) -> Sequence[Any]:
        """The point clouds of a split. Raises InputError where there are images instead."""
        raise InputError("images are no point clouds", where=self.name, fix="choose another data/view")

    def prepare(self, progress: bool = False) -> None:  # noqa: B027
        """Make what the frames are read from, where the data set makes its own."""

    def fingerprint(self, split: str) -> str | None:
        """Name the split's content: another name where any of it changes. None where nobody can tell."""
        return None

    def visit(self, split: str, index: int, number: int) -> Frame:
        """Make frame `index` of a stream as it looks at visit `number`, the same for the same number."""
        raise InputError(f"split {split!r} looks the same at every visit", where=self.name)

    def image_numbers(self, split: str) -> Sequence[tuple[Hashable, str | None]]:
        """The data set's own number of every image in order, and its frame's key; the key serves without."""
        return ()

    def mesh(self, class_id: int) -> Mesh:
        """The model of a class, in metres. Raises InputError where the data set has no models."""
        raise InputError("this data set has no models of its objects", where=self.name)

    def look(self, class_id: int) -> Mesh:
        """The model of a class with its colours, to be drawn; `mesh` where there is no other."""
        return self.mesh(class_id)

    def symmetries(self, class_id: int) -> Symmetries:
        """The motions that leave an object of a class looking the same."""
        return Symmetries()
