"""What takes long says so on stderr: a bar on a terminal; in a log a line after 5 s, 10 s, 20 s and so on."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

FIRST_S, LONGEST_S = 5.0, 300.0
Item = TypeVar("Item")


class Advance(Protocol):
    """Says that `count` more steps are done."""

    def __call__(self, count: int = 1) -> None: ...


class Status(Protocol):
    """Shows what is done meanwhile, as `steps`."""

    def __call__(self, heading: str, total: int | None = None) -> AbstractContextManager[Advance]: ...


@contextlib.contextmanager
def steps(heading: str, total: int | None = None, shown: bool = True) -> Iterator[Advance]:
    """Show that something is done meanwhile; yields what counts its steps, of `total` where that is known."""
    if not shown:
        yield lambda count=1: None
    elif sys.stderr is not None and sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        counted = (MofNCompleteColumn(), TimeRemainingColumn()) if total is not None else ()
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), *counted)
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(heading, total=total)
            yield lambda count=1: bar.advance(task, count)
    else:
        lines = _Lines(heading, total)
        try:
            yield lines.advance
        finally:
            lines.end()


def quiet(heading: str, total: int | None = None) -> AbstractContextManager[Advance]:
    """Show nothing."""
    return steps(heading, total, shown=False)


def tracked(
    items: Iterable[Item], heading: str, total: int | None = None, shown: bool = True
) -> Iterator[Item]:
    """The items, each counted once it is dealt with. total: None asks their length."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with steps(heading, total, shown) as advance:
        for item in items:
            yield item
            advance()


class _Lines:
    """Lines in a log, farther and farther apart."""

    def __init__(self, heading: str, total: int | None, say: Callable[[str], None] | None = None) -> None:
        self._heading, self._total, self._say = heading, total, say or _to_stderr
        self._done, self._began, self._next = 0, time.monotonic(), FIRST_S
        # What has no steps, or a first one that takes long, is told of by the clock.
        self._timer = threading.Timer(FIRST_S, self._tell)
        self._timer.daemon = True
        self._timer.start()

    def advance(self, count: int = 1) -> None:
        self._done += count
        if time.monotonic() - self._began >= self._next:
            self._tell()

    def end(self) -> None:
        self._timer.cancel()

    def _tell(self) -> None:
        seconds = time.monotonic() - self._began
        if seconds < self._next:
            return
        self._next += min(self._next, LONGEST_S)
        of = f" {self._done:,} of {self._total:,}" if self._total is not None else ""
        self._say(f"{self._heading}:{of} after {seconds:.0f} s")


def _to_stderr(line: str) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or gone
        print(line, file=sys.stderr, flush=True)


def print_whole(table: Table, console: Console) -> None:
    """Print a table; where a terminal is too narrow for its words and numbers, its lines go on below."""
    from rich.measure import Measurement

    before, wide = console.width, console.options.update(max_width=10_000)
    console.width = max(before, Measurement.get(console, wide, table).minimum)
    try:
        console.print(table)
    finally:
        console.width = before
