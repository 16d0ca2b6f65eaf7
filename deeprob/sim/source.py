"""PyBullet scenes as a data source: rendered once in parallel, cached on disk, read like any data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import overload

from deeprob.data.frame import Frame
from deeprob.data.readers import reading
from deeprob.data.source import Source
from deeprob.errors import InputError
from deeprob.geometry.mesh import Mesh
from deeprob.geometry.symmetry import Symmetries
from deeprob.progress import steps
from deeprob.sim.generator import Generator, fingerprint
from deeprob.sim.objects import load_objects
from deeprob.sim.render import to_frame
from deeprob.sim.settings import SimSettings, check_settings
from deeprob.sim.shard import read_shard, write_shard
from deeprob.sim.stream import FrameStream
from deeprob.sim.workers import run_jobs
from deeprob.writing import sweep, write_json

SCENES_PER_SHARD = 8
SHARDS_IN_MEMORY = 4


@dataclass(frozen=True)
class _Shard:
    """Scenes first..end-1 of a split, and the file that holds them."""

    split: str
    first: int
    end: int
    path: Path


class PyBulletSource(Source):
    """Simulated scenes with every label, as a Source (deeprob.data.frame).

    settings: what to simulate. cache_dir: rendered scenes are kept below it, in a folder named by everything
    that determines the pictures, and used again. workers: processes that render; 0 renders in this process.
    fresh: training frames are rendered while training, in another look at every visit, and kept nowhere.
    """

    real = False
    splits = ("train", "val", "test")

    def __init__(self, settings: SimSettings, cache_dir: Path, workers: int, fresh: bool = False) -> None:
        check_settings(settings)
        self.settings, self.workers = settings, workers
        self.name = settings.name
        objects = load_objects(settings.objects)
        self._objects = objects
        self.has_models = list(settings.scene.scale) == [1.0, 1.0]
        self.classes = tuple(model.name for model in objects)
        self.folder = Path(cache_dir).expanduser() / f"{settings.name}-{fingerprint(settings, objects)}"
        self.streams: Mapping[str, FrameStream] = (
            {"train": FrameStream(settings, cache_dir, "train")} if fresh else {}
        )

    def frames(self, split: str) -> Sequence[Frame]:
        """The frames of a split, scene by scene; renders what the cache lacks."""
        self.prepare(progress=False, splits=(split,))
        return self.streams.get(split) or _Frames(self, self._shards(split))

    def visit(self, split: str, index: int, number: int) -> Frame:
        """Frame `index` of a stream in its look `number`."""
        return self.streams[split].visit(index, number)

    def mesh(self, class_id: int) -> Mesh:
        """The shape of a class, in metres. Raises InputError where scenes change the objects' size."""
        if not self.has_models:
            raise InputError(
                f"objects of {self.settings.scene.scale} times their size",
                where="sim.scene.scale",
                expected="[1, 1]: a pose is of an object of known size",
            )
        return self._objects[class_id].mesh

    def symmetries(self, class_id: int) -> Symmetries:
        """The motions that leave a class looking the same."""
        return self._objects[class_id].symmetries

    def fingerprint(self, split: str) -> str:
        """Name the split's content: crops cut from it are kept under this name, not cut again."""
        return reading.fingerprint(self.folder.name, split, asdict(self.settings))

    def prepare(self, progress: bool = True, splits: Sequence[str] = splits) -> None:
        """Render what the cache lacks. Finished files are kept when this is interrupted, and found again.

        Raises InputError where a scene cannot be placed or the disk cannot be written.
        """
        for split in self.streams.keys() & set(splits):
            self.streams[split].prepare(self.workers, progress)
        rendered = [split for split in splits if split not in self.streams]
        missing = [shard for split in rendered for shard in self._shards(split) if not shard.path.is_file()]
        if not missing:
            return
        try:
            for folder in {shard.path.parent for shard in missing}:
                sweep(folder)
            write_json(self.folder / "settings.json", asdict(self.settings))
            scenes = sum(shard.end - shard.first for shard in missing)
            with steps("rendering scenes", scenes, progress) as advance:
                for shard in run_jobs(self.settings, _write, missing, self.workers):
                    advance(shard.end - shard.first)
        except OSError as error:
            raise InputError(
                f"rendered scenes cannot be written ({error.strerror or error})",
                where=self.folder,
                fix="free space there, or set another cache folder",
            ) from error

    def _shards(self, split: str) -> list[_Shard]:
        if split not in self.splits:
            raise InputError(f"no split called {split}", where=self.name, expected=", ".join(self.splits))
        scenes: int = getattr(self.settings, f"{split}_scenes")
        shards = []
        for first in range(0, scenes, SCENES_PER_SHARD):
            end = min(first + SCENES_PER_SHARD, scenes)
            shards.append(_Shard(split, first, end, self.folder / split / f"{first:06d}-{end:06d}.npz"))
        return shards


class _Frames(Sequence[Frame]):
    """Frames of some shards; the last few shards stay in memory."""

    def __init__(self, source: PyBulletSource, shards: list[_Shard]) -> None:
        self._source, self._shards = source, shards
        self._cache: dict[int, list[Frame]] = {}

    def __len__(self) -> int:
        return self._source.settings.views * (self._shards[-1].end if self._shards else 0)

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> list[Frame]: ...
    def __getitem__(self, index: int | slice) -> Frame | list[Frame]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        number, offset = divmod(index % len(self), SCENES_PER_SHARD * self._source.settings.views)
        if number not in self._cache:
            while len(self._cache) >= SHARDS_IN_MEMORY:
                del self._cache[next(iter(self._cache))]
            self._cache[number] = self._read(self._shards[number])
        return self._cache[number][offset]

    def _read(self, shard: _Shard) -> list[Frame]:
        settings = self._source.settings
        return [
            to_frame(
                rendering,
                scene,
                source=settings.name,
                key=f"{scene.key}/{n % settings.views}",
                min_visible=settings.min_visible,
            )
            for n, (scene, rendering) in enumerate(read_shard(shard.path))
        ]


def _write(generator: Generator, shard: _Shard) -> None:
    views = (view for index in range(shard.first, shard.end) for view in generator.views(shard.split, index))
    write_shard(shard.path, views)
