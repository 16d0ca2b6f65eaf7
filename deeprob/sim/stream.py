"""Frames rendered while training, from a bank of settled scenes; nothing is written to disk."""

from __future__ import annotations

from collections.abc import Iterator

from torch.utils.data import IterableDataset, get_worker_info

from deeprob.data.frame import Frame
from deeprob.errors import InputError
from deeprob.sim.bank import SceneBank
from deeprob.sim.generator import Generator
from deeprob.sim.render import to_frame


class SimulatedStream(IterableDataset[Frame]):
    """Frames start, start + 1, ..., start + length - 1 of an endless sequence.

    Frame k shows scene k mod `scenes` of the bank in its (k div scenes)-th look: a pure function of
    (settings, split, k). Under a DataLoader, worker w of W renders frames w, w + W, ... of them. To go on in
    the middle of an epoch, set `start` to the number of frames already seen.
    """

    def __init__(self, bank: SceneBank, split: str, scenes: int, length: int, start: int = 0) -> None:
        if scenes < 1 or length < 1 or start < 0:
            raise InputError(
                f"a stream of {scenes} scenes and {length} frames from {start}", expected="1 or more"
            )
        self.bank, self.split, self.scenes, self.length, self.start = bank, split, scenes, length, start

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Frame]:
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        generator = Generator(self.bank.settings)  # made in the worker: PyBullet's client is not shared
        for k in range(self.start + first, self.start + self.length, step):
            index, look = k % self.scenes, k // self.scenes
            scene = self.bank.scene(self.split, index)
            settings = self.bank.settings
            yield to_frame(
                generator.view(scene, self.split, index, look),
                scene,
                source=settings.name,
                key=f"{scene.key}/{look}",
                min_visible=settings.min_visible,
            )
