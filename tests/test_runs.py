import errno
import io
import json
import os
import signal
import stat
import subprocess
import sys

import numpy as np
import pytest

from deeprob.errors import InputError
from deeprob.runs import Run, given_run_id
from deeprob.writing import append_line, atomic_file, naming, sweep, write_json, write_new, write_text


def test_a_file_appears_whole(tmp_path):
    write_text(tmp_path / "deep" / "a.txt", "whole")
    assert (tmp_path / "deep" / "a.txt").read_text() == "whole"
    assert os.listdir(tmp_path / "deep") == ["a.txt"]


def test_a_failure_while_writing_leaves_the_old_file_and_no_rest(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def write_and_fail():
        with atomic_file(path) as file:
            file.write("half of the n")
            raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space left"):
        write_and_fail()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_kill_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"value": 1})
    program = (
        "import os, pathlib, signal\n"
        "from deeprob.writing import atomic_file\n"
        f"with atomic_file(pathlib.Path({str(path)!r})) as file:\n"
        "    file.write('half'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == -signal.SIGKILL
    assert json.loads(path.read_text()) == {"value": 1}


def test_a_new_file_is_written_by_one_of_many(tmp_path):
    path = tmp_path / "config.yaml"
    program = (
        "import pathlib, sys\nfrom deeprob.writing import write_new\n"
        f"print(write_new(pathlib.Path({str(path)!r}), sys.argv[1]))\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", program, f"{n}"], stdout=subprocess.PIPE, text=True)
        for n in range(4)
    ]
    told = [writer.communicate(timeout=30)[0] for writer in writers]
    assert sorted(told) == ["False\n"] * 3 + ["True\n"]
    assert path.read_text() == str(told.index("True\n"))
    assert os.listdir(tmp_path) == ["config.yaml"]


def test_a_new_file_is_written_where_there_are_no_hard_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError("Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert write_new(tmp_path / "a.txt", "first")
    assert not write_new(tmp_path / "a.txt", "second")
    assert (tmp_path / "a.txt").read_text() == "first"


def test_files_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


def test_nan_is_refused_in_json(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"value": float("nan")})
    assert not (tmp_path / "a.json").exists()


def full(*_):
    raise OSError(28, "No space left on device")


def test_a_full_disk_names_what_was_being_written(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*a\.txt'"):
        write_text(tmp_path / "a.txt", "x")
    assert os.listdir(tmp_path) == []


def test_a_full_disk_under_torch_is_a_full_disk(tmp_path):
    import torch

    class Full(io.BytesIO):
        def write(self, data):
            full()

    with pytest.raises(OSError, match=r"No space left on device: '.*a\.ckpt'"), naming(tmp_path / "a.ckpt"):
        torch.save({"a": torch.zeros(1000)}, Full())


def test_another_error_is_left_as_it_is(tmp_path):
    with pytest.raises(ValueError, match="wrong"), naming(tmp_path / "a"):
        raise ValueError("wrong")
    with pytest.raises(FileNotFoundError, match="b"), naming(tmp_path / "a"):
        open(tmp_path / "b")  # noqa: SIM115


def test_a_line_after_one_that_was_cut_off_stands_alone(tmp_path):
    path = tmp_path / "metrics.jsonl"
    append_line(path, '{"step": 0}')
    with open(path, "a") as file:
        file.write('{"ste')
    append_line(path, '{"step": 1}')
    assert path.read_text() == '{"step": 0}\n{"ste\n{"step": 1}\n'


def test_a_text_that_utf8_has_no_place_for_is_written(tmp_path):
    write_text(tmp_path / "a.html", "caf\udce9 ü")
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == r"caf\udce9 ü"


def test_two_runs_of_the_same_second_get_their_own_folders(tmp_path):
    paths = {Run.create(tmp_path, "e", None).path for _ in range(3)}
    assert len(paths) == 3


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"DEEPROB_RUN_ID": "mine", "SLURM_JOB_ID": "7"}, "mine"),
        ({"SLURM_JOB_ID": "7"}, "7"),
        ({"SLURM_JOB_ID": "8", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"}, "7_3"),
    ],
)
def test_a_requeued_job_finds_its_own_folder(tmp_path, monkeypatch, environment, expected):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert given_run_id() == expected
    first, again = Run.create(tmp_path, "e", expected), Run.create(tmp_path, "e", expected)
    assert first.path == again.path == tmp_path / "e" / expected


def test_a_missing_run_folder_is_one_clear_line(tmp_path):
    with pytest.raises(InputError, match="no such run folder; list them with"):
        Run.find(tmp_path / "nothing")


def test_a_folder_without_config_is_no_run(tmp_path):
    with pytest.raises(InputError, match=r"config\.yaml is missing"):
        Run.find(tmp_path)


def test_a_row_cut_off_by_a_kill_is_left_out(tmp_path):
    run = Run(tmp_path)
    run.metrics.write_text('{"step": 1}\n{"step": 2}\n{"ste')
    assert run.read_metrics() == [{"step": 1}, {"step": 2}]


