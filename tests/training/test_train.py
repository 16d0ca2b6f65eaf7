"""A training from objects alone, as a notebook does it."""

import json

import numpy as np
import pytest
import torch

from deeprob.data.batches.datamodule import PerceptionData
from deeprob.data.settings import Augmentation
from deeprob.errors import InputError
from deeprob.models.cnn import CNN
from deeprob.runs import Run
from deeprob.schema.training import TrainerSettings
from deeprob.tasks.classification.task import Classification
from deeprob.tasks.classification.view import ClassificationView
from deeprob.training.lr_finder import find_lr
from deeprob.training.overfit import unhindered
from deeprob.training.parts import Parts
from deeprob.training.train import check_overfit, train


@pytest.fixture
def parts(array_source):
    data = PerceptionData(
        array_source(splits=("train", "val")),
        ClassificationView(size=8),
        Augmentation(),
        batch_size=10,
        progress=False,
    )
    torch.manual_seed(0)
    trainer = TrainerSettings(max_epochs=2, accelerator="cpu")
    return Parts(data, Classification(data), CNN(num_classes=3, widths=[8]), trainer=trainer)


def test_it_trains_and_goes_on_without_any_config(parts, tmp_path):
    run = Run.create(tmp_path, "mine")
    train(parts, run)
    assert json.loads(run.training.read_text())["epochs"] == 2
    assert not run.config.exists()
    parts.trainer.max_epochs = 3
    train(parts, run)
    assert json.loads(run.training.read_text())["epochs"] == 3
    batch = next(iter(parts.data.loader("val")))
    with torch.inference_mode():
        found = parts.task.predict(parts.model.eval(), batch)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)


def test_a_handful_is_overfit_and_a_rate_found(parts, tmp_path):
    settings = TrainerSettings(overfit=6, accelerator="cpu", **unhindered())
    few = Parts(parts.data, parts.task, parts.model, trainer=settings)
    assert check_overfit(few, Run.create(tmp_path, "few")).startswith("overfit  top1_accuracy 1.0000 on 6")
    parts.trainer.lr_finder = 40
    run = Run.create(tmp_path, "rate")
    assert 1e-7 < find_lr(parts, run) < 10
    assert (run.plots / "lr_finder.png").is_file()


def test_what_cannot_be_trained_is_one_line(parts, tmp_path):
    with pytest.raises(InputError, match="backbone_lr_factor is 0"):
        train(Parts(parts.data, parts.task, parts.model, backbone_lr_factor=0), Run.create(tmp_path, "a"))
