"""Robustness on the real loader with a model that looks at one thing only: how bright the image is."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from rich.console import Console

from deeprob.data.batches.loader import BatchLoader
from deeprob.errors import InputError
from deeprob.evaluation.corruptions import CORRUPTIONS, NUM_SEVERITIES
from deeprob.evaluation.robustness import evaluate_robustness, path_of, read_robustness, table
from deeprob.runs import Run
from deeprob.tasks.classification.task import Classification
from deeprob.tasks.classification.view import ClassificationView, CropSamples
from deeprob.training.experiment import Experiment

EVALUATION = {"split": "test", "checkpoint": "best", "bootstrap_samples": 60, "seed": 0}


def make_split(count: int) -> CropSamples:
    """Dark images of class 0, bright ones of class 1; four of a scene."""
    labels = torch.arange(count) % 2
    levels = torch.where(labels == 1, 170, 85).to(torch.uint8)
    scenes = torch.arange(count) // 4
    return CropSamples(
        images=levels[:, None, None, None].expand(count, 8, 8, 3).contiguous(),
        labels=labels,
        units=scenes,
        groups=scenes,
        group_names=tuple(map(str, range(count))),
        keys=tuple(map(str, range(count))),
    )


def loader_of(samples: CropSamples) -> BatchLoader:
    return BatchLoader(samples, 16, ClassificationView().collate((0.5,) * 3, (1.0,) * 3))


class Brightness(torch.nn.Module):
    def forward(self, images):
        brightness = images.mean(dim=(1, 2, 3))
        return torch.stack([-brightness, brightness], 1)


@pytest.fixture
def run(tmp_path, monkeypatch) -> Run:
    splits = {"test": make_split(40), "empty": make_split(0)}
    sizes = {name: len(split) for name, split in splits.items()}
    data = SimpleNamespace(
        split=splits.get,
        loader_of=loader_of,
        source_name="lamps",
        real=False,
        sizes=sizes,
        classes=("off", "on"),
    )

    cfg = OmegaConf.create({"evaluation": EVALUATION, "trainer": {"channels_last": False}})
    experiment = Experiment(cfg, data, Classification(data), Brightness(), torch.device("cpu"))
    monkeypatch.setattr(
        "deeprob.evaluation.opened.load", lambda run, checkpoint, allowed, places=None: experiment
    )
    return Run(tmp_path)


def test_every_corruption_is_measured_at_every_severity(run):
    results = evaluate_robustness(run, progress=False)
    assert list(results["corruptions"]) == list(CORRUPTIONS)
    assert all(len(entries) == NUM_SEVERITIES for entries in results["corruptions"].values())
    assert read_robustness(run, "test") == results


def test_the_corruption_that_hides_what_the_model_looks_at_hurts(run):
    results = evaluate_robustness(run, progress=False)
    assert results["clean"]["value"] == 1
    assert results["corruptions"]["darker"][4]["value"] == 0.5  # all look dark
    assert results["corruptions"]["brighter"][4]["value"] == 0.5  # all look bright
    assert results["corruptions"]["jpeg"][4]["value"] == 1


def test_the_mean_is_over_all_cells(run):
    results = evaluate_robustness(run, progress=False)
    cells = [entry["value"] for entries in results["corruptions"].values() for entry in entries]
    assert results["mean"]["value"] == pytest.approx(np.mean(cells))
    low, high = results["mean"]["ci95"]
    assert low <= results["mean"]["value"] <= high


def test_an_empty_split_is_named(run):
    with pytest.raises(InputError, match="split 'empty' has no samples"):
        evaluate_robustness(run, split="empty", progress=False)


def test_a_run_that_was_not_measured_has_none(run):
    assert read_robustness(run, "val") is None
    assert not path_of(run, "val").exists()


def test_the_table_has_a_column_a_severity(run):
    output = io.StringIO()
    Console(file=output, width=80).print(table(evaluate_robustness(run, progress=False)))
    row = next(line for line in output.getvalue().splitlines() if "darker" in line)
    assert row.split()[1] == "1.000"
    assert len(row.split()) == 2 + NUM_SEVERITIES
