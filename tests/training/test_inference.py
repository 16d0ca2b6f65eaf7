"""A network made ready for predictions alone."""

from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from deeprob import layers
from deeprob.tasks.classification.view import ClassificationView
from deeprob.training.experiment import Experiment
from deeprob.training.inference import for_inference


def ready(body):
    """An experiment of crops of 8 x 8 pixels, seen by `body` and a batch norm."""
    cfg = OmegaConf.create({"trainer": {"channels_last": False}})
    data = SimpleNamespace(view=ClassificationView(size=8), mean=(0.5,) * 3, std=(0.2,) * 3)
    model = nn.Sequential(body, layers.BatchNorm2d(4)).eval()
    return for_inference(Experiment(cfg, data, None, model, torch.device("cpu")))


def test_norms_are_folded():
    predictor = ready(layers.Conv2d(3, 4, 3)).predictor
    assert not any(isinstance(m, layers.BatchNorm2d) for m in predictor.modules())


class Fails(nn.Module):
    def forward(self, images):
        raise RuntimeError("no such operation\nand a trace of it")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (layers.Conv2d(5, 4, 3), ""),  # takes further channels
        (Fails(), "warning: the batch norms stay, predictions take longer (no such operation)\n"),
    ],
)
def test_a_network_that_cannot_be_folded_is_left_as_it_is(body, said, capsys):
    assert ready(body).predictor is None
    assert capsys.readouterr().err == said
