"""The script that a scheduler gets."""

import subprocess

import pytest

from deeprob.cluster.job import Job
from deeprob.cluster.script import check_time, seconds, write_script
from deeprob.cluster.tasks import Task
from deeprob.config import compose
from deeprob.errors import InputError


@pytest.fixture
def script(tmp_path):
    """Write the script of two tasks for overrides of `deeprob submit`; return its text."""

    def write(*overrides, tasks=("deeprob train a", "deeprob train b"), shape=(1, 1)):
        tasks = [Task("", line) for line in tasks]
        folder = tmp_path / "a job"
        folder.mkdir(exist_ok=True)
        job = Job(folder, "slurm", 0, tasks, [])
        job.write()
        write_script(job, compose("submit", list(overrides)).cluster, "deeprob submit train", shape)
        subprocess.run(["bash", "-n", job.script], check=True)
        return job.script.read_text()

    return write


def test_every_choice_of_the_config_is_an_option_of_sbatch(script):
    text = script(
        "cluster=slurm",
        "cluster.partition=gpu",
        "cluster.account=lab",
        "cluster.gres='gpu:a100:2'",
        "cluster.time=08:00:00",
        "cluster.memory=10G",
        "cluster.cpus=6",
        "cluster.tmp=5gb",
        "cluster.at_a_time=3",
        "cluster.mail=me@example.org",
        "cluster.options=['--exclude=n7']",
        shape=(2, 4),
    )
    options = {line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH")}
    assert options >= {
        "--partition=gpu",
        "--account=lab",
        "--gres=gpu:a100:2",
        "--time=08:00:00",
        "--mem=10G",
        "--cpus-per-task=6",
        "--tmp=5gb",
        "--array=0-1%3",
        "--nodes=2",
        "--ntasks-per-node=4",
        "--open-mode=append",
        "--requeue",
        "--signal=SIGUSR1@120",
        "--mail-user=me@example.org",
        "--exclude=n7",
    }
    assert text.startswith("#!/bin/bash -l\n# deeprob submit train\n")


def test_without_requeue_nothing_is_asked_for(script):
    text = script("cluster=slurm", "cluster.requeue=false")
    assert "--no-requeue" in text
    assert "--signal" not in text
    assert "scontrol" not in text


def test_a_container_takes_the_place_of_python(script):
    text = script("cluster=msi", "cluster.container=/images/deeprob.sif", "cluster.modules=[apptainer]")
    assert "module load apptainer" in text
    assert 'apptainer exec --nv /images/deeprob.sif deeprob "$@"' in text


def test_a_task_runs_its_own_line_and_leaves_its_exit_code(script, tmp_path):
    script(
        "cluster=local",
        "cluster.python=echo",
        "+cluster.environment.MINE=a b",
        "cluster.setup=['echo set up $MINE']",
        tasks=("deeprob one", "deeprob two 'with spaces'; false"),
    )
    done = subprocess.run(
        ["bash", tmp_path / "a job/job.sh", "1"], capture_output=True, text=True, check=False
    )
    assert "set up a b\n" in done.stdout
    assert "-m deeprob two with spaces\n" in done.stdout
    assert done.returncode == 1
    assert (tmp_path / "a job/exit/1").read_text() == "1\n"


@pytest.mark.parametrize(
    ("code", "restarts", "queued"),
    [(75, 9, True), (138, 9, True), (137, 2, True), (137, 3, False), (1, 0, False)],
)
def test_what_was_stopped_and_not_what_failed_goes_back_into_the_queue(
    script, tmp_path, monkeypatch, code, restarts, queued
):
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name, body in (("srun", f"exit {code}"), ("scontrol", 'echo "$@" > asked; exit 1')):
        (bin_folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (bin_folder / name).chmod(0o755)
    script("cluster=slurm", f"cluster.setup=['PATH={bin_folder}:$PATH']")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "12")
    monkeypatch.setenv("SLURM_RESTART_COUNT", str(restarts))
    done = subprocess.run(["bash", tmp_path / "a job/job.sh"], capture_output=True, check=False)
    assert (tmp_path / "asked").is_file() == queued
    if queued:
        assert (tmp_path / "asked").read_text() == "requeue 12_0\n"
        assert done.returncode in (1, code)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10", 600),
        ("10:30", 630),
        ("1:00:00", 3600),
        ("2-12", 216000),
        ("1-00:30", 88200),
        ("1-00:00:30", 86430),
        ("UNLIMITED", None),
    ],
)
def test_time_limits_are_read_as_slurm_reads_them(text, expected):
    assert seconds(text) == expected


def test_a_time_limit_that_is_none_is_named():
    with pytest.raises(InputError, match=r"cluster\.time is 'soon'"):
        seconds("soon")


def test_a_time_limit_must_leave_time_before_the_warning():
    with pytest.raises(InputError, match=r"is not longer than cluster\.signal_seconds=120"):
        check_time(compose("submit", ["cluster=slurm", "cluster.time='2'"]).cluster)
    check_time(compose("submit", ["cluster=slurm", "cluster.time='3'"]).cluster)
