"""Designs of experiments: which variants of a base are trained, and which effects they tell apart.

    list            the variants that are written down
    one_at_a_time   each value of each factor alone, against the experiment as it is
    leave_one_out   all factors at their first value, against the same without one of them, and without any
    factorial       every combination of the factors' values with the experiment's own; main effects and the
                    interactions of two factors, averaged over the other factors
    grid            every row with every column; the effect of a column is told in each row by itself

Source: Box, Hunter and Hunter, Statistics for Experimenters, 2nd ed. 2005, chapter 5.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deeprob.errors import InputError

DESIGNS = ("list", "one_at_a_time", "leave_one_out", "factorial", "grid")
BASE = "base"
OWN = ""  # the level of a factor that the experiment has by itself


@dataclass(frozen=True)
class Design:
    """variants: name -> overrides, the base first; effects: name -> weights of the variants' metrics.

    curves: of a grid, column -> row -> the variant's name.
    """

    variants: Mapping[str, Sequence[str]]
    effects: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    curves: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def make_design(
    design: str, variants: Mapping[str, Sequence[str]], factors: Mapping[str, Sequence[Any]]
) -> Design:
    """Lay out a design. factors: config key -> values.

    Raises InputError for an unknown design, for factors where a list is asked for and the other way round,
    and for a name that cannot be a folder.
    """
    if design not in DESIGNS:
        raise InputError(f"no design {design!r}", where="ablation.design", expected=", ".join(DESIGNS))
    needed, refused = ("variants", factors) if design == "list" else ("factors", variants)
    if refused or not (variants or factors):
        raise InputError(f"design {design!r}", where="ablation", expected=f"{needed}, and nothing else")
    if any(len(values) == 0 for values in factors.values()):
        raise InputError("a factor without values", where="ablation.factors", expected="key: [value, ...]")
    if design == "list":
        for name in variants:
            if name == BASE or not re.fullmatch(r"[\w.+-]+", name):
                raise InputError(
                    f"a variant named {name!r}",
                    where="ablation.variants",
                    expected=f"letters, digits and _ . + -; {BASE!r} is always there",
                )
        return Design({BASE: [], **variants})
    levels = _levels(factors)
    if design == "one_at_a_time":
        singles = {name: [override] for of_factor in levels.values() for name, override in of_factor.items()}
        return Design({BASE: [], **singles})
    if design == "leave_one_out":
        return _leave_one_out(levels)
    return _factorial(levels)


def make_grid(
    rows: Mapping[str, Sequence[str]], columns: Mapping[str, Sequence[str]], without: Sequence[str] = ()
) -> Design:
    """Lay out every row with every column but the cells `without`, each named row+column.

    rows, columns: name -> overrides. The cell of the first of both is the base; the effect of a column in a
    row is against the row's first column. Raises InputError for an empty side, and for a cell that there is
    not.
    """
    if not rows or not columns:
        raise InputError("design 'grid'", where="ablation", expected="rows and columns, name: [overrides]")
    names = {(row, column): f"{row}+{column}" for row in rows for column in columns}
    unknown = sorted(set(without) - set(names.values()))
    if unknown:
        raise InputError(
            f"no cell {unknown[0]!r}", where="ablation.without", expected=", ".join(names.values())
        )
    cells = {cell: name for cell, name in names.items() if name not in without}
    first = next(iter(names))
    if first not in cells:
        raise InputError("the first cell is the base", where="ablation.without", expected="other cells")
    cells[first] = BASE
    effects = {
        f"{column} at {row}": {name: 1.0, cells[row, first[1]]: -1.0}
        for (row, column), name in cells.items()
        if column != first[1] and (row, first[1]) in cells
    }
    curves = {
        column: {row: cells[row, column] for row in rows if (row, column) in cells} for column in columns
    }
    variants = {name: [*rows[row], *columns[column]] for (row, column), name in cells.items()}
    return Design(variants, effects, curves)


def _levels(factors: Mapping[str, Sequence[Any]]) -> dict[str, dict[str, str]]:
    """Factor -> name of a level -> override; a factor goes by the last part of its key if no other does."""
    short = [key.rpartition(".")[2] for key in factors]
    levels: dict[str, dict[str, str]] = {}
    for key, values in factors.items():
        name = key.rpartition(".")[2]
        name = name if short.count(name) == 1 else key
        of_factor = levels.setdefault(name, {})
        for value in values:
            text = grammar(value)
            label = f"{name}-{re.sub(r'[^A-Za-z0-9_.]+', '_', text).strip('_')[:40]}"
            if label in of_factor:
                raise InputError(f"two values called {label}", where=f"ablation.factors.{key}")
            of_factor[label] = f"{key}={text}"
    return levels


def grammar(value: Any) -> str:
    """A value as Hydra's override grammar writes it."""
    if isinstance(value, str):
        return value if re.fullmatch(r"[\w./:-]+", value) else json.dumps(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {grammar(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(grammar(v) for v in value) + "]"
    return json.dumps(value)


def _leave_one_out(levels: Mapping[str, Mapping[str, str]]) -> Design:
    switched_on = {factor: next(iter(of_factor.values())) for factor, of_factor in levels.items()}
    variants = {BASE: list(switched_on.values())}
    for factor in switched_on:
        variants[f"without_{factor}"] = [override for f, override in switched_on.items() if f != factor]
    if len(switched_on) > 1:
        variants["without_all"] = []
    return Design(variants)


def _factorial(levels: Mapping[str, Mapping[str, str]]) -> Design:
    choices = [{OWN: None, **of_factor} for of_factor in levels.values()]
    cells = list(itertools.product(*choices))

    def name_of(cell: Sequence[str]) -> str:
        return "+".join(level for level in cell if level != OWN) or BASE

    variants = {
        name_of(cell): [choices[i][level] for i, level in enumerate(cell) if level != OWN] for cell in cells
    }
    effects: dict[str, dict[str, float]] = {}
    for order in (1, 2):
        for factors in itertools.combinations(range(len(choices)), order):
            for changed in itertools.product(*(list(choices[i])[1:] for i in factors)):
                weights: dict[str, float] = {}
                for cell in cells:
                    here = [cell[i] for i in factors]
                    if all(level in (OWN, to) for level, to in zip(here, changed, strict=True)):
                        weights[name_of(cell)] = (-1.0) ** here.count(OWN)
                share = len(weights) / 2**order  # the combinations of the other factors
                effects[" × ".join(changed)] = {name: w / share for name, w in weights.items()}
    return Design({name: [o for o in of if o is not None] for name, of in variants.items()}, effects)
