"""Point clouds: read from files, or cut from a frame with depth."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deeprob.data.frame import Frame, Instance
from deeprob.data.readers.files import expect_root
from deeprob.data.readers.reading import OnBadSample, find_files, fingerprint, read_bytes, read_text
from deeprob.data.source import Source
from deeprob.errors import InputError

Points = NDArray[np.float64]
SUFFIXES = (".xyz", ".ply", ".npy")
MAX_POINTS = 2**26


@dataclass(frozen=True, eq=False)
class Cloud:
    """Points of one object.

    points: float64 (N, 3), metres. normals: float64 (N, 3), unit, or None. class_id: index into the classes.
    source, key, group: as a Frame's. parts: int64 (N,), index into the source's part_names, or None.
    """

    points: Points
    class_id: int
    source: str
    key: str
    group: str
    normals: Points | None = None
    parts: NDArray[np.int64] | None = None


class PointsSource(Source):
    """One cloud in a file for each object; its class is the file's name without suffix.

    splits: for each split, patterns over file names relative to root. Each split may name the same objects.
    class_from: `name`, or `folder`: the class is the folder that the file lies in.
    part_names: where the last column of every file is the number of a part.
    """

    real = True
    has_clouds = True
    root: Path

    def __init__(
        self,
        root: Path,
        splits: Mapping[str, Sequence[str]],
        on_bad_sample: OnBadSample = "error",
        name: str | None = None,
        class_from: str = "name",
        part_names: Sequence[str] = (),
    ) -> None:
        if class_from not in ("name", "folder"):
            raise InputError(f"data.source.class_from is {class_from!r}", expected="name or folder")
        self.class_from, self.part_names = class_from, tuple(part_names)
        self.root = Path(root).expanduser()
        expect_root(self.root, name)
        self.name = name or self.root.name
        self.on_bad_sample = on_bad_sample
        self.skipped: list[str] = []
        self.splits = tuple(splits)
        files = sorted(find_files(self.root, SUFFIXES))
        self.classes = tuple(sorted({self._class(path) for path in files}))
        self._files = {
            split: [
                path
                for path in files
                if any(fnmatchcase(path.relative_to(self.root).as_posix(), p) for p in patterns)
            ]
            for split, patterns in splits.items()
        }
        for split, found in self._files.items():
            if not found:
                raise InputError(
                    f"split {split!r} has no point clouds",
                    where=self.root,
                    expected=f"files {', '.join(SUFFIXES)}",
                )

    def frames(self, split: str) -> Sequence[Frame]:
        """Raise InputError: there are no images."""
        raise InputError("point clouds have no images", where=self.name, fix="choose data/view=points")

    def clouds(self, split: str) -> list[Cloud]:
        """Read the clouds of a split. Raises InputError for an unknown split, or a bad file not skipped."""
        clouds = []
        for path in self._of(split):
            try:
                clouds.append(self._read(path))
            except InputError as error:
                if self.on_bad_sample == "error":
                    raise
                if str(error) not in self.skipped:
                    self.skipped.append(str(error))
        return clouds

    def fingerprint(self, split: str) -> str:
        """Name the split's content: another name when any of its files changes."""
        return fingerprint(
            type(self).__name__, self.classes, self.class_from, self.part_names, *self._of(split)
        )

    def _of(self, split: str) -> list[Path]:
        if split not in self._files:
            raise InputError(f"no split {split!r}", where=self.root, expected=" or ".join(self._files))
        return self._files[split]

    def _class(self, path: Path) -> str:
        return path.stem if self.class_from == "name" else path.parent.name

    def _read(self, path: Path) -> Cloud:
        rows = read_rows(path, (4, 7) if self.part_names else (3, 6))
        parts = None
        if self.part_names:
            parts = rows[:, -1].astype(np.int64)
            wrong = np.flatnonzero((parts != rows[:, -1]) | (parts < 0) | (parts >= len(self.part_names)))
            if len(wrong):
                raise InputError(
                    f"point {wrong[0]} has part {rows[wrong[0], -1]:g}",
                    where=path,
                    expected=f"0 to {len(self.part_names) - 1}",
                )
            rows = rows[:, :-1]
        points, normals = split_normals(rows, path)
        key, label = path.relative_to(self.root).as_posix(), self.classes.index(self._class(path))
        return Cloud(points, label, self.name, key, key.rpartition(".")[0], normals, parts)


