"""`deeprob submit`: what is refused, what is written, and arrays in the background of this machine."""

import os
import re
import signal
import time
from pathlib import Path

import pytest

from deeprob.cli import main
from deeprob.cli.submit import split
from deeprob.cluster.job import find_jobs
from deeprob.cluster.queue import progress
from deeprob.config import compose, options

ROOT = Path(__file__).resolve().parents[2]
TRAIN = ["submit", "train", "experiment=quickstart"]


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Stand-ins for a scheduler's commands, alone on PATH with the shell's; each notes how it was called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def make(**bodies):
        for name, body in bodies.items():
            (folder / name).write_text(f'#!/bin/sh\necho "{name} $@" >> {tmp_path}/called\n{body}\n')
            (folder / name).chmod(0o755)

    make(
        sbatch="echo 41",
        sinfo="printf 'gpu|1-00:00:00\\ncpu|infinite\\n'",
        squeue="",
        scancel="",
        sacct="exit 1",
    )
    make(scontrol="echo 'MaxArraySize            = 100'")
    return make


def said(capsys, *arguments, code=0):
    assert main(list(arguments)) == code
    return capsys.readouterr()


def called(tmp_path):
    path = tmp_path / "called"
    return path.read_text().splitlines() if path.is_file() else []


@pytest.mark.parametrize("cluster", options("cluster"))
def test_every_cluster_composes_and_writes_a_script(cluster, capsys):
    out = said(capsys, *TRAIN, f"cluster={cluster}", "cluster.account=lab", "dry_run=true").out
    script = Path(out.splitlines()[-1])
    assert script.name == "job.sh"
    assert script.read_text().startswith("#!/bin/bash -l\n# deeprob submit train experiment=quickstart")


def test_a_job_is_submitted_and_its_numbers_and_the_command_to_watch_are_printed(commands, tmp_path, capsys):
    out = said(
        capsys, *TRAIN, "seed=0,1,2", "cluster=slurm", "cluster.partition=gpu", "cluster.at_a_time=2"
    ).out
    assert re.search(r"submitted \d{8}-\d{6}-train: 3 tasks, slurm number 41\n", out)
    assert re.search(r"watch +deeprob submit status job=\d{8}-\d{6}-train\n", out)
    (submission,) = [line for line in called(tmp_path) if line.startswith("sbatch")]
    assert "--array=0,1,2%2" in submission
    assert (tmp_path / "runs/jobs").is_dir()


@pytest.mark.parametrize(
    ("overrides", "said_", "missing"),
    [
        (["cluster=slurm"], "no sbatch on PATH; run this on a login node", "sbatch"),
        (["cluster=slurm", "cluster.partition=gpus"], "no partition 'gpus' here; expected cpu gpu", None),
        (
            ["cluster=slurm", "cluster.partition=gpu", "cluster.time=25:00:00"],
            "cluster.time=25:00:00 is longer than gpu allows; expected at most 1-00:00:00",
            None,
        ),
        (["cluster=slurm", "name='a\nb'"], "a line break in a value", None),
        (["cluster=slurm", "+cluster.environment.WANDB_API_KEY=k"], "would be written into the job's", None),
        (["cluster=slurm", "seed=range(0,101)"], "an array of 101 tasks; expected at most 99 here", None),
        (["cluster=msi"], "cluster.account: no account to charge the job to", None),
        (
            ["cluster=slurm", "cluster.time='1'"],
            "cluster.time=1 is not longer than cluster.signal_seconds=120",
            None,
        ),
        (["cluster=slurm", "cluster.scratch=/proc/none"], "/proc/none: cannot be written", None),
        (["cluster=slurm", "seed=range(0,0)"], "the array would have no task", None),
        (["cluster=slurm", "modle=resnet18"], "did you mean model?", None),
        (["cluster=slurm", "cluster.partitoin=a"], "did you mean cluster.partition?", None),
        (["cluster=slum"], "no cluster named 'slum'", None),
        (
            ["cluster=slurm", "cluster.scheduler=pbs"],
            "cluster.scheduler is 'pbs'; expected slurm or local",
            None,
        ),
    ],
)
def test_what_cannot_work_is_one_line_before_anything_is_queued(
    commands, tmp_path, capsys, monkeypatch, overrides, said_, missing
):
    monkeypatch.delenv("SBATCH_ACCOUNT", raising=False)
    if missing:
        (tmp_path / "bin" / missing).unlink()
    if missing and any((Path(folder) / missing).exists() for folder in ("/usr/bin", "/bin")):
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    error = said(capsys, *TRAIN, *overrides, code=2).err
    assert said_ in error
    assert error.count("\n") == 1
    assert not [line for line in called(tmp_path) if line.startswith("sbatch")]
    assert not list(tmp_path.glob("runs/jobs/*"))


