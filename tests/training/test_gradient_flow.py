import json

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, Dataset

from deeprob import layers as L
from deeprob.graphs.history import read_history
from deeprob.runs import Run
from deeprob.tasks.classification.task import Classification
from deeprob.tasks.classification.view import CropBatch
from deeprob.training.gradient_flow import GradientFlow
from deeprob.training.module import PerceptionModule
from deeprob.training.objectives import CrossEntropy


class Noise(Dataset):
    def __len__(self):
        return 7

    def __getitem__(self, i):
        generator = torch.Generator().manual_seed(i)
        return CropBatch(
            torch.randn(4, 1, 6, 6, generator=generator), torch.tensor([0, 1, 2, 0]), torch.arange(4)
        )


def fit(folder, *callbacks, loggers=False):
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        L.Conv2d(1, 3, 3), L.ReLU(), torch.nn.Flatten(), L.Linear(48, 5), L.Sigmoid(), L.Linear(5, 3)
    )
    module = PerceptionModule(
        Classification,
        model,
        CrossEntropy(),
        lambda groups: torch.optim.SGD(groups, lr=0.1),
        lambda progress: 1.0,
    )
    Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=loggers,
        callbacks=list(callbacks),
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    ).fit(module, DataLoader(Noise(), batch_size=None))
    return model


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    return path


def test_every_third_step_is_sampled_layer_by_layer(folder):
    fit(folder, GradientFlow(every=3))
    samples = read_history(Run(folder))
    assert [s.step for s in samples] == [0, 3, 6]
    assert list(samples[0].layers) == ["0", "1", "2", "3", "4", "5"]
    for sample in samples:
        assert all(
            numbers["activation"] > 0 and numbers["gradient"] > 0 for numbers in sample.layers.values()
        )
        assert 0 <= sample.layers["1"]["dead"] <= 1
        assert 0 <= sample.layers["4"]["saturated"] <= 1


def test_the_norms_are_those_of_the_step(folder):
    """The first step's numbers, computed again by hand."""
    fit(folder, GradientFlow(every=100))
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        L.Conv2d(1, 3, 3), L.ReLU(), torch.nn.Flatten(), L.Linear(48, 5), L.Sigmoid(), L.Linear(5, 3)
    )
    batch = Noise()[0]
    hidden = model[0](batch.images)
    hidden.retain_grad()
    L.cross_entropy(model[1:](hidden), batch.labels).backward()
    (sample,) = read_history(Run(folder))
    assert sample.layers["0"]["activation"] == pytest.approx(float(hidden.detach().norm()), rel=1e-4)
    assert sample.layers["0"]["gradient"] == pytest.approx(float(hidden.grad.norm()), rel=1e-4)


def test_watching_changes_no_weight_and_leaves_no_hook(folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    watched, plain = fit(folder, GradientFlow(every=2)), fit(other)
    for a, b in zip(watched.parameters(), plain.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not any(module._forward_hooks for module in watched.modules())


def test_extra_loggers_get_the_same_numbers(folder, tmp_path):
    fit(folder, GradientFlow(every=4), loggers=CSVLogger(tmp_path, name="csv"))
    (table,) = (tmp_path / "csv").rglob("metrics.csv")
    header = table.read_text().splitlines()[0]
    assert "gradient_flow/gradient/0" in header
    assert "gradient_flow/dead/1" in header


def test_the_file_only_grows(folder):
    fit(folder, GradientFlow(every=5))
    fit(folder, GradientFlow(every=5))
    rows = (folder / "gradient_flow.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == [0, 5, 0, 5]


def test_a_period_below_one_is_refused():
    with pytest.raises(ValueError, match="every: expected a number of steps from 1, got 0"):
        GradientFlow(every=0)
