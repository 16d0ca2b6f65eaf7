"""A bank of settled scenes on disk: physics once, then a new camera, light and look at every visit."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deeprob.errors import InputError
from deeprob.progress import steps
from deeprob.sim.generator import Generator, fingerprint
from deeprob.sim.objects import load_objects
from deeprob.sim.physics import Scene
from deeprob.sim.settings import CameraSettings, LookSettings, SimSettings, check_settings
from deeprob.sim.workers import run_jobs
from deeprob.writing import atomic_file, sweep

SCENES_PER_FILE = 64


@dataclass(frozen=True)
class _Part:
    """Scenes first..first + SCENES_PER_FILE - 1 of a split."""

    split: str
    first: int
    path: Path


class SceneBank:
    """Settled scenes, found again by their index.

    cache_dir: the bank lies below it, in a folder named by what determines the scenes (not by camera or
    look).
    """

    def __init__(self, settings: SimSettings, cache_dir: Path) -> None:
        check_settings(settings)
        self.settings = settings
        physical = replace(settings, camera=CameraSettings(), look=LookSettings(), views=1)
        self.folder = (
            Path(cache_dir).expanduser() / f"bank-{fingerprint(physical, load_objects(settings.objects))}"
        )
        self._parts: dict[tuple[str, int], list[Scene]] = {}

    def prepare(self, split: str, scenes: int, workers: int, progress: bool = True) -> None:
        """Settle what is missing of the first so many scenes; an interruption leaves finished files."""
        parts = [self._part(split, first) for first in range(0, scenes, SCENES_PER_FILE)]
        missing = [part for part in parts if not part.path.is_file()]
        for folder in {part.path.parent for part in missing}:
            sweep(folder)
        try:
            with steps("settling scenes", len(missing) * SCENES_PER_FILE, progress) as advance:
                for _ in run_jobs(self.settings, _settle, missing, workers):
                    advance(SCENES_PER_FILE)
        except OSError as error:
            raise InputError(
                f"settled scenes cannot be written ({error.strerror or error})", where=self.folder
            ) from error

    def scene(self, split: str, index: int) -> Scene:
        """A scene of the bank. Raises InputError where it was not prepared, or its file is damaged."""
        first = index - index % SCENES_PER_FILE
        if (split, first) not in self._parts:
            self._parts[split, first] = _read(self._part(split, first).path)
        return self._parts[split, first][index - first]

    def _part(self, split: str, first: int) -> _Part:
        return _Part(split, first, self.folder / split / f"{first:06d}.npz")


def _settle(generator: Generator, part: _Part) -> None:
    scenes = [generator.scene(part.split, part.first + k) for k in range(SCENES_PER_FILE)]
    with atomic_file(part.path, "wb") as file:
        np.savez(
            file,
            key=np.array([scene.key for scene in scenes]),
            count=np.array([[len(scene.models), scene.labelled, scene.loose] for scene in scenes]),
            models=np.concatenate([scene.models for scene in scenes]),
            scale=np.concatenate([scene.scale for scene in scenes]),
            T_world_obj=np.concatenate([scene.T_world_obj for scene in scenes]),
            centres=np.concatenate([scene.centres for scene in scenes]),
        )


def _read(path: Path) -> list[Scene]:
    try:
        with np.load(path) as archive:
            a = {name: archive[name] for name in archive.files}
        scenes, end = [], 0
        for key, (count, labelled, loose) in zip(a["key"], a["count"], strict=True):
            of = slice(end, end := end + int(count))
            poses, centres = a["T_world_obj"][of], a["centres"][of]
            scenes.append(
                Scene(str(key), a["models"][of], a["scale"][of], poses, centres, int(labelled), int(loose))
            )
    except FileNotFoundError:
        raise InputError("these scenes are not in the bank", where=path, fix="prepare more scenes") from None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
        raise InputError(
            f"the scenes cannot be read ({error})", where=path, fix="delete the file, it is made again"
        ) from error
    return scenes
