"""Pose estimates as the BOP challenge takes them: one CSV line each, millimetres.

Format: https://bop.felk.cvut.cz/challenges, `scene_id,im_id,obj_id,score,R,t,time`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deeprob.data.readers.fields import as_transform
from deeprob.data.readers.reading import read_text
from deeprob.errors import InputError
from deeprob.writing import write_text

COLUMNS = ("scene_id", "im_id", "obj_id", "score", "R", "t", "time")


@dataclass(frozen=True, eq=False)
class PoseEstimate:
    """One object found in one image.

    score: higher is surer. T_cam_obj: float64 (4, 4), metres. seconds: for the whole image, -1 if unknown.
    """

    scene_id: int
    im_id: int
    obj_id: int
    score: float
    T_cam_obj: NDArray[np.float64]
    seconds: float = -1.0


def write_results(path: Path, estimates: Iterable[PoseEstimate]) -> None:
    """Write estimates to a CSV file, whole or not at all. Raises InputError for one that is not finite."""
    lines = [",".join(COLUMNS)]
    for index, e in enumerate(estimates):
        if not (np.isfinite(e.T_cam_obj).all() and np.isfinite((e.score, e.seconds)).all()):
            raise InputError(f"estimate {index} is not finite", where=path)
        R = " ".join(repr(float(v)) for v in e.T_cam_obj[:3, :3].ravel())
        t = " ".join(repr(1000 * float(v)) for v in e.T_cam_obj[:3, 3])
        lines.append(f"{e.scene_id},{e.im_id},{e.obj_id},{float(e.score)!r},{R},{t},{float(e.seconds)!r}")
    write_text(path, "\n".join(lines) + "\n")


def read_results(path: Path) -> list[PoseEstimate]:
    """Read a CSV file of estimates. Raises InputError that names the line and the field."""
    rows = csv.reader(io.StringIO(read_text(path)))
    header = next(rows, [])
    if tuple(header) != COLUMNS:
        raise InputError(
            f"the columns are {','.join(header)[:80]}",
            where=path,
            expected=f"{','.join(COLUMNS)}: poses",
            fix="classes of crops are judged by: deeprob evaluate run=<run folder>",
        )
    estimates = []
    for number, row in enumerate(rows, start=2):
        where = f"{path} line {number}"
        if len(row) != len(COLUMNS):
            raise InputError(f"{len(row)} fields", where=where, expected=str(len(COLUMNS)))
        try:
            scene_id, im_id, obj_id = (int(value) for value in row[:3])
            score, seconds = float(row[3]), float(row[6])
            R, t = ([float(value) for value in row[i].split()] for i in (4, 5))
        except ValueError as error:
            raise InputError(f"{error}", where=where, expected="numbers") from None
        if not np.isfinite((score, seconds)).all():
            raise InputError(f"score {score} or time {seconds} is not finite", where=where)
        T = as_transform({"cam_R_m2c": R, "cam_t_m2c": t}, 1e-3, where)
        estimates.append(PoseEstimate(scene_id, im_id, obj_id, score, T, seconds))
    return estimates
