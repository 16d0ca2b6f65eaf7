"""`deeprob render`: a data set on disk, written by many processes, taken up again after a kill.

The unit of work is a scene. Its pictures are written first, its record (what the files for the whole split
need to know of it) last: a scene without a record is rendered again, to the same bytes. When all records are
there, the files for the whole data set are written from them in order, and the records go.

Many jobs may write one data set: part t of T takes the scenes whose number is t modulo T. They share nothing
but the folder, wait for nobody, and whichever finds all records there writes the files for the whole.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from deeprob.data.readers.files import RENDERED as _DONE
from deeprob.data.readers.props import CLASSES
from deeprob.errors import InputError
from deeprob.progress import steps
from deeprob.sim.export import bop, boxes, props
from deeprob.sim.export.files import View
from deeprob.sim.generator import Generator, fingerprint
from deeprob.sim.object_model import ObjectModel
from deeprob.sim.objects import load_objects
from deeprob.sim.settings import SimSettings, check_settings
from deeprob.sim.workers import run_jobs
from deeprob.writing import write_json

FORMATS = ("bop", "props_pose", "props_detection", "props_classification", "darknet", "coco")
PROPS_K = [902.19, 902.39, 342.35, 252.23]
_RECORDS = ".records"
MOST_TOLD = 3  # differences from what lies in a folder, in one line


@dataclass(frozen=True)
class Job:
    """Scene `index` of a split: `views` pictures, numbered from `first` on."""

    format: str
    out: Path
    split: str
    index: int
    first: int
    views: int

    @property
    def record(self) -> Path:
        return self.out / _RECORDS / self.split / f"{self.index:06d}.json"


def fit_settings(settings: SimSettings, format_name: str) -> SimSettings:
    """The settings with what a format prescribes: true sizes for poses, the camera of PROPS."""
    if format_name in ("bop", "props_pose"):
        settings = replace(settings, scene=replace(settings.scene, scale=[1.0, 1.0]))
    if format_name == "props_pose":
        camera = replace(settings.camera, width=640, height=480, K=PROPS_K)
        kinds = len(load_objects(settings.objects))
        count = [min(count, kinds) for count in settings.scene.objects]
        settings = replace(
            settings, camera=camera, scene=replace(settings.scene, repeats=False, objects=count)
        )
    return settings


def export(
    settings: SimSettings,
    format_name: str,
    out: Path,
    num: int,
    splits: tuple[str, ...],
    workers: int,
    progress: bool,
    part: int = 0,
    parts: int = 1,
) -> bool:
    """Write `num` pictures of each split to `out`; finished scenes of an earlier call are kept.

    part, parts: render only the scenes whose number is `part` modulo `parts`; other processes, on any machine
    that sees `out`, render the others, at the same time or later. Returns whether the data set is complete.
    Raises InputError for a format, a split or a folder that cannot be used, and where the disk is full.
    """
    _check(format_name, num, splits)
    if not 0 <= part < parts:
        raise InputError(f"part={part} of parts={parts}", where="part", expected=f"0 to {max(parts, 1) - 1}")
    settings = fit_settings(settings, format_name)
    check_settings(settings)
    objects = load_objects(settings.objects)
    if format_name.startswith("props") and len(objects) > len(CLASSES):
        raise InputError(
            f"{len(objects)} objects",
            where=f"format={format_name}",
            expected="at most 10",
            fix="set sim.objects.limit=10",
        )
    description = {
        "format": format_name,
        "num": num,
        "splits": list(splits),
        "fingerprint": fingerprint(settings, objects),
        "min_visible": settings.min_visible,
        "settings": asdict(settings),
    }
    try:
        if _finished(out, description):
            return True
        write_json(out / _RECORDS / _DONE, description)
        jobs = [job for split in splits for job in _jobs(settings, format_name, out, split, num)]
        missing = [job for job in jobs if job.index % parts == part and not job.record.is_file()]
        with steps("rendering scenes", len(missing), progress) as advance:
            for _ in run_jobs(settings, write_job, missing, workers):
                advance(1)
        return _complete(out, description, objects, settings, jobs)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "make room" if full else "see to it, or give another folder as out=...,"
        raise InputError(
            f"the data set cannot be written ({error.strerror or error})",
            where=out if full else error.filename or out,
            fix=f"{remedy} and give the same command again: finished scenes are kept",
        ) from error


def _check(format_name: str, num: int, splits: tuple[str, ...]) -> None:
    if format_name not in FORMATS:
        raise InputError(f"no format called {format_name!r}", where="format", expected=", ".join(FORMATS))
    if num < 1:
        raise InputError(f"{num} pictures", where="num", expected="at least 1")
    allowed: tuple[str, ...] = ("train", "val", "test")
    if format_name in ("props_pose", "props_detection"):
        allowed = ("train", "val")
    if format_name == "props_classification":
        allowed = ("train", "test")
    if not splits or len(set(splits)) < len(splits):
        named = ", ".join(splits) if splits else "no split to render"
        raise InputError(named, where="splits", expected=f"one or more of {', '.join(allowed)}, each once")
    bad = [split for split in splits if split not in allowed]
    if bad:
        raise InputError(
            f"{format_name} has no split {', '.join(map(repr, bad))}",
            where="splits",
            expected=", ".join(allowed),
        )


def _finished(out: Path, description: dict[str, Any]) -> bool:
    """Whether this very data set lies there. Raises InputError, saying what does, where another one does."""
    other = "give another folder as out=..., or delete this one first"
    for path, state in ((out / _DONE, "a finished"), (out / _RECORDS / _DONE, "an unfinished")):
        if path.is_file():
            try:
                found = json.loads(path.read_text(encoding="utf-8"))
            except json.JSONDecodeError:
                found = None
            if found != description:
                told = (
                    f"the folder holds {state} data set of other settings: {_difference(found, description)}"
                )
                raise InputError(told, where=out, fix=other)
            return path.parent == out
    if out.exists() and not out.is_dir():
        raise InputError("a file is there, no folder", where=out, fix="give another folder as out=...")
    files = sorted(path.name for path in out.iterdir() if path.name != _RECORDS) if out.is_dir() else []
    if files:
        shown = ", ".join(files[:3]) + (", ..." if len(files) > 3 else "")
        raise InputError(
            f"the folder holds what deeprob render did not write: {shown}",
            where=out,
            fix="give another folder as out=...",
        )
    return False


def _difference(found: Any, wanted: dict[str, Any]) -> str:
    """What the description of another data set says otherwise, as the command line names it."""
    if not isinstance(found, dict):
        return f"its {_DONE} cannot be read"
    theirs, ours = dict(_named("", found)), dict(_named("", wanted))
    differing = [key for key in {**ours, **theirs} if theirs.get(key) != ours.get(key)]
    told = [
        f"{key}={json.dumps(theirs.get(key))} there, {json.dumps(ours.get(key))} asked for"
        for key in differing
        if key not in ("fingerprint", "min_visible")  # these follow from others
    ]
    more = f" and {len(told) - MOST_TOLD} more" if len(told) > MOST_TOLD else ""
    return "; ".join(told[:MOST_TOLD]) + more or "other meshes, or another version of deeprob"


def _named(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The values of a description by their keys on the command line: `settings` are `sim`."""
    if isinstance(value, dict):
        for key, below in value.items():
            name = "sim" if not prefix and key == "settings" else key
            yield from _named(f"{prefix}.{name}" if prefix else name, below)
    else:
        yield prefix, value


