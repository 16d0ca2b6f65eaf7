"""Runs as processes, with a script of a few lines in the place of `deeprob train`."""

import io
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from rich.console import Console

from deeprob.runs import Run
from deeprob.studies import processes
from deeprob.studies.processes import OUTPUT, Job, error_line, run_all

PRELUDE = """
import json, os, pathlib, signal, sys, time
run = pathlib.Path(next(a for a in sys.argv if a.startswith("folder="))[7:]) / os.environ["DEEPROB_RUN_ID"]
def finish():
    (run / "results.json").write_text(json.dumps({"metrics": {}}))
"""


@pytest.fixture
def trainer(tmp_path, monkeypatch):
    """Replace training by a script; returns a function from its body to nothing."""

    def use(body: str) -> None:
        script = tmp_path / "train.py"
        script.write_text(PRELUDE + textwrap.dedent(body))
        monkeypatch.setattr(processes, "COMMAND", (sys.executable, str(script)))

    return use


def make_job(tmp_path: Path, name: str) -> Job:
    return Job(name, (f"folder={tmp_path}", f"variant={name}"), Run(tmp_path / name))


def quiet() -> Console:
    return Console(file=io.StringIO())


def test_every_job_runs_in_its_own_folder(tmp_path, trainer):
    trainer("finish()")
    jobs = [make_job(tmp_path, name) for name in ("a", "b", "c")]
    assert run_all(jobs, quiet(), at_a_time=2) == {}
    assert all(job.done for job in jobs)


def test_a_job_that_is_done_is_not_run_again(tmp_path, trainer):
    trainer("finish(); (run / 'count').open('a').write('x')")
    job = make_job(tmp_path, "a")
    run_all([job], quiet())
    run_all([job], quiet())
    assert (job.run.path / "count").read_text() == "x"


def test_half_written_results_are_not_done(tmp_path):
    job = make_job(tmp_path, "a")
    job.run.path.mkdir()
    job.run.results().write_text('{"metr')
    assert not job.done


def test_a_failing_job_gives_its_line_and_stops_no_other(tmp_path, trainer):
    trainer("sys.exit('deeprob train: no such key') if 'variant=bad' in sys.argv else finish()")
    jobs = [make_job(tmp_path, "bad"), make_job(tmp_path, "good")]
    assert run_all(jobs, quiet()) == {"bad": "deeprob train: no such key"}
    assert jobs[1].done


def test_the_error_file_is_asked_before_the_output(tmp_path, trainer):
    trainer(
        "(run / 'error.txt').write_text('Traceback ...\\n  line\\nValueError: too large\\n'); "
        "print('noise'); sys.exit(1)"
    )
    job = make_job(tmp_path, "a")
    assert run_all([job], quiet()) == {"a": "ValueError: too large"}


def test_the_error_of_an_earlier_attempt_is_forgotten(tmp_path, trainer):
    job = make_job(tmp_path, "a")
    job.run.path.mkdir()
    job.run.error.write_text("RuntimeError: last week")
    trainer("sys.exit('today')")
    assert run_all([job], quiet()) == {"a": "today"}


def test_a_job_without_results_has_failed_even_with_exit_code_0(tmp_path, trainer):
    trainer("pass")
    assert run_all([make_job(tmp_path, "a")], quiet()) == {"a": "ended with exit code 0 and said nothing"}


def test_a_silent_failure_names_its_exit_code(tmp_path):
    assert error_line(Run(tmp_path), -9) == "ended with exit code -9 and said nothing"


def test_an_error_is_named_without_its_module(tmp_path):
    run = Run(tmp_path)
    run.error.write_text("Traceback\ndeeprob.training.finite.NonFiniteError: step 1: v1.0.x: not finite\n")
    assert error_line(run, 1) == "NonFiniteError: step 1: v1.0.x: not finite"


def test_output_is_kept_in_the_run_folder(tmp_path, trainer):
    trainer("print('hello'); finish()")
    job = make_job(tmp_path, "a")
    run_all([job], quiet())
    assert (job.run.path / OUTPUT).read_text() == "hello\n"


def test_processes_side_by_side_share_the_cores(tmp_path, trainer, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    trainer("print(os.environ['OMP_NUM_THREADS']); finish()")
    job = make_job(tmp_path, "a")
    run_all([job], quiet(), at_a_time=4)
    assert (job.run.path / OUTPUT).read_text() == "2\n"


DRIVER = """
import pathlib, sys
from rich.console import Console
from deeprob.studies import processes
from deeprob.runs import Run
root = pathlib.Path(sys.argv[1])
processes.COMMAND = (sys.executable, str(root / "train.py"))
job = processes.Job("a", (f"folder={root}",), Run(root / "a"))
processes.run_all([job], Console())
"""


def start_driver(tmp_path: Path) -> tuple[subprocess.Popen, int]:
    """Start run_all in a process of its own; returns it and the id of the training below it."""
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(tmp_path)])
    identity = tmp_path / "a" / "pid"
    deadline = time.monotonic() + 30
    while not (identity.is_file() and identity.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return driver, int(identity.read_text())


def is_alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_ctrl_c_lets_a_run_write_what_it_has(tmp_path, trainer):
    trainer(
        """
        try:
            (run / "pid").write_text(str(os.getpid()))
            time.sleep(60)
        except KeyboardInterrupt:
            (run / "kept").write_text("checkpoint")
        """
    )
    driver, _ = start_driver(tmp_path)
    driver.send_signal(signal.SIGINT)
    assert driver.wait(30) != 0
    assert (tmp_path / "a" / "kept").read_text() == "checkpoint"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_killed_driver_leaves_no_training_behind(tmp_path, trainer):
    trainer("(run / 'pid').write_text(str(os.getpid())); time.sleep(60)")
    driver, pid = start_driver(tmp_path)
    driver.kill()
    driver.wait(30)
    deadline = time.monotonic() + 10
    while is_alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)
