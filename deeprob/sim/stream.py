"""Frames rendered while training: the scenes are settled once, every visit is a new picture, kept nowhere."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import overload

from deeprob.data.frame import Frame
from deeprob.errors import InputError
from deeprob.sim.bank import SceneBank
from deeprob.sim.generator import Generator
from deeprob.sim.render import to_frame
from deeprob.sim.settings import SimSettings


class FrameStream(Sequence[Frame]):
    """The frames of a split, rendered whenever they are asked for, in any number of threads.

    Frame i shows view i mod `views` of scene i div `views`. `stream[i]` is always the same picture;
    `stream.visit(i, k)` shows its scene in the k-th further look: a pure function of (settings, split, i, k).
    cache_dir: settled scenes are kept below it.
    """

    def __init__(self, settings: SimSettings, cache_dir: Path, split: str) -> None:
        if settings.renderer != "ours":
            raise InputError(
                f"renderer {settings.renderer!r} cannot render while training",
                where="sim.renderer",
                expected="ours",
            )
        self.settings, self.split = settings, split
        self.bank = SceneBank(settings, cache_dir)
        self._generator: Generator | None = None
        self._making = threading.Lock()
        self._own = threading.local()

    @property
    def scenes(self) -> int:
        """The number of scenes of this split."""
        return int(getattr(self.settings, f"{self.split}_scenes"))

    def prepare(self, workers: int, progress: bool = True) -> None:
        """Settle the scenes that the bank lacks, in so many processes."""
        self.bank.prepare(self.split, self.scenes, workers, progress)

    def __len__(self) -> int:
        return self.scenes * self.settings.views

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> list[Frame]: ...
    def __getitem__(self, index: int | slice) -> Frame | list[Frame]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self.visit(index % len(self), 0)

    def visit(self, index: int, number: int) -> Frame:
        """Frame `index` in its look `number`; number 0 is the picture that a rendered data set has."""
        scene_index, view = divmod(index, self.settings.views)
        view += number * self.settings.views
        scene = self.bank.scene(self.split, scene_index)
        rendering = self._own_generator().view(scene, self.split, scene_index, view)
        return to_frame(
            rendering,
            scene,
            source=self.settings.name,
            key=f"{scene.key}/{view}",
            min_visible=self.settings.min_visible,
        )

    def _own_generator(self) -> Generator:
        """Return the generator of the calling thread: objects and textures are shared, buffers are not."""
        if not hasattr(self._own, "generator"):
            with self._making:
                if self._generator is None:
                    self._generator = Generator(self.settings)
                self._own.generator = self._generator.twin()
        generator: Generator = self._own.generator
        return generator
