"""What a sweep searches: config keys with choices or ranges, and the overrides that a point of it means."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deeprob.errors import InputError
from deeprob.studies.designs import grammar

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

SAMPLERS = ("tpe", "random", "grid")
RANGE_KEYS = {"low", "high", "log", "step"}


def distributions(space: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """Turn `sweep.space` into optuna's distributions: a choice is kept as Hydra's grammar writes it.

    Raises InputError, naming the key, for what is neither choices nor a range.
    """
    if not space:
        raise InputError(
            "nothing to search", where="sweep.space", expected="key: [value, ...] or {low, high}"
        )
    return {key: _distribution(key, values) for key, values in space.items()}


def overrides_of(params: Mapping[str, Any]) -> list[str]:
    """Hydra overrides of a point: key=value."""
    return [f"{key}={_text(value)}" for key, value in params.items()]


def grid(space: Mapping[str, BaseDistribution]) -> list[dict[str, Any]]:
    """Every combination of the choices, the last key fastest. Raises InputError for a range."""
    from optuna.distributions import CategoricalDistribution

    choices: list[Sequence[Any]] = []
    for key, distribution in space.items():
        if not isinstance(distribution, CategoricalDistribution):
            raise InputError(
                "a range in a grid", where=f"sweep.space.{key}", expected="the values to try, as a list"
            )
        choices.append(distribution.choices)
    return [dict(zip(space, point, strict=True)) for point in itertools.product(*choices)]


def _distribution(key: str, values: Any) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    where = f"sweep.space.{key}"
    if isinstance(values, list) and values:
        texts = [grammar(value) for value in values]
        if len(set(texts)) < len(texts):
            raise InputError(f"a value twice: {', '.join(texts)}", where=where, expected="each once")
        return CategoricalDistribution(texts)
    expected = "a list of choices, or {low: 0.001, high: 0.1, log: true}"
    if not isinstance(values, dict) or not {"low", "high"} <= set(values) <= RANGE_KEYS:
        raise InputError(f"{values!r}", where=where, expected=expected)
    low, high, step, log = values["low"], values["high"], values.get("step"), values.get("log")
    if not all(_is_number(v) for v in (low, high, 1 if step is None else step)):
        raise InputError(f"{values!r}", where=where, expected=expected)
    whole = all(isinstance(v, int) for v in (low, high, 1 if step is None else step))
    try:
        if whole:
            return IntDistribution(low, high, log=bool(log), step=1 if step is None else step)
        return FloatDistribution(low, high, log=bool(log), step=step)
    except ValueError as error:
        raise InputError(str(error), where=where, expected=expected) from error


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
