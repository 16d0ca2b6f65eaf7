"""Models without a gradient as runs, and a trained network's features in another run."""

import json

import pytest
import torch

from deeprob.errors import InputError
from deeprob.evaluation.evaluate import evaluate_run
from deeprob.evaluation.report import write_report
from deeprob.runs import Run
from deeprob.training.experiment import load
from deeprob.training.run import train_run


@pytest.fixture
def trained(squares_overrides, tmp_path):
    """Train on the squares with a model of one's choice; gives the run."""
    from deeprob.config import compose

    kept = [o for o in squares_overrides if not o.startswith("model.")]

    def make(name, *overrides):
        run = Run.create(tmp_path / "runs", "squares", name)
        train_run(compose("train", [*kept, *overrides]), run, list(overrides))
        return run

    return make


def test_nearest_neighbours_are_a_run_like_any_other(trained):
    run = trained("knn", "model=knn", "model.k=3", "evaluation.baselines=[knn]", "evaluation.neighbours=3")
    results = evaluate_run(run, progress=False)
    assert results["metrics"]["top1_accuracy"]["value"] > 0.9
    assert results["cost"]["parameters"] == 0
    assert results["cost"]["flops_per_sample"] == 2 * 72 * 16 * 16 * 3
    assert write_report(run).is_file()
    both = [torch.load(run.checkpoint(name), weights_only=True)["state_dict"] for name in ("best", "last")]
    assert all(torch.equal(a, b) for a, b in zip(both[0].values(), both[1].values(), strict=True))


def test_k_chosen_by_cross_validation_is_in_the_facts_and_the_report(trained, squares):
    second = squares / "train2"  # folds are of whole folders
    second.mkdir()
    for file in (squares / "train").glob("*[13579].*"):
        file.rename(second / file.name)
    run = trained("chosen", "model=knn", "model.k=null", "model.candidates=[1,5]", "model.folds=2")
    facts = json.loads(run.training.read_text())["cross_validation"]
    assert facts["k"] == [1, 5]
    assert [len(folds) for folds in facts["accuracy"]] == [2, 2]
    evaluate_run(run, progress=False)
    assert "Accuracy over k, 2 folds" in write_report(run).read_text()
    assert (run.plots / "cross_validation.svg").is_file()


def test_a_linear_models_report_shows_its_weights(trained):
    run = trained("linear", "model=softmax_regression", "optim.optimizer.lr=0.01", "trainer.max_epochs=1")
    evaluate_run(run, progress=False)
    page = write_report(run).read_text()
    assert all(f'alt="Weights of {name}"' in page for name in ("red", "green", "blue"))


def test_another_runs_network_lends_its_features(trained):
    network = trained(
        "network", "model=resnet_small", "model.blocks=[1]", "model.width=8", "trainer.max_epochs=1"
    )
    run = trained("knn", "model=knn", f"model.features={network.path}")
    model = load(run, "best").model
    lender = load(network, "best").model.state_dict()
    assert model.samples.shape == (72, 8)
    assert torch.equal(model.state_dict()["features.network.conv1.weight"], lender["conv1.weight"])


def test_features_that_are_neither_known_nor_a_run_are_refused(trained):
    with pytest.raises(InputError, match="no features named 'sift'; expected pixels, histogram, hog"):
        trained("wrong", "model=knn", "model.features=sift")
