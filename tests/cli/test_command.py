import errno
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from deeprob.cli import main
from deeprob.cli.help import VERBS
from deeprob.cli.streams import Enduring


def run(*arguments, **options):
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, **options)


@pytest.mark.parametrize("arguments", [["--help"], *([verb, "--help"] for verb in VERBS)])
def test_help_imports_nothing_heavy(arguments):
    done = run("-X", "importtime", "-m", "deeprob", *arguments)
    assert done.returncode == 0
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert not imported & {"torch", "lightning", "hydra", "omegaconf", "numpy", "pybullet", "wandb"}
    assert "deeprob" in done.stdout


def test_the_help_of_a_verb_lists_the_choices_of_its_groups(capsys):
    assert main(["train", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "experiment  " in shown
    assert "quickstart " in shown
    assert "resnet_small" in shown


def test_a_misspelt_verb_is_refused_with_the_nearest(capsys):
    assert main(["trian"]) == 2
    assert "did you mean: deeprob train?" in capsys.readouterr().err


def test_a_misspelt_key_is_one_line_and_exit_code_2(capsys):
    assert main(["train", "experiment=quickstart", "sede=1"]) == 2
    error = capsys.readouterr().err
    assert error == "deeprob train: configs/train.yaml: no key 'sede'; did you mean seed?\n"


def test_every_verb_has_its_file_and_script():
    root = Path(__file__).resolve().parents[2]
    for verb in VERBS:
        assert (root / "deeprob" / "cli" / f"{verb}.py").is_file()
        assert f'main(["{verb}"' in (root / "scripts" / f"{verb}.py").read_text()


def test_the_composed_config_can_be_shown(capsys):
    assert main(["train", "experiment=robocup", "--cfg", "job"]) == 0
    assert "name: robocup" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("deeprob tr", "train"),
        ("deeprob train experiment=", "experiment=quickstart"),
        ("deeprob train experiment=quickstart mod", "model="),
    ],
)
def test_the_shell_completes_verbs_and_keys(line, expected, monkeypatch, capsys):
    monkeypatch.setenv("COMP_LINE", line)
    assert main(["-sc", "query=bash"]) == 0
    assert expected in capsys.readouterr().out.split()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "--bogus"], "unrecognized arguments: --bogus; expected key=value"),
        (["train", "--cfg", "nonsense"], "invalid choice: 'nonsense'"),
        (["train", "name=x", "paths.runs_dir=/proc/none"], "/proc/none/x: no folder can be made here"),
        (["fetch", "robocup_msl", "paths.data_dir=/proc/none"], "/proc/none: no folder can be made here"),
        (["report", "run=x", "runs=y"], "run= and runs= together; expected either"),
        (["submit", "nothing"], "'nothing' cannot be submitted"),
    ],
)
def test_a_mistake_of_any_verb_is_one_line_and_exit_code_2(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1


def test_help_can_be_asked_for_in_front(capsys):
    assert main(["help", "fetch"]) == 0
    assert "deeprob fetch <name>" in capsys.readouterr().out


def test_a_disk_that_fills_up_is_one_line_and_exit_code_1(monkeypatch, capsys):
    from deeprob.cli import fetch

    def fail(arguments):
        raise OSError(28, "No space left on device", "/data/archive.part")

    monkeypatch.setattr(fetch, "main", fail)
    assert main(["fetch", "robocup_msl"]) == 1
    assert capsys.readouterr().err == "deeprob fetch: /data/archive.part: No space left on device\n"


def test_a_disk_that_fills_up_somewhere_is_one_line(monkeypatch, capsys):
    from deeprob.cli import fetch

    def fail(arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fetch, "main", fail)
    assert main(["fetch", "robocup_msl"]) == 1
    assert capsys.readouterr().err == "deeprob fetch: No space left on device\n"


def test_a_run_folder_that_is_not_there_is_exit_code_2(capsys):
    assert main(["train", "run=runs/none/such"]) == 2
    assert "no such run folder" in capsys.readouterr().err


def test_info_names_what_is_missing_and_what_to_do(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setenv("WANDB_API_KEY", "not-a-real-key-000")
    assert main(["info", f"paths.data_dir={tmp_path}"]) == 0
    shown = capsys.readouterr().out
    assert "torch 2." in shown
    assert "set paths.data_dir" in shown
    assert "not-a-real-key" not in shown


@pytest.mark.parametrize("arguments", ["--help", "train --help"])
def test_a_reader_that_leaves_early_ends_it_quietly(arguments):
    command = f"{sys.executable} -m deeprob {arguments} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "Error" not in done.stderr


def test_a_locale_of_ascii_shows_question_marks():
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii:strict"}
    code = r"from deeprob.cli.streams import endure; endure(); print('2 \u00d7 3')"
    done = run("-c", code, env={**os.environ, **plain})
    assert (done.returncode, done.stdout) == (0, "2 ? 3\n"), done.stderr


def test_without_a_home_the_folders_are_found(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("DEEPROB_CACHE", raising=False)
    monkeypatch.setenv("COLUMNS", "300")
    assert main(["info"]) == 0
    shown = capsys.readouterr().out
    assert "/.cache/deeprob" in shown
    assert "~" not in shown
    assert not list(tmp_path.iterdir())


def shell(line, **options):
    """Run a line of bash; `deeprob` in it is the command."""
    line = f'deeprob() {{ "{sys.executable}" -m deeprob "$@"; }}; {line}'
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, check=False, timeout=120, **options
    )


def test_a_full_disk_under_standard_output_is_one_line():
    done = shell("deeprob --help > /dev/full")
    assert done.returncode == 1
    assert done.stderr == "deeprob: standard output: No space left on device\n"


@pytest.mark.parametrize("line", ["deeprob --help >&-", "deeprob --help >&- 2>&-", "deeprob --help <&-"])
def test_closed_streams_are_no_fault(line):
    done = shell(line)
    assert done.returncode == 0
    assert done.stderr == ""


def test_a_line_of_error_into_a_full_disk_keeps_the_exit_code():
    assert shell("deeprob trian 2> /dev/full").returncode == 2


def test_a_working_folder_that_was_deleted_is_one_line(tmp_path):
    root = Path(__file__).resolve().parents[2]
    done = shell(
        f"mkdir '{tmp_path}/gone'; cd '{tmp_path}/gone'; rmdir ../gone; deeprob train experiment=quickstart",
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert done.returncode == 2
    assert done.stderr == "deeprob train: the working folder is gone; cd to one that is there\n"


def test_what_is_written_to_a_full_disk_goes_nowhere_and_why_is_kept():
    with Enduring("/dev/full", "w") as raw:
        assert raw.write(b"a line") == 6
        assert raw.lost.errno == errno.ENOSPC
        assert raw.write(b"more") == 4


def test_a_training_outlives_whoever_reads_its_output(squares_overrides, tmp_path):
    line = shlex.join(["train", *squares_overrides, "trainer.max_epochs=2", "evaluation.baselines=[]"])
    done = shell(f"deeprob {line} | head -1; exit ${{PIPESTATUS[0]}}")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    (results,) = tmp_path.glob("runs/squares/*/results.json")
    assert json.loads(results.read_text())["metrics"]["top1_accuracy"]["n"] == 36
    assert not results.with_name("error.txt").exists()