@pytest.mark.parametrize("run", ["runs/a/2", "runs/a/1,runs/a/2", "'runs/a/2'"])
def test_a_run_that_is_not_there_is_refused_before_it_is_queued(commands, tmp_path, capsys, run):
    (tmp_path / "runs/a/1").mkdir(parents=True)
    (tmp_path / "runs/a/1/config.yaml").write_text("seed: 0\n")
    error = said(capsys, "submit", "evaluate", f"run={run}", "cluster=slurm", code=2).err
    assert re.fullmatch(r"deeprob submit: runs/a/2: no such run folder; list them with: .*\n", error)
    said(capsys, "submit", "evaluate", "run=runs/a/1", "cluster=slurm")
    (queued,) = [line for line in called(tmp_path) if line.startswith("sbatch")]
    assert "--array=0 " in queued


def test_a_partition_that_allows_the_time_is_enough(commands, capsys):
    said(capsys, *TRAIN, "cluster=slurm", "cluster.partition='gpu,cpu'", "cluster.time=2-0")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (
            "echo 'slurm_load_partitions: Unable to contact slurm controller (connect failure)' >&2; exit 1",
            r"sinfo: .*controller \(connect failure\): the scheduler does not answer; try again when",
        ),
        ("exec sleep 60", "sinfo: the scheduler does not answer within 1 s; try again when `scontrol ping`"),
    ],
)
def test_a_scheduler_that_does_not_answer_is_one_line(commands, capsys, monkeypatch, body, told):
    monkeypatch.setattr("deeprob.cluster.slurm.FIRST_SECONDS", 1)
    commands(sinfo=body)
    error = said(capsys, *TRAIN, "cluster=slurm", code=2).err
    assert re.search(told, error)
    assert error.count("\n") == 1


def test_what_the_scheduler_refuses_is_told_in_its_words(commands, capsys):
    commands(sbatch="echo 'sbatch: error: Batch job submission failed: Invalid account' >&2; exit 1")
    error = said(capsys, *TRAIN, "cluster=slurm", code=2).err
    assert error == "deeprob submit: sbatch: Batch job submission failed: Invalid account\n"


def test_a_scratch_folder_takes_runs_and_caches_but_not_what_the_user_placed(tmp_path, capsys):
    own = ["cluster=slurm", f"cluster.scratch={tmp_path}/scratch", "dry_run=true"]
    script = Path(said(capsys, *TRAIN, *own, "paths.cache_dir=/mine").out.splitlines()[-1])
    line = script.with_name("tasks.txt").read_text()
    assert f"paths.runs_dir={tmp_path}/scratch/runs" in line
    assert "paths.cache_dir=/mine" in line
    assert "scratch/cache" not in line


def test_a_training_in_several_processes_asks_for_them(capsys):
    out = said(
        capsys, *TRAIN, "trainer.devices=2", "trainer.num_nodes=3", "cluster=slurm", "dry_run=true"
    ).out
    text = Path(out.splitlines()[-1]).read_text()
    assert "--nodes=3\n#SBATCH --ntasks-per-node=2\n" in text


def test_the_keys_of_submit_and_those_of_the_verb_are_told_apart():
    own, others = split(
        "train", ["seed=1", "cluster=msi", "cluster.cpus=2", "dry_run=true", "paths.runs_dir=r"]
    )
    assert own == ["cluster=msi", "cluster.cpus=2", "dry_run=true", "paths.runs_dir=r"]
    assert others == ["seed=1", "paths.runs_dir=r"]
    assert split("render", ["workers=3"]) == ([], ["workers=3"])
    assert split("sweep", ["workers=3"]) == (["workers=3"], [])
    assert compose("submit", own).cluster.cpus == 2


def test_status_of_nothing_says_what_to_do(capsys):
    assert "deeprob submit train" in said(capsys, "submit", "status", code=2).err


