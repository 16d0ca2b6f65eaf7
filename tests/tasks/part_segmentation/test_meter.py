"""A run of part segmentation, trained and judged from its folder: every number again by another way."""

import numpy as np
import pytest

from deeprob.config import compose
from deeprob.errors import InputError
from deeprob.evaluation.evaluate import evaluate_run, print_table
from deeprob.evaluation.opened import open_run
from deeprob.evaluation.report import write_report
from deeprob.metrics.points import shape_iou
from deeprob.runs import Run
from deeprob.tasks.part_segmentation.predictions import PartPredictions
from deeprob.training.run import train_run

NAMES = ["stick", "head", "lower", "upper"]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("parts")


@pytest.fixture
def run(kept, write_shapes):
    """A run of a few epochs, trained for the first test alone."""
    folder = kept / "runs" / "parts" / "one"
    if not folder.is_dir():
        write_shapes(kept / "shapes")
        folder.mkdir(parents=True)
        overrides = [
            *("name=parts", "data=points", "data/view=parts", "model=pointnet_parts", "optim=adamw"),
            *(f"data.root={kept / 'shapes'}", f"paths.cache_dir={kept / 'cache'}"),
            *("data.source.class_from=folder", f"data.source.part_names={NAMES}".replace("'", "")),
            *("data.view.num_points=64", "data.view.orientation=vertical", "data.batch_size=16"),
            "data.view.viewpoints={train: 40, val: 8, test: 12}",
            *("model.width=8", "model.features=32", "model.input_transform=false"),
            *("model.feature_transform=false", "model.dropout=0", "optim.optimizer.lr=0.01"),
            *("trainer.max_epochs=10", "trainer.threads=1", "evaluation.bootstrap_samples=200"),
        ]
        train_run(compose("train", overrides), Run(folder), overrides)
    return Run(folder)


def test_metrics_are_those_of_the_written_predictions(run):
    results = evaluate_run(run, progress=False)
    said = PartPredictions.load(run.path / "predictions_test.npz")
    assert results["task"] == "part_segmentation"
    assert said.labels.shape == said.predicted.shape == (24, 64)
    parts = {0: (2, 3), 1: (0, 1)}  # categories in the order of their names
    ious = np.array(
        [
            shape_iou(a, b, parts[c])
            for a, b, c in zip(said.labels, said.predicted, said.categories, strict=True)
        ]
    )
    metrics = {name: entry["value"] for name, entry in results["metrics"].items()}
    assert metrics["instance_miou"] == pytest.approx(ious.mean())
    by_category = [ious[said.categories == c].mean() for c in (0, 1)]
    assert metrics["category_miou"] == pytest.approx(np.mean(by_category))
    assert metrics["point_accuracy"] == pytest.approx((said.labels == said.predicted).mean())
    assert metrics["point_accuracy"] > results["baselines"]["majority"]["point_accuracy"]["value"] + 0.2
    assert [results["per_category"][n]["iou"]["value"] for n in ("brick", "lollipop")] == pytest.approx(
        by_category
    )
    for number, name in enumerate(NAMES):
        a, b = said.labels == number, said.predicted == number
        assert results["per_class"][name]["iou"]["value"] == pytest.approx((a & b).sum() / (a | b).sum())
        assert results["per_class"][name]["n"] == a.sum()


def test_every_number_has_an_interval_around_it(run):
    results = evaluate_run(run, progress=False)
    assert results["interval"]["units"] == 24
    entries = [*results["metrics"].values(), *(e["iou"] for e in results["per_class"].values())]
    for entry in entries:
        low, high = entry["ci95"]
        assert low <= entry["value"] <= high
        assert 0 < high - low < 0.5
    assert results["differences"]["majority"]["point_accuracy"]["p_value"] < 0.05


def test_the_majority_says_one_part_everywhere(run):
    results = evaluate_run(run, progress=False)
    labels = PartPredictions.load(run.path / "predictions_test.npz").labels
    counts = np.bincount(open_run(run).experiment.data.split("train").parts.values.numpy())
    expected = (labels == counts.argmax()).mean()
    assert results["baselines"]["majority"]["point_accuracy"]["value"] == pytest.approx(expected)


def test_the_report_shows_parts_categories_and_the_worst_shapes(run):
    evaluate_run(run, progress=False)
    page = write_report(run).read_text(encoding="utf-8")
    assert all(name in page for name in [*NAMES, "brick", "lollipop", "mIoU over shapes", "Reproduce"])
    assert page.count("as labelled and as predicted") == 24
    said = PartPredictions.load(run.path / "predictions_test.npz")
    shares = (said.labels == said.predicted).mean(1)
    assert shares[said.shown[0]] < shares[said.shown[-1]]
    assert said.pictures.shape == (24, 96, 192, 3)


def test_another_split_and_the_terminals_table(run):
    from rich.console import Console

    results = evaluate_run(run, split="val", progress=False)
    assert results["metrics"]["instance_miou"]["n"] == 16
    console = Console(record=True, width=100)
    print_table(results, console)
    assert "category_miou" in console.export_text()


def test_what_a_parts_run_cannot_do_is_one_line(run):
    from deeprob.evaluation.robustness import evaluate_robustness

    with pytest.raises(InputError, match="corruptions are of images"):
        evaluate_robustness(run, progress=False)
    evaluate_run(run, progress=False)
    (run.path / "predictions_test.npz").write_bytes(b"not an archive")
    with pytest.raises(InputError, match=r"broken predictions .* deeprob evaluate run="):
        write_report(run)