def read_points(path: Path) -> tuple[Points, Points | None]:
    """Read points (N, 3), and normals (N, 3) where the file has them, from .xyz text, .ply or .npy.

    A row is x y z in metres, x y z nx ny nz, or x y z and a colour, which is left out. Raises InputError for
    a missing, broken or empty file, for a row of another length, and for a value that is not finite.
    """
    return split_normals(read_rows(path, (3, 6)), path)


def read_rows(path: Path, lengths: tuple[int, ...]) -> Points:
    """Read a table (N, L) with L one of `lengths`, as read_points."""
    suffix = path.suffix.lower()
    if suffix == ".xyz":
        rows = _read_xyz(path)
    elif suffix == ".npy":
        rows = _read_npy(path)
    elif suffix == ".ply":
        rows = _read_ply(path)
    else:
        raise InputError(f"no point cloud format {suffix!r}", where=path, expected=" or ".join(SUFFIXES))
    if rows.ndim != 2 or rows.shape[1] not in lengths or not len(rows):
        expected = " or ".join(f"(N, {length})" for length in lengths)
        raise InputError(f"an array of shape {rows.shape}", where=path, expected=f"{expected}, N > 0")
    bad = np.flatnonzero(~np.isfinite(rows).all(1))
    if len(bad):
        raise InputError(f"point {bad[0]} is not finite", where=path)
    return rows


def split_normals(rows: Points, path: Path) -> tuple[Points, Points | None]:
    """Split rows (N, 3) or (N, 6) into points and unit normals; None where there are none, or colours."""
    normals = None
    named = path.suffix.lower() == ".ply"  # whose header says that these are normals
    if rows.shape[1] == 6 and (named or not _are_colours(rows[:, 3:])):
        lengths = np.linalg.norm(rows[:, 3:], axis=1, keepdims=True)
        if (lengths < 1e-9).any():
            raise InputError(f"the normal of point {int(lengths.argmin())} has no length", where=path)
        normals = rows[:, 3:] / lengths
    return rows[:, :3].copy(), normals


def _are_colours(values: Points) -> bool:
    """Whether values (N, 3) are red, green, blue: none below 0, and not all as long as a normal, 1."""
    lengths = np.linalg.norm(values, axis=1)
    return bool((values >= 0).all() and (np.abs(lengths - 1) > 0.02).any())


def cloud_from_depth(frame: Frame, instance: Instance | None = None) -> Points:
    """Turn depth readings into points in camera axes, float64 (N, 3), metres; or those of an instance alone.

    X = z K^-1 (u, v, 1) for each pixel u, v with a reading z. Raises InputError without depth, K or mask.
    """
    if frame.depth_m is None or frame.K is None:
        raise InputError("the frame has no depth or no camera matrix", where=frame.key)
    seen = frame.depth_m > 0
    if instance is not None:
        if instance.mask is None:
            raise InputError("the instance has no mask", where=frame.key)
        seen &= instance.mask
    v, u = np.nonzero(seen)
    z = frame.depth_m[v, u].astype(np.float64)
    return np.asarray(z[:, None] * (np.stack([u, v, np.ones_like(u)], axis=1) @ np.linalg.inv(frame.K).T))