def test_results_that_are_not_there_name_the_command_that_makes_them(tmp_path):
    with pytest.raises(InputError, match="deeprob evaluate run="):
        Run(tmp_path).read_results()


def test_broken_results_are_named(tmp_path):
    Run(tmp_path).results().write_text("{")
    with pytest.raises(InputError, match=r"results\.json: broken JSON"):
        Run(tmp_path).read_results()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", r"the whole is \[\]; expected names with values"),
        ("null", "the whole is None"),
        ('{"run_id": "a", "experiment": "b"}', "without task, split, metrics, cost, data"),
    ],
)
def test_results_of_another_form_are_one_line(tmp_path, text, said):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(InputError, match=rf"results\.json: {said}.*; run: deeprob evaluate"):
        Run(tmp_path).read_results()


def test_the_second_process_in_a_folder_is_refused(tmp_path):
    run = Run(tmp_path)
    program = (
        "import pathlib\nfrom deeprob.runs import Run\n"
        f"with Run(pathlib.Path({str(tmp_path)!r})).locked(): print('in')\n"
    )
    with run.locked():
        inside = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    after = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "another process is training in this folder" in inside.stderr
    assert after.stdout == "in\n"


def test_a_job_that_was_queued_again_waits_for_a_lock_that_is_let_go_late(tmp_path, monkeypatch):
    run = Run(tmp_path)
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import pathlib, time\nfrom deeprob.runs import Run\n"
            f"with Run(pathlib.Path({str(tmp_path)!r})).locked():\n"
            "    print('in', flush=True)\n    time.sleep(1)\n",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout.readline() == "in\n"
    with pytest.raises(InputError, match="another process is training"), run.locked():
        pass
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    with run.locked():
        assert holder.wait(10) == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"metrics": {"top1_accuracy": 0.5}}, r"metrics\.top1_accuracy is 0\.5; expected names with values"),
        (
            {"metrics": {"top1_accuracy": {"value": "a"}}},
            r"metrics\.top1_accuracy\.value is 'a'; expected a number",
        ),
        (
            {"metrics": {"a": {"value": 1.0, "ci95": [0.1]}}},
            r"metrics\.a\.ci95 is \[0\.1\]; expected a list of 2",
        ),
        ({"seed": -1}, "seed is -1; expected a whole number"),
        ({"cost": []}, r"cost is \[\]; expected names with values"),
        ({"split": None}, "split is None; expected text"),
    ],
)
def test_a_wrong_value_of_the_results_is_named(tmp_path, change, said):
    good = {
        "run_id": "a",
        "experiment": "b",
        "task": "classification",
        "split": "val",
        "metrics": {"top1_accuracy": {"value": None, "ci95": None, "n": 3}},
        "cost": {"parameters": 3},
        "data": {"source": "c", "real": True, "val": 3},
        "later": {"any": "thing"},
    }
    write_json(tmp_path / "results.json", good)
    assert Run(tmp_path).read_results() == good
    write_json(tmp_path / "results.json", good | change)
    with pytest.raises(InputError, match=rf"results\.json: {said}"):
        Run(tmp_path).read_results()


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"[" * 100_000, b'{"epochs": NaN}', b'{"epochs": 1e400}', b"5"]
)
def test_a_broken_record_is_one_line(tmp_path, content):
    (tmp_path / "training.json").write_bytes(content)
    with pytest.raises(InputError, match=r"training\.json: .*; run: deeprob train run="):
        Run(tmp_path).read_training()


def test_rows_of_another_form_are_left_out(tmp_path):
    rows = ["5", "null", '{"step": "x"}', '{"step": 0, "val/loss": "x"}', '{"step": 1, "val/loss": 0.5}']
    (tmp_path / "metrics.jsonl").write_text("\n".join(rows) + "\n")
    assert Run(tmp_path).read_metrics() == [{"step": 1, "val/loss": 0.5}]
    start = '{"time": 1.5, "step": 0, "total_steps": 3, "job": null, "restart": 0}'
    (tmp_path / "attempts.jsonl").write_text("{}\n" + start + '\n{"step')
    assert Run(tmp_path).read_attempts() == [json.loads(start)]


def test_what_killed_writers_left_is_swept_and_a_living_ones_file_stays(tmp_path):
    (tmp_path / ".a.json.x.partial").write_text("half")
    with atomic_file(tmp_path / "b.json") as file:
        for path in tmp_path.glob(".*.partial"):
            os.utime(path, (0, 0))
        sweep(tmp_path)
        (living,) = tmp_path.glob(".*.partial")
        assert living.name.startswith(".b.json")
        file.write("{}")
    assert os.listdir(tmp_path) == ["b.json"]


def test_an_array_that_finds_no_room_is_told_with_its_path(tmp_path):
    with (
        pytest.raises(OSError, match="no room for all of it") as caught,
        naming(tmp_path / "images.npy"),
        open("/dev/full", "wb") as file,
    ):
        np.zeros(100_000).tofile(file)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / "images.npy"))
