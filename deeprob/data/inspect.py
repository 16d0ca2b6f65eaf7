"""What a source holds: counts, sizes and bad samples, and a contact sheet with the labels drawn."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from deeprob.data.batches.images import resize
from deeprob.data.frame import Frame
from deeprob.data.readers.files import FileSource
from deeprob.data.readers.image_headers import orientation
from deeprob.data.readers.reading import IMAGE_SUFFIXES, Frames, read_ahead
from deeprob.data.source import Source
from deeprob.errors import InputError
from deeprob.progress import tracked
from deeprob.writing import atomic_file

_COLORS = ((230, 80, 60), (60, 160, 230), (90, 190, 90), (240, 180, 40), (170, 110, 220), (80, 200, 200))


@dataclass
class SplitSummary:
    """What one split holds.

    frames, empty: how many, and how many of them without an object. groups: sessions or scenes. crowds:
    regions that are left out of training and judgement. classes: objects of each class. sizes: frames of each
    (width, height). boxes: the 5th, 50th and 95th percentile of the boxes' shorter side in pixels. labels:
    what is known of any object besides its box. bad: one line for each frame that cannot be read.
    pictures: a hash of each. seen_before: how many of them an earlier split, or this one, has too, pixel for
    pixel. doubled: objects that stand twice in a frame, with the same class and box. turned: pictures that
    EXIF turns or mirrors.
    """

    frames: int = 0
    empty: int = 0
    groups: int = 0
    crowds: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    boxes: tuple[float, float, float] | None = None
    labels: tuple[str, ...] = ()
    bad: list[str] = field(default_factory=list)
    pictures: set[bytes] = field(default_factory=set)
    seen_before: int = 0
    doubled: int = 0
    turned: int = 0


def describe(
    source: Source, sheet: Path | None = None, per_split: int = 12, progress: bool = True
) -> tuple[Table, dict[str, SplitSummary]]:
    """Read every frame of every split, and draw `per_split` of each into a contact sheet (PNG) at `sheet`.

    Returns a table to print, and the summaries by split. Bad samples are listed, whatever the source is told
    to do with them.
    """
    summaries: dict[str, SplitSummary] = {}
    drawn: list[tuple[str, Frame]] = []
    for split in source.splits:
        before = set[bytes]().union(*(summary.pictures for summary in summaries.values()))
        summaries[split], chosen = _summarise(source, split, per_split, progress, before)
        drawn += [(split, frame) for frame in chosen]
    if sheet is not None and drawn:
        titled = ((f"{split}: {frame.key}", frame) for split, frame in drawn)
        write_sheet(contact_sheet(titled, source.classes), sheet)
    return _table(source, summaries), summaries


def contact_sheet(
    frames: Iterable[tuple[str, Frame]], classes: tuple[str, ...], columns: int = 4, width: int = 320
) -> NDArray[np.uint8]:
    """Draw titled frames with boxes, masks and class names, in rows of `columns`: uint8 (H, W, 3)."""
    return tiled([_tile(title, frame, classes, width) for title, frame in frames], columns)


def tiled(tiles: Sequence[NDArray[np.uint8]], columns: int = 4) -> NDArray[np.uint8]:
    """Lay pictures of one width out in rows of `columns`; black fills what is left."""
    height = max(len(tile) for tile in tiles)
    tiles = [np.pad(tile, ((0, height - len(tile)), (0, 0), (0, 0))) for tile in tiles]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    return np.concatenate([np.concatenate(tiles[i : i + columns], 1) for i in range(0, len(tiles), columns)])


def write_sheet(image: NDArray[np.uint8], path: Path) -> None:
    """Write an RGB picture as PNG, whole or not at all. Raises InputError where it cannot."""
    encoded, buffer = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not encoded:
        raise InputError("the contact sheet cannot be written", where=path)
    with atomic_file(path, "wb") as file:
        file.write(buffer.tobytes())


def _summarise(
    source: Source, split: str, per_split: int, progress: bool, before: Collection[bytes] = ()
) -> tuple[SplitSummary, list[Frame]]:
    told = len(source.skipped)  # what a source that skips has left out before
    frames = source.frames(split)
    left_out = source.skipped[told:]
    if isinstance(frames, Frames):
        frames = frames.skipping()
    summary, sides, groups, labels = SplitSummary(), [], set(), set()
    chosen: list[Frame] = []
    every = max(1, len(frames) // per_split)
    heading = f"reading {source.name} {split}"
    for index, frame in enumerate(tracked(read_ahead(frames), heading, len(frames), progress)):
        if frame is None:
            continue
        summary.frames += 1
        summary.empty += not frame.instances
        groups.add(frame.group)
        summary.crowds += len({crowd.box_xyxy.tobytes() for crowd in frame.crowds})
        summary.sizes[frame.image.shape[1], frame.image.shape[0]] += 1
        picture = hashlib.blake2b(np.ascontiguousarray(frame.image).data, digest_size=16).digest()
        summary.seen_before += picture in before or picture in summary.pictures
        summary.pictures.add(picture)
        objects = {(o.class_id, o.box_xyxy.tobytes()) for o in frame.instances}
        summary.doubled += len(frame.instances) - len(objects)
        labels |= {"depth"} if frame.depth_m is not None else set()
        for instance in frame.instances:
            summary.classes[source.classes[instance.class_id]] += 1
            sides.append(float(np.min(instance.box_xyxy[2:] - instance.box_xyxy[:2])))
            labels |= {"masks"} if instance.mask is not None else set()
            labels |= {"poses"} if instance.T_cam_obj is not None else set()
        if index % every == 0 and len(chosen) < per_split:
            chosen.append(frame)
    if isinstance(source, FileSource):
        files = {file for item in source.items(split) for file in source.files(item)}
        pictures = (file for file in files if file.suffix.lower() in IMAGE_SUFFIXES)
        summary.turned = sum(orientation(picture) != 1 for picture in pictures)
    summary.groups, summary.labels = len(groups), tuple(sorted(labels))
    if sides:
        low, middle, high = np.percentile(sides, (5, 50, 95))
        summary.boxes = float(low), float(middle), float(high)
    if isinstance(frames, Frames):
        summary.bad = [*left_out, *frames.skipped]
    return summary, chosen


def _table(source: Source, summaries: dict[str, SplitSummary]) -> Table:
    table = Table("", *summaries, title=f"{source.name}: {'real' if source.real else 'simulated'}")
    rows: list[tuple[str, list[str]]] = [
        ("frames", [str(s.frames) for s in summaries.values()]),
        ("frames without objects", [str(s.empty) for s in summaries.values()]),
        ("sessions or scenes", [str(s.groups) for s in summaries.values()]),
        ("image sizes", [_sizes(s.sizes) for s in summaries.values()]),
        ("labels", [", ".join(("boxes", *s.labels)) for s in summaries.values()]),
        ("shorter side of boxes, px", [_percentiles(s.boxes) for s in summaries.values()]),
    ]
    rows += [(name, [str(s.classes[name]) for s in summaries.values()]) for name in source.classes]
    if any(s.crowds for s in summaries.values()):
        rows.append(("regions left out", [str(s.crowds) for s in summaries.values()]))
    for name, counts in (
        ("pictures seen already", [s.seen_before for s in summaries.values()]),
        ("objects given twice", [s.doubled for s in summaries.values()]),
        ("pictures turned by EXIF", [s.turned for s in summaries.values()]),
    ):
        if any(counts):
            rows.append((name, [str(count) for count in counts]))
    rows.append(("bad frames", [str(len(s.bad)) for s in summaries.values()]))
    for name, cells in rows:
        table.add_row(name, *cells)
    return table


def _sizes(sizes: Counter[tuple[int, int]]) -> str:
    shown = [
        f"{width} x {height}" + (f" ({count})" if len(sizes) > 1 else "")
        for (width, height), count in sizes.most_common(3)
    ]
    return ", ".join(shown) + (f" and {len(sizes) - 3} more" if len(sizes) > 3 else "")


def _percentiles(boxes: tuple[float, float, float] | None) -> str:
    return "-" if boxes is None else "{:.0f} / {:.0f} / {:.0f}".format(*boxes)


def _tile(title: str, frame: Frame, classes: tuple[str, ...], width: int) -> NDArray[np.uint8]:
    scale = width / frame.image.shape[1]
    image = resize(frame.image, width, max(1, round(frame.image.shape[0] * scale)))
    for instance in frame.instances:
        color = _COLORS[instance.class_id % len(_COLORS)]
        if instance.mask is not None:
            mask = resize(instance.mask.astype(np.uint8) * 255, width, len(image)) > 127
            image[mask] = (0.6 * image[mask] + 0.4 * np.array(color)).astype(np.uint8)
        left, top, right, bottom = np.rint((instance.box_xyxy + 0.5) * scale - 0.5).astype(int).tolist()
        cv2.rectangle(image, (left, top), (right, bottom), color)
        _write(image, classes[instance.class_id], (left + 1, max(top - 2, 8)), color)
    return titled_tile(title, image)


def titled_tile(title: str, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture with a bar on top that holds (the end of) a title."""
    width = image.shape[1]
    bar = np.full((14, width, 3), 30, np.uint8)
    _write(bar, title[-width // 6 :], (3, 10), (220, 220, 220))
    return np.concatenate([bar, image])


def _write(image: NDArray[np.uint8], text: str, at: tuple[int, int], color: tuple[int, int, int]) -> None:
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.33, color, 1, cv2.LINE_AA)
