"""A run folder as training and evaluation leave it, made in milliseconds without either."""

import json
import re
import shutil
import subprocess
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from deeprob.evaluation.evaluate import measure
from deeprob.evaluation.predictions import Predictions, most_telling, thumbnails
from deeprob.runs import Run, write_json

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
Look = namedtuple("Look", "dom console overflow")
CLASSES = ("banana", "cracker box", "mug", "<b>odd & name</b>")


def predictions_of_a_model(
    seed: int = 0, count: int = 240, skill: float = 2.0, data_seed: int = 0
) -> Predictions:
    """A model that is right on most samples; the same `data_seed` gives the same samples."""
    data = np.random.default_rng(data_seed)
    labels = data.integers(len(CLASSES), size=count)
    images = data.integers(256, size=(count, 8, 8, 3), dtype=np.uint8)
    rng = np.random.default_rng([seed, data_seed])
    logits = rng.normal(size=(count, len(CLASSES))).astype(np.float32)
    logits[np.arange(count), labels] += skill
    chance = np.full((count, len(CLASSES)), 1 / len(CLASSES))
    plain = Predictions(logits, labels, np.arange(count) // 6, [], CLASSES)
    shown = most_telling(plain.probabilities, labels)
    keys = [f"scene {i // 6} box {i % 6}" for i in range(count)]
    return Predictions(
        *(logits, labels, plain.units, keys, CLASSES, {"majority": chance}, thumbnails(images[shown]), shown)
    )


def run_folder(path: Path, predictions: Predictions, seed: int = 0, experiment: str | None = None) -> Run:
    """Put everything that a finished run holds, but checkpoints, into `path`."""
    path.mkdir(parents=True)
    run = Run(path)
    run.config.write_text("name: demo\nseed: 0\nevaluation:\n  split: test\n")
    run.overrides.write_text("experiment=demo\nname='two words'\n")
    run.environment.write_text(json.dumps({"cpu": "Example CPU", "threads": 2, "gpus": []}))
    rows = []
    for epoch in range(4):
        for step in range(5):
            rows.append({"step": epoch * 5 + step, "train/loss_step": 2 / (epoch + 1) + 0.05 * step})
        rows.append({"step": epoch * 5 + 4, "epoch": epoch, "val/loss": 1.8 / (epoch + 1)})
        rows.append({"step": epoch * 5 + 4, "epoch": epoch, "train/top1_accuracy": 0.5 + 0.1 * epoch})
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    predictions.save(run, "test")
    results = {
        "schema": 1,
        "run_id": run.run_id,
        "experiment": experiment or run.experiment,
        "task": "classification",
        "split": "test",
        "checkpoint": "best",
        "seed": seed,
        **measure(predictions, samples=200, seed=0),
        "cost": {
            "parameters": 12345,
            "flops_per_sample": 2.5e6,
            "train_seconds": 31.5,
            "samples_per_second": 800.0,
            "peak_memory_bytes": None,
        },
        "data": {
            "source": "demo scenes",
            "real": False,
            "train": 900,
            "val": 100,
            "test": len(predictions.labels),
        },
    }
    write_json(run.results(), results)
    return run


@pytest.fixture(scope="session")
def make_predictions():
    return predictions_of_a_model


@pytest.fixture(scope="session")
def write_run():
    return run_folder


@pytest.fixture
def finished_run(tmp_path: Path) -> Run:
    return run_folder(tmp_path / "runs" / "demo" / "20260101-120000", predictions_of_a_model())


@pytest.fixture
def browse(tmp_path):
    """Open a page in a browser of some width, run JavaScript in it, and tell what was drawn and said."""
    if CHROMIUM is None:
        pytest.skip("no chromium on PATH; on Debian: apt-get install chromium")

    def look(path: Path, width: int, script: str = "") -> Look:
        overflow = "document.body.dataset.overflow = document.documentElement.scrollWidth - innerWidth;"
        check = f"<script>addEventListener('load', () => {{{script}{overflow}}});</script></body>"
        page = tmp_path / "checked.html"
        page.write_text(path.read_text(encoding="utf-8").replace("</body>", check), encoding="utf-8")
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
        done = subprocess.run(
            [CHROMIUM, *options, f"--window-size={width},2000", "--dump-dom", page.as_uri()],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        overflow = int(re.search(r'data-overflow="(-?\d+)"', done.stdout)[1])
        return Look(done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line], overflow)

    return look