def test_status_shows_the_queue_and_the_exit_codes(commands, tmp_path, capsys):
    said(capsys, *TRAIN, "seed=0,1,2,3,4", "cluster=slurm")
    (job,) = find_jobs(tmp_path / "runs/jobs", "41")
    commands(squeue="printf '41_0|RUNNING|node7\\n41_1|PENDING|(Resources)\\n99_2|RUNNING|other\\n'")
    (job.folder / "exit/2").write_text("0\n")
    (job.folder / "exit/3").write_text("1\n")
    states = [(p.state, p.where) for p in progress(job)]
    assert states == [
        ("RUNNING", "node7"),
        ("PENDING", "Resources"),
        ("COMPLETED", ""),
        ("FAILED", "exit code 1"),
        ("LOST", ""),
    ]
    (job.folder / "exit/4").write_text("75\n")
    assert progress(job)[4].where == "stopped by the scheduler, all is saved; deeprob submit resubmit"
    out = said(capsys, "submit", "status").out
    assert "seed=3" in out
    assert "exit code 1" in out


def test_accounting_names_what_ended_a_task_where_the_cluster_keeps_it(commands, tmp_path, capsys):
    said(capsys, *TRAIN, "seed=0,1", "cluster=slurm")
    (job,) = find_jobs(tmp_path / "runs/jobs", None)
    commands(sacct="printf '41_0|TIMEOUT\\n41_1|CANCELLED by 7\\n'")
    assert [p.state for p in progress(job)] == ["TIMEOUT", "CANCELLED"]


def test_resubmit_hands_over_what_failed_and_nothing_else(commands, tmp_path, capsys):
    said(capsys, *TRAIN, "seed=0,1,2", "cluster=slurm")
    (job,) = find_jobs(tmp_path / "runs/jobs", None)
    (job.folder / "exit/0").write_text("0\n")
    (job.folder / "exit/1").write_text("1\n")
    commands(squeue="printf '41_2|RUNNING|n\\n'", sbatch="echo 42")
    assert "tasks 1, slurm number 42" in said(capsys, "submit", "resubmit").out
    assert [line for line in called(tmp_path) if "--array=1 " in line]
    commands(squeue="printf '41_2|RUNNING|n\\n42_1|PENDING|x\\n'")
    assert "every task is done, runs or waits" in said(capsys, "submit", "resubmit", code=2).err


def test_cancel_takes_every_submission_out_of_the_queue(commands, tmp_path, capsys):
    said(capsys, *TRAIN, "cluster=slurm")
    said(capsys, "submit", "cancel")
    assert "scancel 41" in called(tmp_path)
    (job,) = find_jobs(tmp_path / "runs/jobs", None)
    assert [p.state for p in progress(job)] == ["CANCELLED"]


def wait_until(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {seconds} s"
        time.sleep(0.2)


@pytest.fixture
def background(tmp_path, monkeypatch):
    """Let tasks run a stand-in for Python, which sleeps, fails or ends well as it is told."""
    program = tmp_path / "python"
    program.write_text(
        '#!/bin/sh\ncase "$*" in *layers=fail*) exit 3;; *layers=long*) exec sleep 60;; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return [f"cluster.python={program}", "cluster=local"]


def test_an_array_runs_in_the_background_of_this_machine(background, tmp_path, capsys):
    out = said(capsys, "submit", "gradcheck", "layers=good,fail", *background).out
    assert "2 tasks, local number" in out
    (job,) = find_jobs(tmp_path / "runs/jobs", None)
    wait_until(lambda: [p.state for p in progress(job)] == ["COMPLETED", "FAILED"], 30)
    assert progress(job)[1].where == "exit code 3"
    assert "deeprob gradcheck layers=fail" in job.log(1).read_text()


def test_what_runs_in_the_background_is_cancelled_and_taken_up_again(background, tmp_path, capsys):
    said(capsys, "submit", "gradcheck", "layers=long,good", *background)
    (job,) = find_jobs(tmp_path / "runs/jobs", None)
    wait_until(lambda: [p.state for p in progress(job)] == ["RUNNING", "PENDING"], 30)
    said(capsys, "submit", "cancel")
    (job,) = find_jobs(tmp_path / "runs/jobs", None)
    wait_until(lambda: [p.state for p in progress(job)] == ["CANCELLED", "CANCELLED"], 30)
    said(capsys, "submit", "resubmit")
    (job,) = find_jobs(tmp_path / "runs/jobs", None)
    wait_until(lambda: progress(job)[0].state == "RUNNING", 30)
    os.killpg(int(job.submissions[-1].id), signal.SIGKILL)
    wait_until(lambda: [p.state for p in progress(job)] == ["LOST", "LOST"], 30)
