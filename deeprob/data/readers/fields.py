"""Checked reading of JSON labels: each wrong value is one line that names the file and the field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprob.data.readers.reading import read_text
from deeprob.errors import InputError
from deeprob.geometry.boxes import from_edges
from deeprob.geometry.transform import make_transform

_ROTATION_TOLERANCE = 1e-2  # files keep as few as four digits
_FARTHEST = 1000.0  # metres


def read_json(path: Path) -> Any:
    """Parse a JSON file. Raises InputError where it is missing, broken, or an object names a key twice."""
    try:
        return json.loads(read_text(path), object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise InputError(f"broken JSON, {error.msg}", where=f"{path} line {error.lineno}") from None
    except RecursionError:
        raise InputError("JSON nested too deeply", where=path) from None
    except _DuplicateKeyError as error:
        raise InputError(f"the key {error} appears twice in one object", where=path) from None
    except ValueError as error:  # such as an integer of more digits than Python converts
        raise (
            error if isinstance(error, InputError) else InputError(f"broken JSON, {error}", where=path)
        ) from None


def as_object(value: Any, where: object, name: str) -> dict[str, Any]:
    """Check that a value is a JSON object."""
    if not isinstance(value, dict):
        raise InputError(f"{name} is {_show(value)}", where=where, expected="a JSON object")
    return value


def as_list(value: Any, where: object, name: str) -> list[Any]:
    """Check that a value is a JSON list."""
    if not isinstance(value, list):
        raise InputError(f"{name} is {_show(value)}", where=where, expected="a JSON list")
    return value


def as_text(value: Any, where: object, name: str) -> str:
    """Check that a value is a string that is not empty."""
    if not isinstance(value, str) or not value:
        raise InputError(f"{name} is {_show(value)}", where=where, expected="text")
    return value


def as_int(value: Any, where: object, name: str) -> int:
    """Check that a value is a whole number, 0 or more."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**62:
        raise InputError(f"{name} is {_show(value)}", where=where, expected="a whole number, 0 or more")
    return value


def as_flag(value: Any, where: object, name: str) -> bool:
    """Check that a value says yes or no: true, 1, "1" or false, 0, "0"; None, as a field left out, is no."""
    choices = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False, "none": False}
    if str(value).lower() not in choices:
        raise InputError(f"{name} is {_show(value)}", where=where, expected="0 or 1")
    return choices[str(value).lower()]


def field(value: dict[str, Any], where: object, name: str) -> Any:
    """Take a field of a JSON object that must be there."""
    if name not in value:
        raise InputError(
            f"field {name} is missing", where=where, expected=f"{name} beside {_show(list(value)[:6])}"
        )
    return value[name]


def as_numbers(value: Any, count: int, where: object, name: str) -> NDArray[np.float64]:
    """Check that a value is a list of `count` finite numbers: float64 (count,)."""
    numbers = as_list(value, where, name)
    if len(numbers) != count:
        raise InputError(f"{name} has {len(numbers)} values", where=where, expected=str(count))
    if not all(isinstance(n, (int, float)) and not isinstance(n, bool) and abs(n) < 1e300 for n in numbers):
        raise InputError(f"{name} is {_show(value)}", where=where, expected=f"{count} finite numbers")
    return np.array(numbers, np.float64)


def as_box(
    value: Any, size: tuple[int, ...], where: object, name: str, clip: bool | None = None
) -> NDArray[np.float64]:
    """Check edges left, top, right, bottom counted from the image's corner; return them from pixel centres.

    size: (H, W, ...). An edge may lie one pixel outside, for tools round, and is clipped; clip=True clips
    what lies farther outside too. None is False of a reader without that option. The result is float64 (4,),
    where pixel i covers [i - 0.5, i + 0.5].
    """
    edges = as_numbers(value, 4, where, name)
    limits = np.array([size[1], size[0], size[1], size[0]], np.float64)
    if not clip and ((edges < -1).any() or (edges > limits + 1).any()):
        raise InputError(
            f"{name} [{_join(edges)}] lies outside the image",
            where=where,
            expected=f"0 to {size[1]} x {size[0]}",
            fix=None if clip is None else "data.source.clip_boxes=true cuts at the border",
        )
    edges = edges.clip(0, limits)
    if edges[2] <= edges[0] or edges[3] <= edges[1]:
        raise InputError(
            f"{name} [{_join(edges)}] has no area", where=where, expected="left < right, top < bottom"
        )
    return from_edges(edges)


def as_transform(
    entry: dict[str, Any], metres: float, where: object, farthest: float = _FARTHEST
) -> NDArray[np.float64]:
    """Check cam_R_m2c, nine row-wise values, and cam_t_m2c, three in units of `metres`: T (4, 4).

    farthest: metres that the translation must stay below along each axis.
    """
    R, t = "cam_R_m2c", "cam_t_m2c"
    rotation = as_numbers(field(entry, where, R), 9, where, R).reshape(3, 3)
    with np.errstate(over="ignore", invalid="ignore"):
        error = np.abs(rotation @ rotation.T - np.eye(3)).max()
    if not (error < _ROTATION_TOLERANCE and np.linalg.det(rotation) > 0):
        raise InputError(f"{R} is no rotation", where=where, expected="an orthonormal, right-handed matrix")
    translation = as_numbers(field(entry, where, t), 3, where, t) * metres
    if np.abs(translation).max() > farthest:
        raise InputError(
            f"{t} is {np.abs(translation).max():g} m away", where=where, expected=f"under {farthest:g} m"
        )
    return make_transform(rotation, translation)


def as_intrinsics(value: Any, where: object, name: str) -> NDArray[np.float64]:
    """Check nine row-wise values of a camera matrix: K (3, 3)."""
    K = as_numbers(value, 9, where, name).reshape(3, 3)
    if not (K[0, 0] > 0 and K[1, 1] > 0 and (K[2] == (0, 0, 1)).all() and K[1, 0] == 0):
        raise InputError(
            f"{name} is {_show(value)}", where=where, expected="fx s cx, 0 fy cy, 0 0 1 with fx, fy > 0"
        )
    return K


def inside(root: Path, relative: str, where: object, name: str) -> Path:
    """Join a path from a label file to `root`. Raises InputError where it is absolute or leads out.

    Backslashes separate folders, as on the machine that wrote them, unless a file is called so.
    """
    path = Path(relative)
    if "\\" in relative and "\0" not in relative and not (root / relative).is_file():
        path = Path(relative.replace("\\", "/"))
    drive = bool(path.parts) and len(path.parts[0]) == 2 and path.parts[0].endswith(":")
    if path.is_absolute() or drive or ".." in path.parts or "\0" in relative:
        raise InputError(
            f"{name} {relative[:80]!r} leads outside the data set", where=where, expected="a path inside"
        )
    return root / path


class _DuplicateKeyError(Exception):
    """A JSON object that names one key twice, of which a parser would silently drop one."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _DuplicateKeyError(repr(next(key for key in keys if keys.count(key) > 1))[:80])
    return result


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _join(values: NDArray[np.float64]) -> str:
    return ", ".join(f"{value:g}" for value in values)
