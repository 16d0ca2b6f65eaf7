"""Download a public data set, check it and unpack it.

usage: deeprob fetch <name> [paths.data_dir=...]

names: props_classification props_detection props_pose robocup_msl bop:<name>

The files go below paths.data_dir (default: DEEPROB_DATA, or data/). A download that was stopped goes on.
"""

from __future__ import annotations

import os
from pathlib import Path

from deeprob.errors import InputError


def main(arguments: list[str]) -> int:
    """Fetch each named data set. Raises InputError for wrong arguments, and where there is no network."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    from deeprob.data.fetch import archives, fetch

    names = [argument for argument in arguments if "=" not in argument]
    options = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    data_dir = Path(options.pop("paths.data_dir", os.environ.get("DEEPROB_DATA", "data"))).expanduser()
    if options:
        raise InputError(f"no option {next(iter(options))}", expected="paths.data_dir=<folder>")
    if not names:
        raise InputError("no data set named", expected="such as: deeprob fetch props_classification")
    for name in names:
        archives(name)  # an unknown name is told before the first download
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def report(what: str, done: int, total: int | None) -> None:
            bar.update(task, description=what, completed=done, total=total)

        for name in names:
            for folder in fetch(name, data_dir, report):
                print(f"{name}: {folder}")
    return 0
