"""Against a real scheduler: what a task is given arrives as it was written."""

import re
import time
from pathlib import Path

import pytest

from deeprob.cli import main
from deeprob.cluster.job import find_jobs
from deeprob.cluster.queue import progress
from deeprob.cluster.slurm import FIRST_SECONDS

from .conftest import free_port

pytestmark = pytest.mark.slurm
PROGRAM = """#!/bin/bash
shift 2 # -m deeprob
printf '<%s>\\n' "$@" "$PWD" "$MINE" "$(umask)"
"""


def test_odd_words_and_folders_arrive_as_they_are(slurm, tmp_path, monkeypatch):
    program = tmp_path / "show"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    folder = tmp_path / "100% 'mine' #1 ü, a=[b]"
    folder.mkdir()
    monkeypatch.chdir(folder)
    words = ["experiment=quickstart", 'name="it\'s ü, a=b [x] {y} $HOME"', "data.augmentation={flip: 0.5}"]
    cluster = ["cluster=slurm", "cluster.cpus=1", "cluster.memory=null", f"cluster.python={program}"]
    own = ["+cluster.environment.MINE='a b, c=d'", "cluster.umask='027'"]
    assert main(["submit", "train", *words, "seed=1,2", *cluster, *own]) == 0
    (job,) = find_jobs(Path("runs/jobs").absolute(), None)
    slurm.wait_until(lambda: [p.state for p in progress(job)] == ["COMPLETED"] * 2, 60)
    said = job.log(1).read_text()
    for word in ("train", *words, "seed=2", str(folder), "a b, c=d", "0027"):
        assert f"<{word}>\n" in said
    assert (job.folder / "exit" / "1").stat().st_mode & 0o777 == 0o640


SAVING = """#!/bin/bash
trap 'echo warned; sleep 0.5; exit 75' TERM USR1
echo begun
while :; do sleep 0.1; done
"""


def test_what_is_cancelled_saves_and_stays_away_and_what_is_preempted_comes_back(slurm, tmp_path, capsys):
    program = tmp_path / "save"
    program.write_text(SAVING)
    program.chmod(0o755)
    cluster = ["cluster=slurm", "cluster.cpus=1", "cluster.memory=null", f"cluster.python={program}"]

    def job():
        return find_jobs(tmp_path / "runs/jobs", None)[0]

    def begun():
        log = job().log(0)
        return log.read_text().count("begun") if log.is_file() else 0

    assert main(["submit", "gradcheck", "layers=relu", *cluster]) == 0
    slurm.wait_until(lambda: begun() == 1, 60)
    assert main(["submit", "cancel"]) == 0
    slurm.wait_until(lambda: progress(job())[0].state == "CANCELLED", 60)
    assert "warned" in job().log(0).read_text()
    assert main(["submit", "resubmit"]) == 0
    slurm.wait_until(lambda: begun() == 2, 60)
    number = job().submissions[-1].id
    slurm.said("sbatch", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=sleep 1")
    slurm.wait_until(lambda: begun() == 3, 90)
    assert f"{number}_0|1" in slurm.said("squeue", "-h", "-r", "-O", "JobArrayID:|,RestartCnt").replace(
        " ", ""
    )
    assert main(["submit", "cancel"]) == 0
    slurm.wait_until(lambda: not slurm.said("squeue", "-h", "-j", number), 60)


def test_a_controller_that_is_down_is_one_line_and_no_wait(slurm, scheduler, tmp_path, monkeypatch, capsys):
    config = Path(scheduler["SLURM_CONF"]).read_text()
    (tmp_path / "down.conf").write_text(re.sub(r"SlurmctldPort=\d+", f"SlurmctldPort={free_port()}", config))
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "down.conf"))
    begun = time.monotonic()
    assert main(["submit", "gradcheck", "layers=relu", "cluster=slurm"]) == 2
    assert time.monotonic() - begun < FIRST_SECONDS + 10
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "the scheduler does not answer" in error
    assert not list(tmp_path.glob("runs/jobs/*"))
