"""Judging features: neighbours, probe, and what they stand beside."""

import numpy as np
import pytest
import torch
from fixtures.tasks import finished
from torch import nn

from deeprob.config import compose
from deeprob.metrics.representation import nearest_elsewhere
from deeprob.tasks.representation.task import random_weights


def test_the_nearest_of_another_group_is_found_by_its_direction():
    features = np.array([[1.0, 0], [2.0, 0.1], [5.0, 0], [0, 1.0]])
    assert nearest_elsewhere(features, np.array([0, 0, 1, 1])).tolist() == [2, 2, 0, 1]


def test_in_one_group_it_is_any_other_sample():
    features = np.array([[1.0, 0], [2.0, 0.1], [0, 1.0]])
    assert nearest_elsewhere(features, np.zeros(3, np.int64)).tolist() == [1, 0, 1]


def test_random_weights_are_others_and_the_same_each_time():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    model[1].running_mean += 3
    first, again = random_weights(model), random_weights(model)
    assert torch.equal(first[0].weight, again[0].weight)
    assert not torch.equal(first[0].weight, model[0].weight)
    assert first[1].running_mean.abs().max() == 0


@pytest.fixture(scope="module")
def overrides(overrides_of):
    """Those of the crops, without the network and where a run lies."""
    others = ("model", "optim", "name", "paths.runs_dir")
    return [o for o in overrides_of("crops") if not o.startswith(others)]


@pytest.fixture(scope="module")
def run(overrides, tmp_path_factory):
    chosen = ["name=learned", "data/view=representation", "data.view.size=8", "objective=simclr"]
    small = ["model=cnn", "model.widths=[4,8]", "model.convs=1", "data.augmentation.flip=0.5"]
    place = f"paths.runs_dir={tmp_path_factory.mktemp('learned')}"
    return finished([*overrides, *chosen, *small, place], "one")


def test_a_training_without_labels_is_judged_by_probe_and_neighbours(run):
    results = run.read_results()
    assert results["task"] == "representation"
    assert set(results["metrics"]) == {"neighbour_agreement", "probe_accuracy", "knn_accuracy"}
    assert set(results["baselines"]) == {"pixels", "random_init"}
    assert results["baselines"]["pixels"]["probe_accuracy"]["value"] == 1.0  # red and light squares


def test_collapse_measures_are_logged(run):
    rows = [row for row in run.read_metrics() if "train/effective_rank" in row]
    assert all(1 <= row["train/effective_rank"] <= 8 for row in rows)
    assert len(rows) == 2


def test_another_run_starts_from_it(run, overrides, tmp_path):
    small = ["name=after", "data.view.size=8", "model=cnn", "model.widths=[4,8]", "model.convs=1"]
    place = f"paths.runs_dir={tmp_path}"
    given = [*overrides, *small, place, f"model.pretrained={run.path}", "trainer.max_epochs=1"]
    after = finished(given, "one")
    start = torch.load(run.checkpoint("best"), weights_only=True)["state_dict"]
    assert compose("train", [*overrides, *small]).data.view.size == 8
    assert after.read_results()["task"] == "classification"
    assert "model.stages.0.conv1.weight" in start
