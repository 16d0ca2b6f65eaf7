"""PyBullet scenes as a data source: rendered once in parallel, cached on disk, read like any data set."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import overload

from deeprob.data.frame import Frame
from deeprob.errors import InputError
from deeprob.runs import write_json
from deeprob.sim.generator import Generator, fingerprint
from deeprob.sim.objects import load_objects
from deeprob.sim.render import to_frame
from deeprob.sim.settings import SimSettings, check_settings
from deeprob.sim.shard import read_shard, write_shard

SCENES_PER_SHARD = 8
SHARDS_IN_MEMORY = 4


@dataclass(frozen=True)
class _Shard:
    """Scenes first..end-1 of a split, and the file that holds them."""

    split: str
    first: int
    end: int
    path: Path


class PyBulletSource:
    """Simulated scenes with every label, as a Source (deeprob.data.frame).

    settings: what to simulate. cache_dir: rendered scenes are kept below it, in a folder named by everything
    that determines the pictures, and used again. workers: processes that render; 0 renders in this process.
    """

    real = False
    splits = ("train", "val", "test")

    def __init__(self, settings: SimSettings, cache_dir: Path, workers: int) -> None:
        check_settings(settings)
        self.settings, self.workers = settings, workers
        self.name = settings.name
        objects = load_objects(settings.objects)
        self.classes = tuple(model.name for model in objects)
        self.folder = Path(cache_dir) / f"{settings.name}-{fingerprint(settings, objects)}"

    def frames(self, split: str) -> Sequence[Frame]:
        """The frames of a split, scene by scene; renders what the cache lacks."""
        self.prepare(progress=False, splits=(split,))
        return _Frames(self, self._shards(split))

    def prepare(self, progress: bool = True, splits: Sequence[str] = splits) -> None:
        """Render what the cache lacks. Finished files are kept when this is interrupted, and found again.

        Raises InputError where a scene cannot be placed or the disk cannot be written.
        """
        missing = [shard for split in splits for shard in self._shards(split) if not shard.path.is_file()]
        if not missing:
            return
        try:
            write_json(self.folder / "settings.json", asdict(self.settings))
            scenes = sum(shard.end - shard.first for shard in missing)
            with _bar(scenes, progress) as advance:
                for shard in self._render(missing):
                    advance(shard.end - shard.first)
        except OSError as error:
            raise InputError(
                f"rendered scenes cannot be written ({error.strerror or error})",
                where=self.folder,
                fix="free space there, or set another cache folder",
            ) from error
        except BrokenProcessPool:
            raise InputError(
                "a rendering process was killed, probably for lack of memory",
                where=self.folder,
                fix="use fewer workers; what was rendered is kept",
            ) from None

    def _shards(self, split: str) -> list[_Shard]:
        if split not in self.splits:
            raise InputError(f"no split called {split}", where=self.name, expected=", ".join(self.splits))
        scenes: int = getattr(self.settings, f"{split}_scenes")
        shards = []
        for first in range(0, scenes, SCENES_PER_SHARD):
            end = min(first + SCENES_PER_SHARD, scenes)
            shards.append(_Shard(split, first, end, self.folder / split / f"{first:06d}-{end:06d}.npz"))
        return shards

    def _render(self, shards: list[_Shard]) -> Iterator[_Shard]:
        """Render the shards, yielding each as it is done."""
        if self.workers == 0:
            generator = Generator(self.settings)
            for shard in shards:
                yield _write(generator, shard)
            return
        context = multiprocessing.get_context("spawn")  # safe beside torch's threads and PyBullet's state
        count = min(self.workers, len(shards))
        with ProcessPoolExecutor(count, context, _start_worker, (self.settings,)) as pool:
            pending = {pool.submit(_render_in_worker, shard) for shard in shards}
            try:
                while pending:
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield future.result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


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


@contextlib.contextmanager
def _bar(scenes: int, shown: bool) -> Iterator[Callable[[int], None]]:
    """A progress bar over scenes on stderr; yields what advances it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("rendering scenes"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not shown) as bar:
        task = bar.add_task("", total=scenes)
        yield lambda count: bar.advance(task, count)


def _write(generator: Generator, shard: _Shard) -> _Shard:
    views = (view for index in range(shard.first, shard.end) for view in generator.views(shard.split, index))
    write_shard(shard.path, views)
    return shard


_generator: Generator | None = None  # one per rendering process, made by _start_worker


def _start_worker(settings: SimSettings) -> None:
    global _generator
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    cv2.setNumThreads(1)
    _generator = Generator(settings)


def _render_in_worker(shard: _Shard) -> _Shard:
    assert _generator is not None
    return _write(_generator, shard)
