"""`deeprob gradcheck`: verify the layers of the catalogue, or a function of one's own."""

from __future__ import annotations

import importlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from deeprob.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

OPTIONS = ("layers", "checks", "fast", "target", "inputs", "device")


def main(args: list[str]) -> int:
    """Run `layers=conv2d,relu checks=gradcheck,compile`, or `target=module.Function inputs='[[4,5],[5,3]]'`.

    `device=cuda` verifies them on a GPU: the samples are drawn there. `fast=false` verifies the formulas
    alone; `fast=true` holds the faster forms against them, in one dtype.

    Returns 0 when every check holds and 1 when one does not. Raises InputError for arguments it cannot use.
    """
    options = parse_options(args, OPTIONS, "gradcheck")
    device = usable_device(options.get("device", "cpu"))
    if "target" in options:
        for name in ("layers", "checks", "fast"):
            if name in options:
                raise InputError(f"{name}= does not go with target=", where="gradcheck")
        return verify_target(options["target"], options.get("inputs"), device)
    if "inputs" in options:
        raise InputError(
            "inputs= goes with target=", where="gradcheck", expected="target=my_package.MyFunction"
        )
    if options.get("fast", "true") not in ("true", "false"):
        raise InputError(f"fast={options['fast']}", where="gradcheck", expected="fast=true or fast=false")
    if options.get("fast") == "true":
        options.setdefault("checks", "fast_path")
    alone = options.get("fast") == "false"
    return verify_catalogue(options.get("layers"), options.get("checks"), device, alone)


def parse_options(args: Sequence[str], known: Sequence[str], where: str) -> dict[str, str]:
    """Read key=value arguments. Raises InputError for a key that is not known."""
    options = {}
    for arg in args:
        key, equals, value = arg.partition("=")
        if not equals or key not in known or not value:
            raise InputError(
                f"cannot use {arg!r}", where=where, expected=", ".join(f"{k}=..." for k in known)
            )
        options[key] = value
    return options


def usable_device(name: str) -> str:
    """Return the device's name. Raises InputError for one that torch does not find here."""
    import torch

    here = ["cpu", *["cuda"][: torch.cuda.device_count()]]
    here += [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if name not in here:
        raise InputError(f"no device {name!r} here", where="gradcheck", expected=" or ".join(here))
    return name


def pick(wanted: str | None, names: Sequence[str], what: str) -> list[str]:
    """Split a comma-separated list of names. Raises InputError for a name that does not exist."""
    if wanted is None:
        return list(names)
    chosen = [name.strip() for name in wanted.split(",")]
    for name in chosen:
        if name not in names:
            raise InputError(f"no {what} {name!r}", where="gradcheck", expected=f"some of {', '.join(names)}")
    return chosen


def verify_catalogue(layers: str | None, checks: str | None, device: str, alone: bool = False) -> int:
    """Print one row a layer and check; alone: of the formulas, without their faster forms."""
    import torch

    from deeprob.layers import contract, formulas
    from deeprob.layers.catalogue import LAYERS, drawn_on

    layer_names = pick(layers, list(dict.fromkeys(layer.name for layer in LAYERS)), "layer")
    check_names = pick(checks, [check.name for check in contract.CHECKS] + ["bad_input", "module"], "check")
    torch.set_num_threads(1)
    rows = Rows("layer")
    with rows, drawn_on(device), formulas() if alone else nullcontext():
        for layer in LAYERS:
            if layer.name not in layer_names:
                continue
            for check in contract.CHECKS:
                if check.name in check_names and check.samples(layer):
                    rows.add(layer.name, check.name, partial(contract.verify, layer, check))
            if "bad_input" in check_names and layer.rejects:
                rows.add(layer.name, "bad_input", partial(contract.rejects_bad_input, layer))
            for sample in layer.modules if "module" in check_names else ():
                rows.add(layer.name, f"module {sample.name}", partial(contract.module_matches_torch, sample))
    return rows.finish()


def verify_target(target: str, inputs: str | None, device: str) -> int:
    """Verify a user's own torch.autograd.Function or differentiable function."""
    if inputs is None:
        raise InputError(
            "the shapes of the inputs are missing", where="gradcheck", expected="inputs='[[4,5],[5,3]]'"
        )
    try:
        shapes = json.loads(inputs)
        valid = isinstance(shapes, list) and len(shapes) > 0
        valid = valid and all(
            isinstance(s, list) and all(type(n) is int and n > 0 for n in s) for s in shapes
        )
    except json.JSONDecodeError:
        valid = False
    if not valid:
        raise InputError(
            f"cannot read inputs={inputs}", where="gradcheck", expected="a list of shapes, as [[4,5],[5,3]]"
        )
    function = load(target)

    from deeprob.layers.catalogue import drawn_on
    from deeprob.layers.contract.explain import claims

    rows = Rows("function")
    with rows, drawn_on(device):
        for name, claim in claims(function, shapes).items():
            rows.add(target.rpartition(".")[2], name, claim)
    return rows.finish()


def load(target: str) -> Callable[..., Any]:
    """Import module.name; a Function stands for its `apply`. Raises InputError where there is none."""
    import torch

    module, _, name = target.rpartition(".")
    if not module:
        raise InputError(f"cannot use target={target}", where="gradcheck", expected="module.Function")
    sys.path.insert(0, os.getcwd())
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"cannot import {target}: {error}",
            where="gradcheck",
            fix="run it from the folder that holds the module, or install the package",
        ) from error
    finally:
        sys.path.pop(0)
    if isinstance(found, type) and issubclass(found, torch.autograd.Function):
        return found.apply
    if not callable(found):
        raise InputError(f"{target} cannot be called", where="gradcheck", expected="a Function or a function")
    return found  # type: ignore[no-any-return]


class Rows:
    """A table that grows as checks finish, and the failures told in words below it."""

    def __init__(self, subject: str) -> None:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self.console = Console()
        self.subject = subject
        self.rows: list[tuple[str, str, float | None, float]] = []
        self.failures: list[str] = []
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        self.progress = Progress(*columns, console=self.console, transient=True)

    def __enter__(self) -> Rows:
        self.progress.start()
        self.task = self.progress.add_task("", total=None)
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def add(self, subject: str, check: str, claim: Callable[[], float]) -> None:
        """Run one check and note its error, or the words of its failure."""
        self.progress.update(self.task, description=f"{subject}: {check}")
        begin = time.perf_counter()
        try:
            error: float | None = claim()
        except Exception as mistake:  # whatever a function raises under a check, it fails that check
            error = None
            self.failures.append(f"{subject}, {check}: " + " ".join(str(mistake).split()))
        self.rows.append((subject, check, error, time.perf_counter() - begin))

    def table(self) -> Table:
        """Lay the rows out."""
        from rich.table import Table

        table = Table(self.subject, "check", "", "max error", "seconds")
        for column in table.columns[3:]:
            column.justify = "right"
        previous = None
        for subject, check, error, seconds in self.rows:
            state = "[red]fails[/red]" if error is None else "[green]holds[/green]"
            shown = "" if error is None or math.isnan(error) else f"{error:.1e}"
            table.add_row("" if subject == previous else subject, check, state, shown, f"{seconds:.2f}")
            previous = subject
        return table

    def finish(self) -> int:
        """Print everything; return the exit code."""
        self.console.print(self.table())
        for failure in self.failures:
            self.console.print(f"[red]fails[/red] {failure}", markup=True, highlight=False, soft_wrap=True)
        held = len(self.rows) - len(self.failures)
        self.console.print(f"{held} of {len(self.rows)} checks hold")
        return 1 if self.failures else 0
