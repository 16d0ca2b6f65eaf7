"""What takes long says so: lines in a log, farther and farther apart, and nothing of what is quick."""

import io
import time

import pytest
from rich.console import Console
from rich.table import Table

from deeprob import progress
from deeprob.progress import print_whole, steps, tracked


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when the test says so."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_log_gets_lines_farther_and_farther_apart(clock, capsys):
    with steps("reading coco train", 60) as advance:
        for _ in range(60):
            clock[0] += 1
            advance()
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [f"reading coco train: {n} of 60 after {n} s" for n in (5, 10, 20, 40)]


def test_what_has_no_steps_is_told_of_by_the_clock(monkeypatch, capsys):
    monkeypatch.setattr(progress, "FIRST_S", 0.01)
    with steps("baseline knn"):
        time.sleep(0.2)
    assert capsys.readouterr().err == "baseline knn: after 0 s\n"


@pytest.mark.parametrize("shown", [True, False])
def test_what_is_quick_or_not_to_be_shown_says_nothing(clock, capsys, shown):
    for _ in tracked(range(3), "reading", shown=shown):
        clock[0] += 1 if shown else 100
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert list(tracked([1, 2], "reading [b]")) == [1, 2]
    assert "reading [b]" in capsys.readouterr().err


@pytest.mark.parametrize("width", [20, 40, 200])
def test_a_narrow_terminal_hides_no_number(width):
    table = Table()
    table.add_column("metric", no_wrap=True)
    table.add_column("model", justify="right")
    table.add_column("interval", justify="right")
    table.add_row("expected_calibration_error", "0.9123", "0.8123 .. 0.9456")
    console = Console(file=io.StringIO(), width=width)
    print_whole(table, console)
    printed = console.file.getvalue()
    assert all(word in printed for word in ("expected_calibration_error", "0.9123", "0.8123", "0.9456"))
    assert "…" not in printed
    assert console.width == width
