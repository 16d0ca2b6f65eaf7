"""The script that a scheduler gets."""

import shutil
import subprocess

import pytest

from deeprob.cluster.job import Job
from deeprob.cluster.script import check, check_time, seconds, secret, write_script
from deeprob.cluster.tasks import Task
from deeprob.config import compose
from deeprob.errors import InputError


@pytest.fixture
def script(tmp_path):
    """Write the script of two tasks for overrides of `deeprob submit`; return its text."""

    def write(*overrides, tasks=("deeprob train a", "deeprob train b"), shape=(1, 1), name="a job"):
        tasks = [Task("", line) for line in tasks]
        folder = tmp_path / name
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


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="no shellcheck here: apt-get install shellcheck")
@pytest.mark.parametrize(
    "overrides",
    [
        ["cluster=local"],
        ["cluster=slurm", "cluster.requeue=false", "cluster.python=/a b/python"],
        ["cluster=slurm", "cluster.modules=[cuda/12.1,a b]", "cluster.umask='027'"],
        ["cluster=msi", "cluster.setup=['echo hello']", "cluster.container_options=[--nv, --bind, a b]"],
    ],
)
def test_scripts_are_clean_for_shellcheck(script, tmp_path, overrides):
    script(*overrides, "+cluster.environment.MINE='it is \\'quoted\\''", name="100% 'mine' #1 ü")
    (path,) = tmp_path.glob("*/job.sh")
    done = subprocess.run(["shellcheck", "--shell=bash", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_a_folder_of_any_name_is_quoted_as_sbatch_reads_it(script, tmp_path):
    text = script("cluster=slurm", name="100% 'mine' #1 ü")
    assert f"--output=\"{tmp_path}/100%% 'mine' #1 ü/logs/%a.log\"" in text


def test_the_files_of_tasks_have_the_mask_asked_for(script, tmp_path):
    script("cluster=local", "cluster.umask='027'", "cluster.python=echo")
    subprocess.run(["bash", tmp_path / "a job/job.sh", "0"], check=True, capture_output=True)
    assert (tmp_path / "a job/exit/0").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["cluster.modules=[no-such-module]", "cluster.setup=['echo on']"], "no module no-such-module"),
        (["cluster.setup=['cd /proc/none || stop \"no such folder\"']"], "no such folder"),
    ],
)
def test_what_cannot_be_set_up_stops_the_task_with_a_line(script, tmp_path, overrides, said):
    script("cluster=local", "cluster.python=echo", *overrides)
    script_path = tmp_path / "a job/job.sh"
    done = subprocess.run(["bash", script_path, "0"], capture_output=True, text=True, check=False)
    assert said in done.stderr
    assert done.returncode == 2
    assert (tmp_path / "a job/exit/0").read_text() == "2\n"
    assert "deeprob" not in done.stdout


def test_a_task_whose_folder_is_gone_does_not_run_elsewhere(script, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    script("cluster=local", "cluster.python=echo")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").rmdir()
    done = subprocess.run(
        ["bash", tmp_path / "a job/job.sh", "0"], capture_output=True, text=True, check=False
    )
    assert "the folder that this was submitted from is not there" in done.stderr
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["+cluster.environment.WANDB_API_KEY=a"],
            "WANDB_API_KEY would be written .*; export WANDB_API_KEY",
        ),
        (["+cluster.environment.my_token=a"], "my_token would be written"),
        (["+cluster.environment.GH_PAT=a"], "GH_PAT would be written"),
        (["cluster.setup=['export MYSQL_PWD=a']"], "cluster.setup: MYSQL_PWD would be .*MYSQL_PWD=.*cat"),
        (["cluster.options=['--export=ALL,HF_TOKEN=a']"], "cluster.options: HF_TOKEN would be written"),
        (["+cluster.environment.A-B=a"], "'A-B' is no name of a variable"),
        (["cluster.umask='9'"], "cluster.umask is '9'; expected such as '027'"),
        (["cluster.container=/none.sif"], "/none.sif: no such image"),
        (['cluster.partition="a\nb"'], "cluster.partition: a line break"),
    ],
)
def test_what_no_script_can_be_made_of_is_one_line(overrides, said):
    with pytest.raises(InputError, match=said) as error:
        check(compose("submit", ["cluster=slurm", *overrides]).cluster)
    assert "\n" not in str(error.value)


def test_without_requeue_nothing_is_asked_for(script):
    text = script("cluster=slurm", "cluster.requeue=false")
    assert "--no-requeue" in text
    assert "--signal" not in text
    assert "scontrol" not in text


def test_a_container_takes_the_place_of_python(script):
    text = script(
        "cluster=msi",
        "cluster.scratch=/fast",
        "cluster.container=/images/deeprob.sif",
        "cluster.modules=[apptainer]",
    )
    assert "module load apptainer" in text
    assert 'apptainer exec --bind /fast --nv /images/deeprob.sif deeprob "$@"' in text


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
    [(75, 9, True), (138, 9, True), (143, 9, True), (137, 2, True), (137, 3, False), (1, 0, False)],
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


@pytest.mark.parametrize(
    "name",
    "AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY GH_PAT OPENAI_API_KEY_2 MYSQL_PWD PGPASSWORD apikey DB_PASS "
    "KEY2 SESSION_COOKIE AZURE_CREDENTIALS SLACK_TOKENS SSHPASS SENTRY_DSN NPM_AUTH SLACK_WEBHOOK".split(),
)
def test_the_name_of_a_secret_is_known(name):
    assert secret(name, "something")


@pytest.mark.parametrize(
    "name",
    "PATH PWD KEYBOARD PATTERN TOKENIZERS_PARALLELISM COMPASS OMP_NUM_THREADS SECRETARY PASSES "
    "XAUTHORITY BYPASS".split(),
)
def test_what_only_sounds_like_a_secret_is_none(name):
    assert not secret(name, "something")


@pytest.mark.parametrize(
    ("value", "is_one"),
    [
        ("ghp_abcdef", True),
        ("AKIAABCDEF", True),
        ("postgres://me:word@host/db", True),
        ("http://host:80/path", False),
        ("Bearer abc.def", True),
        ("https://0123456789abcdef@o1.ingest.sentry.io/2", True),
        ("hello", False),
    ],
)
def test_a_secret_is_known_by_its_value(value, is_one):
    assert secret("SETTING", value) == is_one


@pytest.mark.parametrize("value", ["/home/me/key.json", "~/key", "$(cat key)", "'$OTHER'"])
def test_where_a_secret_lies_is_none(value):
    assert not secret("API_KEY", value)