def _jobs(settings: SimSettings, format_name: str, out: Path, split: str, num: int) -> Iterator[Job]:
    for index, first in enumerate(range(0, num, settings.views)):
        yield Job(format_name, out, split, index, first, min(settings.views, num - first))


def _begin(format_name: str, out: Path, objects: tuple[ObjectModel, ...], settings: SimSettings) -> None:
    if format_name == "bop":
        bop.begin(out, objects, settings)
    elif format_name == "props_pose":
        props.begin_pose(out, objects)
    elif format_name.startswith("props"):
        props.begin(out, objects)
    elif format_name == "darknet":
        boxes.begin_darknet(out, objects)


def write_job(generator: Generator, job: Job) -> None:
    """Render one scene and write its files, its record last."""
    scene = generator.scene(job.split, job.index)
    views: list[View] = [
        (scene, generator.view(scene, job.split, job.index, view)) for view in range(job.views)
    ]
    visible = generator.settings.min_visible
    write: dict[str, Callable[[], Any]] = {
        "bop": lambda: bop.write_scene(job.out, job.split, job.index, views, generator.objects),
        "props_pose": lambda: props.write_pose_scene(job.out, job.split, job.first, views),
        "props_detection": lambda: props.write_detection_scene(job.out, job.split, job.first, views, visible),
        "props_classification": lambda: props.write_classification_scene(
            job.out, job.split, job.index, views, visible
        ),
        "darknet": lambda: boxes.write_darknet_scene(job.out, job.split, job.index, views, visible),
        "coco": lambda: boxes.write_coco_scene(job.out, job.split, job.index, job.first, views, visible),
    }
    write_json(job.record, write[job.format]())


def _complete(
    out: Path,
    description: dict[str, Any],
    objects: tuple[ObjectModel, ...],
    settings: SimSettings,
    jobs: list[Job],
) -> bool:
    """Write the files for the whole data set where all scenes are there; returns whether it is complete.

    Several processes may come here at once: each writes its files apart and then moves them to their places,
    where they replace the same bytes.
    """
    if not all(job.record.is_file() for job in jobs):
        done = _is_done(out, description)  # another job may have finished, and taken the records away
        if done:
            shutil.rmtree(out / _RECORDS, ignore_errors=True)
        return done
    try:
        apart = Path(tempfile.mkdtemp(dir=out / _RECORDS))
        _begin(description["format"], apart, objects, settings)
        _finish(description["format"], apart, objects, jobs)
        for path in sorted(path for path in apart.rglob("*") if path.is_file()):
            place = out / path.relative_to(apart)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, place)
    except FileNotFoundError:
        if not _is_done(out, description):
            raise
        return True
    write_json(out / _DONE, description)
    shutil.rmtree(out / _RECORDS, ignore_errors=True)
    return True


def _is_done(out: Path, description: dict[str, Any]) -> bool:
    return (out / _DONE).is_file() and _finished(out, description)


def _finish(format_name: str, out: Path, objects: tuple[ObjectModel, ...], jobs: list[Job]) -> None:
    parts: dict[str, list[Any]] = {}
    for job in jobs:
        parts.setdefault(job.split, []).append(json.loads(job.record.read_text(encoding="utf-8")))
    if format_name == "props_classification":
        props.finish_classification(out, [part for split in parts.values() for part in split])
    for split, of_split in parts.items():
        if format_name == "bop":
            bop.finish(out, split, of_split)
        elif format_name == "props_pose":
            props.finish_pose(out, split, of_split)
        elif format_name == "props_detection":
            props.finish_detection(out, split, of_split)
        elif format_name == "coco":
            boxes.finish_coco(out, split, objects, of_split)