def sample_points(count: int, num_points: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Choose `num_points` of `count` points: no repeats where there are enough, else all at least once."""
    if count < 1:
        raise InputError("a cloud without points cannot be sampled")
    repeats = [rng.permutation(count) for _ in range(-(-num_points // count))]
    return np.concatenate(repeats)[:num_points] if repeats else np.empty(0, np.int64)


def visible_points(points: Points, exponent: float = 2.0) -> NDArray[np.int64]:
    """Find the points (N, 3) that a camera at the origin sees: sorted indices.

    Each point is flipped to the other side of a sphere of radius R about the camera,
        p + 2 (R - |p|) p / |p|
    and those on the convex hull of the result and the camera are seen. R = 10^exponent times the farthest
    distance: the larger, the more of a concave surface is seen, and the more of the hidden shines through (of
    a box of 2,600 points 4 % at 2, 15 % at 3).
    Cost: N log N. Source: Katz, Tal, Basri, Direct visibility of point sets, SIGGRAPH 2007.
    """
    from scipy.spatial import ConvexHull, QhullError

    distance = np.linalg.norm(points, axis=1, keepdims=True)
    if len(points) < 4 or not distance.all():
        raise InputError(f"visibility of {len(points)} points", expected="4 or more, none at the camera")
    radius = distance.max() * 10.0**exponent
    flipped = points + 2 * (radius - distance) * points / distance
    try:
        hull = ConvexHull(np.concatenate([flipped, np.zeros((1, 3))]))
    except QhullError:  # all in one plane with the camera: a line of sight shows no surface
        return np.arange(len(points))
    seen: NDArray[np.int64] = np.sort(hull.vertices[hull.vertices < len(points)]).astype(np.int64)
    return seen


def estimate_normals(points: Points, neighbours: int = 16) -> Points:
    """Fit a plane to each point's neighbours: unit normals (N, 3), away from the cloud's centre.

    The normal is the direction of least variance: the covariance's eigenvector of the smallest eigenvalue.
    """
    from scipy.spatial import cKDTree

    _, index = cKDTree(points).query(points, k=min(neighbours, len(points)))
    near = points[index.reshape(len(points), -1)]
    centred = near - near.mean(1, keepdims=True)
    normals = np.linalg.eigh(np.einsum("nki,nkj->nij", centred, centred))[1][:, :, 0]
    outwards = ((points - points.mean(0)) * normals).sum(1, keepdims=True)
    return np.asarray(np.where(outwards < 0, -normals, normals))


def _read_xyz(path: Path) -> Points:
    lines = [line for line in read_text(path).splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise InputError("no points", where=path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return np.loadtxt(io.StringIO("\n".join(lines)), dtype=np.float64, ndmin=2)
    except (ValueError, Warning) as error:
        raise InputError(f"no table of numbers ({error})", where=path, expected="x y z a line") from None


def _read_npy(path: Path) -> Points:
    content = io.BytesIO(read_bytes(path))
    try:
        # The header is looked at first: it may claim an array of objects, or one that fills the memory.
        version = np.lib.format.read_magic(content)  # type: ignore[no-untyped-call]
        reader = "read_array_header_1_0" if version == (1, 0) else "read_array_header_2_0"
        shape, _, dtype = getattr(np.lib.format, reader)(content)
        if dtype.kind not in "fiu" or math.prod(shape) > 6 * MAX_POINTS:
            raise InputError(f"an array {shape} of {dtype}", where=path, expected="(N, 3) of numbers")
        content.seek(0)
        return np.asarray(np.load(content, allow_pickle=False), np.float64)
    except InputError:
        raise
    except Exception as error:  # a broken header raises errors of many kinds
        raise InputError(f"broken array file ({error})", where=path) from None


def _read_ply(path: Path) -> Points:
    from trimesh.exchange.ply import load_ply

    content = read_bytes(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded = load_ply(io.BytesIO(content))
        points = np.asarray(loaded["vertices"], np.float64)
        declared = loaded["metadata"]["_ply_raw"]["vertex"]["length"]
        if len(points) != declared:
            raise InputError(
                f"{len(points)} vertices", where=path, expected=f"{declared}, as the header says"
            )
        normals = loaded.get("vertex_normals")
        return (
            points if normals is None else np.concatenate([points, np.asarray(normals, np.float64)], axis=1)
        )
    except InputError:
        raise
    except Exception as error:  # trimesh raises whatever its parser stumbles over
        raise InputError(f"broken PLY file ({error})", where=path) from None
