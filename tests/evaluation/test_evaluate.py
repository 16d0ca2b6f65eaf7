"""Evaluation end to end on a stand-in for training's `load`: what is measured, written and printed."""

import io

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from rich.console import Console

from deeprob.cli import main
from deeprob.data.batches.loader import BatchLoader
from deeprob.errors import InputError
from deeprob.evaluation.evaluate import evaluate_run, print_results
from deeprob.metrics.classification import Classification
from deeprob.metrics.entries import measured
from deeprob.metrics.scores import Evaluation
from deeprob.runs import Run
from deeprob.tasks.classification.measure import measure
from deeprob.tasks.classification.meter import scores_of
from deeprob.tasks.classification.predictions import Predictions
from deeprob.tasks.classification.task import Classification as Task
from deeprob.tasks.classification.view import ClassificationView, CropSamples
from deeprob.training.experiment import Experiment
from deeprob.writing import write_json

CONFIG = {
    "seed": 3,
    "trainer": {"channels_last": False},
    "evaluation": {
        "split": "test",
        "checkpoint": "best",
        "baselines": ["majority", "knn"],
        "neighbours": 3,
        "bootstrap_samples": 100,
        "seed": 0,
    },
}


def make_split(count: int, seed: int) -> CropSamples:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (count,), generator=generator)
    images = torch.randint(0, 60, (count, 4, 4, 3), generator=generator, dtype=torch.uint8)
    images[torch.arange(count), 0, 0, labels] = 255
    images[::5, 1, 1] = 255  # what the model below trips over
    keys = [f"frame {i // 4} box {i % 4}" for i in range(count)]
    units = torch.arange(count) // 4
    names = tuple(f"session {i}" for i in range(count))
    return CropSamples(images, labels, units=units, groups=units, group_names=names, keys=tuple(keys))


class Data:
    """Three classes told apart by the colour of one pixel."""

    classes = ("red", "green", "blue")
    source_name = "pixels"
    real = False

    def __init__(self) -> None:
        self.splits = {"train": make_split(60, 0), "val": make_split(20, 1), "test": make_split(40, 2)}
        self.splits["empty"] = make_split(0, 3)

    @property
    def sizes(self) -> dict[str, int]:
        return {name: len(split.labels) for name, split in self.splits.items() if name != "empty"}

    def split(self, name: str) -> CropSamples:
        return self.splits[name]

    @property
    def labelled_samples(self) -> CropSamples:
        return self.split("train")

    def loader_of(self, samples: CropSamples) -> BatchLoader:
        return BatchLoader(samples, 16, ClassificationView().collate((0.0,) * 3, (1.0,) * 3))


