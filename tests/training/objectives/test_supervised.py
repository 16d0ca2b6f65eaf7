from types import SimpleNamespace

import pytest
import torch

from deeprob.errors import InputError
from deeprob.tasks.base import Loss
from deeprob.tasks.classification.view import CropBatch
from deeprob.training.objectives import CrossEntropy, Hinge, Supervised


@pytest.mark.parametrize("objective", [CrossEntropy(), Hinge()])
def test_boxes_in_place_of_classes_are_one_line(objective) -> None:
    boxes = SimpleNamespace(labels=[torch.zeros(1), torch.zeros(4)])
    with pytest.raises(InputError, match="other labels; set objective=supervised"):
        objective(None, torch.nn.Identity(), boxes)


def test_a_detector_in_place_of_a_classifier_is_one_line() -> None:
    batch = CropBatch(torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64), torch.arange(2))
    with pytest.raises(InputError, match=r"gives no logits.*data/view=detection"):
        CrossEntropy()(None, lambda images: (images, images), batch)


def test_supervised_is_the_tasks_own_loss() -> None:
    batch = CropBatch(torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64), torch.arange(2))
    task = SimpleNamespace(loss=lambda model, given: Loss(model(given.images).sum() + 7))
    assert Supervised()(task, torch.nn.Identity(), batch).total == 7


def test_beside_the_loss_stands_how_often_it_was_right() -> None:
    logits = torch.tensor([[2.0, 0], [0, 2], [2, 0], [2, 0]])
    batch = CropBatch(logits, torch.tensor([0, 1, 0, 1]), torch.arange(4))
    assert CrossEntropy()(None, torch.nn.Identity(), batch).terms["top1_accuracy"] == 0.75
