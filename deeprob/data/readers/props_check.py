"""Whether the poses, models, masks and depth of PROPS agree; where not, which reading of the files would.

The data set's pages name neither the direction of the stored transforms nor the units. They are found by
geometry: a model under its pose is drawn over its mask, and what the sensor measured inside the mask lies at
the pose's distance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deeprob.errors import InputError
from deeprob.geometry.camera import project_points
from deeprob.geometry.transform import invert_transform, transform_points

STORED = ("T_obj_cam", "T_cam_obj")
_FITS = 0.4  # median overlap; of the right reading some 0.8, for hulls cover a mug's handle and what hides it
_LARGEST = 2.0  # metres across: no object on a table; its model is in millimetres
_DEPTH_AGREEMENT = (
    2.0  # a mistaken unit is a factor of 2.5 or more; a surface is not half as far as its centre
)
_DEPTH_UNITS = (1e-4, 1.25e-4, 2.5e-4, 1e-3, 1e-2, 1e-1, 1.0)  # metres a step, of the sensors there are


@dataclass(frozen=True)
class Reading:
    """How a stored pose is read.

    stored: "T_obj_cam", the camera in the object's frame, or "T_cam_obj", as BOP stores it.
    translation_scale: metres of a stored translation of 1. model_scale: metres of a model's unit.
    """

    stored: str = "T_obj_cam"
    translation_scale: float = 1.0
    model_scale: float = 1.0

    def pose(self, T: NDArray[np.float64]) -> NDArray[np.float64]:
        """T_cam_obj (4, 4), in metres, of a stored transform."""
        T = T.copy()
        T[:3, 3] *= self.translation_scale
        return invert_transform(T) if self.stored == "T_obj_cam" else T

    def options(self, other: Reading) -> str:
        """The overrides that lead from this reading to another."""
        names = ("stored", "translation_scale", "model_scale")
        changed = [
            (name, getattr(other, name)) for name in names if getattr(other, name) != getattr(self, name)
        ]
        return " ".join(
            f"data.source.{name}={value if isinstance(value, str) else format(value, 'g')}"
            for name, value in changed
        )


@dataclass(frozen=True)
class Seen:
    """An object in a frame as the files store it.

    T: (4, 4), as stored, in the files' unit. mask: bool (H, W). depth: the sensor's readings inside the mask,
    metres. K: (3, 3). vertices: (V, 3) of its model, in the model's unit, or None where there is no model.
    """

    T: NDArray[np.float64]
    mask: NDArray[np.bool_]
    depth: NDArray[np.float32]
    K: NDArray[np.float64]
    vertices: NDArray[np.float64] | None


def check_agreement(objects: Sequence[Seen], reading: Reading, depth_scale: float, where: object) -> None:
    """Raise InputError, naming the options that fit, where the files contradict how they are read.

    objects: some of each of a few frames; the medians over them count, so that a bad label is no matter.
    depth_scale: what `Seen.depth` was read with.
    """
    modelled = [seen for seen in objects if seen.vertices is not None]
    if modelled:
        _check_models(modelled, reading, where)
        found = overlap(modelled, reading)
        if found < _FITS:
            raise InputError(
                f"the models, projected by their poses, overlap the masks by {found:.0%}",
                where=where,
                expected=f"over {_FITS:.0%}",
                fix=_what_fits(modelled, reading),
            )
    _check_depth(objects, reading, depth_scale, where)


def overlap(objects: Iterable[Seen], reading: Reading) -> float:
    """The median over objects of: common area of projected model and mask, over the area of both together."""
    return float(np.median([_overlap(seen, reading) for seen in objects]))


def _overlap(seen: Seen, reading: Reading) -> float:
    """Of one object; the model's projection is the convex hull of its projected vertices."""
    assert seen.vertices is not None
    points = transform_points(reading.pose(seen.T), seen.vertices * reading.model_scale)
    if points[:, 2].min() <= 0:
        return 0.0
    pixels = project_points(seen.K, points).clip(-1e4, 1e4)
    drawn = np.zeros(seen.mask.shape, np.uint8)
    cv2.fillConvexPoly(drawn, cv2.convexHull(np.rint(pixels).astype(np.int32)), 1)
    covered = drawn.astype(bool)
    return float((covered & seen.mask).sum() / max((covered | seen.mask).sum(), 1))


def _check_models(objects: Sequence[Seen], reading: Reading, where: object) -> None:
    """A projection shows nothing of a unit that poses and models share; the size of the objects does."""
    sizes = [float(np.ptp(seen.vertices, axis=0).max()) for seen in objects if seen.vertices is not None]
    size = float(np.median(sizes)) * reading.model_scale
    if size > _LARGEST:
        other = replace(reading, model_scale=reading.model_scale / 1000)
        raise InputError(
            f"the models are {size:.3g} m large", where=where, fix=f"try {reading.options(other)}"
        )


def _what_fits(objects: Sequence[Seen], reading: Reading) -> str:
    readings = [
        Reading(stored, translation, reading.model_scale)
        for stored, translation in product(STORED, (1.0, 0.1, 0.01, 0.001))
    ]
    best = max(readings, key=lambda other: overlap(objects, other))
    found = overlap(objects, best)
    if found < _FITS:
        return "no direction or unit of the transforms fits; data.source.check=false reads them all the same"
    return f"{found:.0%} with {reading.options(best)}"


def _check_depth(objects: Sequence[Seen], reading: Reading, depth_scale: float, where: object) -> None:
    """Compare the depth inside the masks with the distance of the poses."""
    ratios = []
    for seen in objects:
        readings, distance = seen.depth[seen.depth > 0], float(reading.pose(seen.T)[2, 3])
        if distance > 0 and len(readings) >= 50:
            ratios.append((distance / float(np.median(readings)), distance))
    if not ratios:
        return
    ratio, distance = np.median(np.array(ratios), axis=0)
    if not 1 / _DEPTH_AGREEMENT < ratio < _DEPTH_AGREEMENT:
        asked = depth_scale * float(ratio)
        nearest = min(_DEPTH_UNITS, key=lambda unit: abs(np.log(unit / asked)))
        raise InputError(
            f"depth {distance / ratio:.3g} m but pose at {distance:.3g} m",
            where=where,
            fix=f"try data.source.depth_scale={nearest:g}, nearest to the {asked:.2g} m that would fit",
        )


def some(items: Sequence[Any], read: Callable[[Any], Iterable[Seen]], count: int = 5) -> list[Seen]:
    """Read the objects of `count` items from first to last; those that cannot be read are passed over."""
    objects: list[Seen] = []
    for index in sorted({round(i) for i in np.linspace(0, len(items) - 1, count)}):
        try:
            objects += read(items[index])
        except InputError:
            continue  # told, or skipped and counted, when the frame itself is read
    return objects
