"""Reading what a run folder records: JSON whose structure is checked before anything is made of it.

A record may be of another version, edited by hand, or somebody else's. Each wrong value is one line that
names the file, the field and what was expected there. Fields that no shape names are taken as they are.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from deeprob.errors import InputError

Shape = Callable[[Any, str], None]
"""Raises _WrongError where a value is not of the shape; the text is the value's name."""


class _WrongError(Exception):
    """A value of another shape: what it is, and what was expected."""


def read_record(path: Path, shape: Shape, fix: str | None = None) -> dict[str, Any]:
    """A JSON object of a shape. Raises InputError where it is broken, and FileNotFoundError.

    fix: what makes the file anew.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8-sig"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, a number of too many digits
        raise InputError(f"broken JSON ({error})", where=path, fix=fix) from None
    check_record(record, shape, path, fix)
    assert isinstance(record, dict)
    return record


def check_record(record: Any, shape: Shape, path: Path, fix: str | None = None) -> None:
    """Raise InputError where what a file held is not of a shape. fix: what can be done."""
    try:
        shape(record, "")
    except _WrongError as error:
        what, expected = error.args
        raise InputError(what, where=path, expected=expected, fix=fix) from None


def read_rows(path: Path, shape: Shape) -> Iterator[dict[str, Any]]:
    """The rows of a JSON Lines file in order; one cut off by a kill, or of another shape, is left out."""
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError, RecursionError, _WrongError):
            row = json.loads(line, parse_constant=_refuse)
            shape(row, "")
            yield row


def mapping(
    fields: Mapping[str, Shape] | None = None, of: Shape | None = None, needed: tuple[str, ...] = ()
) -> Shape:
    """An object. fields: shapes of those that are there; of: of all others; needed: what must be there."""

    def check(value: Any, name: str) -> None:
        if not isinstance(value, dict):
            raise _WrongError(f"{name or 'the whole'} is {_show(value)}", "names with values")
        missing = [key for key in needed if key not in value]
        if missing:
            raise _WrongError(f"{f'{name} ' if name else ''}without {', '.join(missing)}", None)
        for key, entry in value.items():
            shape = (fields or {}).get(key, of)
            if shape is not None:
                shape(entry, f"{name}.{key}" if name else key)

    return check


def listing(of: Shape, count: int | None = None) -> Shape:
    """A list of one shape, of `count` entries where that is given."""

    def check(value: Any, name: str) -> None:
        if not isinstance(value, list) or count not in (None, len(value)):
            raise _WrongError(f"{name} is {_show(value)}", f"a list of {count}" if count else "a list")
        for number, entry in enumerate(value):
            of(entry, f"{name}[{number}]")

    return check


def maybe(shape: Shape) -> Shape:
    """A shape, or null."""
    return lambda value, name: None if value is None else shape(value, name)


def text(value: Any, name: str) -> None:
    """A text."""
    if not isinstance(value, str):
        raise _WrongError(f"{name} is {_show(value)}", "text")


def number(value: Any, name: str) -> None:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < math.inf:
        raise _WrongError(f"{name} is {_show(value)}", "a number")


def whole(value: Any, name: str) -> None:
    """A whole number, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**62:
        raise _WrongError(f"{name} is {_show(value)}", "a whole number, 0 or more")


def flag(value: Any, name: str) -> None:
    """True or false."""
    if not isinstance(value, bool):
        raise _WrongError(f"{name} is {_show(value)}", "true or false")


def tensor(value: Any, name: str) -> None:
    """A tensor, whatever its library."""
    if not hasattr(value, "shape"):
        raise _WrongError(f"{name} is {_show(value)}", "a tensor")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _show(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


_COST: dict[str, Shape] = {
    **dict.fromkeys(("parameters", "peak_memory_bytes", "flops_per_sample"), maybe(number)),
    **dict.fromkeys(("epochs", "steps", "train_seconds", "samples_per_second"), maybe(number)),
    "stopped_early": maybe(flag),
    "device": maybe(text),
}
MEASURE = mapping(
    {"value": maybe(number), "ci95": maybe(listing(number, 2)), "n": whole, "p_value": maybe(number)},
    needed=("value",),
)
RESULTS = mapping(
    {
        **dict.fromkeys(("run_id", "experiment", "task", "split", "checkpoint"), text),
        "seed": whole,
        "metrics": mapping(of=MEASURE),
        "baselines": mapping(of=mapping(of=MEASURE)),
        "differences": mapping(of=mapping(of=MEASURE)),
        "per_class": mapping(of=mapping({"n": whole}, of=MEASURE)),
        "cost": mapping(_COST),
        "data": mapping({"source": text, "real": flag}),
    },
    needed=("run_id", "experiment", "task", "split", "metrics", "cost", "data"),
)
_FOLDS = mapping({"k": listing(whole), "accuracy": listing(listing(number))}, needed=("k", "accuracy"))
TRAINING = mapping({**_COST, "cross_validation": _FOLDS})
ROBUSTNESS = mapping(
    {"clean": MEASURE, "corruptions": mapping(of=listing(MEASURE)), "mean": MEASURE},
    needed=("clean", "corruptions", "mean"),
)
ENVIRONMENT = mapping({"gpus": maybe(listing(text)), "threads": maybe(whole), "packages": mapping()})
DATA = mapping(
    {
        **dict.fromkeys(("name", "unit", "box_convention"), text),
        **dict.fromkeys(("classes", "part_names"), listing(text)),
        "class_numbers": listing(whole),
        **dict.fromkeys(("mean", "std"), listing(number)),
        "real": flag,
        "model": mapping(),
    },
    needed=("name", "real", "classes", "mean", "std"),
)
METRICS = mapping({"step": maybe(whole), "epoch": maybe(whole)}, of=maybe(number))
ATTEMPTS = mapping(
    {"time": number, "step": whole, "total_steps": number}, needed=("time", "step", "total_steps")
)
