"""Objectives on two views, without labels."""

import math

import pytest
import torch
from torch import nn

from deeprob.data.batches.views import TwoViews
from deeprob.errors import InputError
from deeprob.tasks.classification.view import CropBatch
from deeprob.training.objectives import Rotation, SimCLR, VICReg
from deeprob.training.objectives.encoder import spread

OBJECTIVES = {"simclr": SimCLR, "vicreg": VICReg, "rotation": Rotation}


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 16), nn.ReLU(), nn.Linear(16, 3))


@pytest.fixture
def views():
    torch.manual_seed(1)
    images = torch.randn(8, 3, 4, 4)
    return TwoViews(images, images + 0.1 * torch.randn(8, 3, 4, 4), torch.arange(8))


def attached(objective, model):
    objective.attach(None, model)
    return objective


def test_simclr_against_a_loop_over_pairs(views):
    model = network()
    objective = attached(SimCLR(temperature=0.5, hidden=8, out=4), model)
    found = objective(None, model, views).total
    features = model[:3](torch.cat([views.inputs, views.others]))
    z = objective.projector(features).detach()
    total = 0.0
    for i in range(16):
        similar = [float(torch.cosine_similarity(z[i], z[j], 0)) / 0.5 for j in range(16)]
        others = math.fsum(math.exp(s) for j, s in enumerate(similar) if j != i)
        total += -similar[(i + 8) % 16] + math.log(others)
    assert float(found.detach()) == pytest.approx(total / 16, rel=1e-5)


@pytest.mark.parametrize("make", OBJECTIVES.values(), ids=OBJECTIVES)
def test_the_loss_falls_the_classifier_stays_and_all_else_has_a_gradient(make, views):
    model = network()
    objective, classifier = attached(make(), model), model[3].weight.clone()
    trained = [p for m in (model, objective) for p in m.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, 0.01, weight_decay=0.0)
    losses = []
    for _ in range(20):
        loss = objective(None, model, views).total
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None for p in trained)
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < 0.9 * losses[0]
    assert torch.equal(model[3].weight, classifier)


@pytest.mark.parametrize("make", [SimCLR, VICReg])
def test_collapsed_features_are_said(make):
    objective = make()
    assert "collapse" in objective.remark({"feature_std": 0.01, "effective_rank": 1.2})
    assert objective.remark({"feature_std": 0.9, "effective_rank": 9.0}) is None


def test_the_spread_of_equal_and_of_independent_features():
    torch.manual_seed(0)
    equal, independent = spread(torch.ones(64, 8)), spread(torch.randn(4096, 8))
    assert float(equal["feature_std"]) == pytest.approx(0, abs=1e-6)
    assert float(independent["feature_std"]) == pytest.approx(1, abs=0.05)
    assert float(independent["effective_rank"]) == pytest.approx(8, abs=0.1)


def test_one_view_is_one_line(views):
    model = network()
    with pytest.raises(InputError, match="two views"):
        attached(SimCLR(), model)(None, model, CropBatch(views.inputs, None, views.indices))


def test_a_network_without_a_linear_layer_is_one_line():
    with pytest.raises(InputError, match="no linear layer"):
        SimCLR().attach(None, nn.Conv2d(3, 4, 3))


def test_turned_images_must_be_square():
    model = nn.Sequential(nn.Flatten(), nn.Linear(24, 3))
    with pytest.raises(InputError, match="square"):
        attached(Rotation(), model)(None, model, CropBatch(torch.zeros(1, 3, 2, 4), None, torch.zeros(1)))