class AlmostRight(torch.nn.Module):
    """Sees the one bright pixel, and says the class after it where there is a second."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(15))

    def forward(self, images):
        wrong = images[:, 0, 1, 1] > 0.9
        return 4 * torch.eye(3)[(images[:, :, 0, 0].argmax(1) + wrong) % 3]


@pytest.fixture
def run(tmp_path, monkeypatch) -> Run:
    """A run whose model is right but for every fifth sample."""
    run = Run(tmp_path / "runs" / "pixels" / "1")
    run.path.mkdir(parents=True)
    run.config.write_text(OmegaConf.to_yaml(OmegaConf.create(CONFIG)))
    data = Data()

    experiment = Experiment(OmegaConf.load(run.config), data, Task(data), AlmostRight(), torch.device("cpu"))
    monkeypatch.setattr(
        "deeprob.evaluation.opened.load", lambda run, checkpoint, allowed, places=None: experiment
    )
    return run


def test_results_hold_what_the_schema_promises(run):
    write_json(
        run.training, {"train_seconds": 12.5, "samples_per_second": 99.0, "epochs": 3, "parameters": 15}
    )
    results = evaluate_run(run, progress=False)
    assert run.read_results() == results
    assert {
        k: results[k] for k in ("schema", "run_id", "experiment", "task", "split", "seed", "checkpoint")
    } == {
        "schema": 1,
        "run_id": "1",
        "experiment": "pixels",
        "task": "classification",
        "split": "test",
        "seed": 3,
        "checkpoint": "best",
    }
    assert results["data"] == {"source": "pixels", "real": False, "train": 60, "val": 20, "test": 40}
    assert results["cost"] == {
        "parameters": 15,
        "flops_per_sample": None,
        "train_seconds": 12.5,
        "samples_per_second": 99.0,
        "peak_memory_bytes": None,
    }


def test_accuracy_and_interval_of_a_known_model(run):
    entry = evaluate_run(run, progress=False)["metrics"]["top1_accuracy"]
    assert entry["value"] == pytest.approx(0.8)
    assert entry["n"] == 40
    assert 0.6 < entry["ci95"][0] < 0.8 < entry["ci95"][1] < 0.95


def test_baselines_stand_beside_the_model(run):
    results = evaluate_run(run, progress=False)
    test, train = make_split(40, 2), make_split(60, 0)
    majority = float((test.labels == train.labels.bincount().argmax()).float().mean())
    assert results["baselines"]["majority"]["top1_accuracy"]["value"] == pytest.approx(majority)
    assert results["baselines"]["knn"]["top1_accuracy"]["value"] > 0.9
    difference = results["differences"]["majority"]["top1_accuracy"]
    assert difference["value"] == pytest.approx(0.8 - majority)
    assert difference["p_value"] < 0.1


def test_a_run_without_training_costs_counts_its_parameters(run):
    assert evaluate_run(run, progress=False)["cost"]["parameters"] == 15


def test_another_split_leaves_the_judged_results_alone(run):
    judged = evaluate_run(run, progress=False)
    other = evaluate_run(run, split="val", progress=False)
    assert other["metrics"]["top1_accuracy"]["n"] == 20
    assert run.read_results("val") == other
    assert run.read_results() == judged
    assert (run.path / "predictions_val.npz").is_file()


def test_another_checkpoint_can_be_asked_for(run):
    assert evaluate_run(run, checkpoint="last", progress=False)["checkpoint"] == "last"


def test_an_empty_split_is_named(run):
    with pytest.raises(InputError, match="split 'empty' has no samples"):
        evaluate_run(run, split="empty", progress=False)


def test_broken_training_costs_are_named(run):
    run.training.write_text("{")
    with pytest.raises(InputError, match=r"training\.json: broken JSON"):
        evaluate_run(run, progress=False)


def test_every_number_follows_from_the_saved_predictions(run):
    results = evaluate_run(run, progress=False)
    predictions = Predictions.load(run.path / "predictions_test.npz")
    again = measured(measure(predictions, samples=100, seed=0), samples=100, seed=0)
    assert again["metrics"] == results["metrics"]
    assert again["confusion"] == results["confusion"]


def test_per_class_numbers_count_their_own_samples(run):
    results = evaluate_run(run, progress=False)
    counts = make_split(40, 2).labels.bincount().tolist()
    assert [entry["n"] for entry in results["per_class"].values()] == counts
    assert [sum(row) for row in results["confusion"]] == counts


def test_what_is_not_defined_is_null_not_nan(run):
    predictions = Predictions(
        np.array([[0.8, 0.1, 0.1], [0.8, 0.1, 0.1]]),
        np.array([0, 0]),
        np.array([0, 1]),
        ["a", "b"],
        ("red", "green", "blue"),
    )
    found = measured(measure(predictions, samples=50, seed=0), samples=50, seed=0)
    assert found["per_class"]["green"]["recall"] == {"value": None, "ci95": None, "n": 0}
    write_json(run.path / "measured.json", found)  # refuses NaN


def test_the_table_shows_model_interval_and_baselines(run):
    evaluate_run(run, progress=False)
    output = io.StringIO()
    print_results(run, Console(file=output, width=100))
    text = output.getvalue()
    assert "pixels, best checkpoint, test split" in text
    row = next(line for line in text.splitlines() if "top1_accuracy" in line)
    assert row.split()[1] == "0.8000"
    assert "knn" in text


def test_the_table_fits_eighty_columns(run):
    evaluate_run(run, progress=False)
    output = io.StringIO()
    print_results(run, Console(file=output, width=80))
    assert "expected_calibration_error" in output.getvalue()


def test_measured_metrics_equal_the_streamed_ones(run):
    results = evaluate_run(run, progress=False)
    predictions = Predictions.load(run.path / "predictions_test.npz")
    stream = Classification(3)
    stream.update(predictions.probabilities, predictions.labels)
    assert {name: entry["value"] for name, entry in results["metrics"].items()} == pytest.approx(
        stream.compute()
    )


def test_samples_of_one_independent_unit_have_no_interval_and_the_table_says_why():
    labels = np.array([0, 1, 1])
    scores = scores_of(np.eye(2)[[0, 1, 0]], labels, np.zeros(3, np.int64))
    found = measured(Evaluation(scores), samples=10, seed=0)
    assert found["metrics"]["top1_accuracy"]["ci95"] is None
    assert found["notes"] == ["All samples are of one independent unit: there is no interval."]
    with_choice = measured(Evaluation(scores), samples=10, seed=0, unit="group")
    assert "unit=frame" in with_choice["notes"][0]


def test_a_unit_is_of_predictions_not_of_runs(capsys):
    assert main(["evaluate", "run=runs/a/b", "unit=frame"]) == 2
    assert "unit with predictions=" in capsys.readouterr().err
