"""Error slices: who is in which, and what they say about a model that fails on small objects."""

import dataclasses

import numpy as np
import pytest

from deeprob.metrics.classification import softmax
from deeprob.tasks.classification import slices
from deeprob.tasks.classification.slices import error_slices


@pytest.fixture
def predictions(make_predictions):
    """Right where the box is larger than 20 pixels, wrong below; every second distance unknown."""
    found = make_predictions(count=240)
    pixels = np.linspace(10, 30, 240).astype(np.float32)
    answers = np.where(pixels > 20, found.labels, (found.labels + 1) % 4)
    probabilities = softmax(5 * np.eye(4)[answers])
    distances = np.where(np.arange(240) % 2, np.nan, 1.5 + np.arange(240) / 100)
    attributes = np.stack([pixels, distances, np.full(240, np.nan)], axis=1).astype(np.float32)
    groups = [f"session {i // 80}" for i in range(240)]
    return dataclasses.replace(found, probabilities=probabilities, attributes=attributes, groups=groups)


def test_quantities_are_cut_into_quarters(predictions):
    sizes = error_slices(predictions, samples=100, seed=0)["box_pixels"]
    assert [entry["n"] for entry in sizes] == [60] * 4
    assert [entry["value"] for entry in sizes] == [0, 0, 1, 1]
    assert sizes[0]["label"] == "10 to 15"


def test_what_is_not_known_is_in_no_slice(predictions):
    found = error_slices(predictions, samples=100, seed=0)
    assert sum(entry["n"] for entry in found["distance_m"]) == 120
    assert "visible_fraction" not in found


def test_classes_and_recordings_stand_from_the_worst(predictions):
    found = error_slices(predictions, samples=100, seed=0)
    values = [entry["value"] for entry in found["group"]]
    assert values == sorted(values)
    assert [entry["label"] for entry in found["group"]] == ["session 0", "session 1", "session 2"]
    assert {entry["label"] for entry in found["class"]} == set(predictions.classes)


def test_intervals_hold_the_value(predictions):
    for entries in error_slices(predictions, samples=100, seed=0).values():
        assert all(e["ci95"][0] <= e["value"] <= e["ci95"][1] for e in entries if e["ci95"])


def test_a_slice_of_few_samples_is_left_out(predictions):
    groups = ["rare"] * 5 + list(predictions.groups[5:])
    found = error_slices(dataclasses.replace(predictions, groups=groups), samples=100, seed=0)
    assert "rare" not in {entry["label"] for entry in found["group"]}


def test_predictions_without_attributes_have_slices_by_class_alone(make_predictions):
    assert set(error_slices(make_predictions(), samples=50, seed=0)) == {"class"}


def test_recordings_that_are_one_unit_each_are_no_slices(predictions):
    groups = [f"scene {unit}" for unit in np.arange(240) // 40]
    alone = dataclasses.replace(predictions, groups=groups, units=np.arange(240) // 40)
    assert "group" not in error_slices(alone, samples=100, seed=0)
    assert "group" in error_slices(dataclasses.replace(alone, units=np.arange(240)), samples=100, seed=0)


def test_of_very_many_classes_the_worst_alone_are_listed(predictions, monkeypatch):
    monkeypatch.setitem(slices.MOST, "class", 2)
    found = error_slices(predictions, samples=50, seed=0)["class"]
    accuracy = [
        (predictions.predicted == predictions.labels)[predictions.labels == c].mean() for c in range(4)
    ]
    assert [entry["value"] for entry in found] == sorted(accuracy)[:2]
