"""The verbs on a real, small training: what a user sees, what lies in the folder, how it ends."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from deeprob.cli import main
from deeprob.runs import Run


@pytest.fixture
def train(squares_overrides, capsys):
    """Run `deeprob train` on the squares: gives exit code, what was printed, and the newest run folder."""

    def run(*overrides):
        code = main(["train", *squares_overrides, *overrides])
        shown = capsys.readouterr()
        folders = sorted(Path("runs/squares").glob("*"), key=lambda p: p.stat().st_mtime)
        return code, shown, folders[-1] if folders else None

    return run


def test_a_training_ends_with_a_table_and_the_reports_path(train):
    code, shown, folder = train("trainer.max_epochs=6")
    assert code == 0
    assert "top1_accuracy" in shown.out
    assert shown.out.splitlines()[-1] == f"report  {folder.resolve()}/report.html"
    results = json.loads((folder / "results.json").read_text())
    assert results["schema"] == 1
    assert results["experiment"] == "squares"
    assert results["split"] == "val"
    top1 = results["metrics"]["top1_accuracy"]
    assert top1["n"] == 36
    low, high = top1["ci95"]
    assert low <= top1["value"] <= high
    assert set(results["baselines"]) == {"majority", "knn"}
    assert results["data"] == {"source": "squares", "real": True, "train": 72, "val": 36}
    assert results["cost"]["parameters"] > 0


def test_evaluate_and_report_need_the_folder_alone(train, capsys):
    _, _, folder = train()
    before = json.loads((folder / "results.json").read_text())["metrics"]
    (folder / "results.json").unlink()
    (folder / "report.html").unlink()
    assert main(["evaluate", f"run={folder}"]) == 0
    assert json.loads((folder / "results.json").read_text())["metrics"] == before
    assert main(["evaluate", f"run={folder}", "split=train", "checkpoint=last"]) == 0
    assert json.loads((folder / "results_train.json").read_text())["metrics"]["top1_accuracy"]["n"] == 72
    assert main(["report", f"run={folder}"]) == 0
    assert (folder / "report.html").is_file()
    assert main(["evaluate", f"run={folder}", "split=test"]) == 2
    assert "no split 'test'" in capsys.readouterr().err


def test_places_tell_apart_what_looks_the_same(train, squares):
    for number, label in enumerate(sorted(squares.glob("*/*.txt"))):
        class_id = int(label.name[0])
        cv2.imwrite(str(label.with_suffix(".png")), np.full((40, 40, 3), 128, np.uint8))
        top = 10 * class_id + number % 5
        label.write_text(f"{class_id} 0.5 {(top + 6) / 40} {(8 + number % 7) / 40} {12 / 40}\n")
    code, _, folder = train("data.view.channels=5", "data.augmentation.flip=0.5", "trainer.max_epochs=12")
    assert code == 0
    assert json.loads((folder / "results.json").read_text())["metrics"]["top1_accuracy"]["value"] > 0.9
    assert main(["evaluate", f"run={folder}", "robustness=true"]) == 0
    clean = json.loads((folder / "robustness_val.json").read_text())["clean"]["value"]
    assert clean > 0.9
    assert main(["graph", f"run={folder}", "show=table"]) == 0


def test_missing_data_is_one_line_and_exit_code_2(train):
    code, shown, folder = train("data.root=/not/there")
    assert (code, folder) == (2, None)  # what was refused leaves no run behind
    assert (
        shown.err == "deeprob train: /not/there: no such folder; set data.root, or paths.data_dir above it\n"
    )


def test_a_failed_run_is_one_line_a_traceback_file_and_exit_code_1(train):
    code, shown, folder = train("optim.optimizer.lr=1e30", "model.norm=false")
    assert code == 1
    assert re.fullmatch(r"deeprob train: failed: step \d+: .* is not finite; .*\n", shown.err)
    assert "Traceback" in (folder / "error.txt").read_text()
    assert not (folder / "results.json").exists()


def test_a_full_disk_ends_a_training_with_the_path_it_had_no_room_for(train, monkeypatch):
    import torch

    def full(content, file):
        raise RuntimeError("[enforce fail at inline_container.cc:672]") from OSError(
            28, "No space left on device"
        )

    monkeypatch.setattr(torch, "save", full)
    monkeypatch.setattr("deeprob.cli.train._keep", lambda run, text: False)  # nor is there for error.txt
    code, shown, folder = train("trainer.max_epochs=1")
    assert code == 1
    path = folder.resolve() / "checkpoints" / "best.ckpt"
    assert shown.err == f"deeprob train: failed: {path}: No space left on device\n"


def test_classes_may_have_any_name(train, squares):
    (squares / "obj.names").write_text("$a$b$\nx^2_{ $\n<b>&\n")
    code, shown, folder = train("trainer.max_epochs=1")
    assert code == 0, shown.err
    assert "$a$b$" in (folder / "report.html").read_text()


def test_a_run_goes_on_with_more_epochs(train):
    _, _, folder = train("trainer.max_epochs=1")
    assert main(["train", f"run={folder}", "trainer.max_epochs=2"]) == 0
    assert json.loads((folder / "training.json").read_text())["epochs"] == 2
    assert (folder / "overrides.txt").read_text().splitlines()[-1] == "trainer.max_epochs=2"


@pytest.mark.slow
def test_ctrl_c_leaves_a_run_that_goes_on(squares_overrides):
    command = [sys.executable, "-m", "deeprob", "train", *squares_overrides, "trainer.max_epochs=500"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "DEEPROB_RUN_ID": "mine"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    folder = Path("runs/squares/mine")
    end = time.monotonic() + 120
    while not (folder / "checkpoints" / "last.ckpt").is_file() and time.monotonic() < end:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"go on with: deeprob train run={folder.resolve()}" in error
    assert "Traceback" not in error
    import torch

    epoch = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["epoch"]
    assert main(["train", f"run={folder}", f"trainer.max_epochs={epoch + 2}"]) == 0
    assert json.loads((folder / "training.json").read_text())["epochs"] == epoch + 2


def test_a_model_of_ones_own_trains_and_is_evaluated(squares_overrides, tmp_path, monkeypatch, capsys):
    (tmp_path / "own_package.py").write_text(
        "import torch\n\n\n"
        "class Flat(torch.nn.Sequential):\n"
        "    def __init__(self, num_classes, width):\n"
        "        super().__init__(torch.nn.Flatten(), torch.nn.Linear(768, width), torch.nn.ReLU())\n"
        "        self.append(torch.nn.Linear(width, num_classes))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "flat.yaml").write_text("_target_: own_package.Flat\nwidth: 4\n")
    shared = [o for o in squares_overrides if not o.startswith("model.")]
    own = ["--config-dir", f"{tmp_path}/conf", *shared, "model=flat", "allowed_targets=[own_package]"]
    for verb in ("info", "graph"):
        known = [verb, *own[:2], "model=flat", "input=[3,16,16]", "num_classes=3", own[-1]]
        assert main(known) == 0, verb
    assert main(["train", *own, "trainer.max_epochs=1"]) == 0
    (folder,) = tmp_path.glob("runs/squares/*")
    assert main(["evaluate", f"run={folder}"]) == 2
    assert "allowed_targets=[own_package]" in capsys.readouterr().err
    assert main(["evaluate", f"run={folder}", "allowed_targets=[own_package]"]) == 0


def test_a_folder_of_any_name_goes_through_every_verb(train, tmp_path):
    _, _, folder = train("trainer.max_epochs=1")
    odd = tmp_path / "läufe" / "it's (1), a=b"
    folder.rename(odd.parent.mkdir() or odd)
    for verb in ("evaluate", "report", "train"):
        assert main([verb, *shlex.split(Run(odd).argument)]) == 0
