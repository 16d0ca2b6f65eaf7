"""Self-training against its equations, on logits that are worked out by hand."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from deeprob.data.batches.views import Unlabelled, WithUnlabelled
from deeprob.errors import InputError
from deeprob.layers import cross_entropy
from deeprob.tasks.classification.task import Classification
from deeprob.tasks.classification.view import CropBatch
from deeprob.training.objectives import FixMatch, MeanTeacher, PseudoLabel
from deeprob.training.objectives.self_training import follow

PRIOR = torch.tensor([0.5, 0.5])


class Task(Classification):
    def __init__(self):
        labels = torch.tensor([0, 1])
        self.data = SimpleNamespace(
            classes=("a", "b"),
            labelled_samples=SimpleNamespace(labels=labels, __len__=lambda: 2),
            unlabelled=Unlabelled(None, torch.arange(4)),
        )

    def prior(self):
        return PRIOR


def batch_of(inputs, labels):
    return CropBatch(torch.tensor(inputs), torch.tensor(labels), torch.arange(len(labels)))


@pytest.fixture
def model():
    linear = nn.Linear(2, 2, bias=False)
    nn.init.eye_(linear.weight)
    return linear


@pytest.fixture
def batch():
    labelled = batch_of([[1.0, 0.0], [0.0, 1.0]], [0, 1])
    weak = batch_of([[5.0, 0.0], [0.0, 5.0], [0.1, 0.0], [5.0, 0.0]], [0, 0, 0, 0])
    strong = batch_of([[1.0, 0.5], [0.5, 1.0], [0.0, 0.0], [2.0, 1.0]], [0, 0, 0, 0])
    return WithUnlabelled(labelled, weak, strong)


def attached(objective, model):
    objective.attach(Task(), model)
    return objective


def test_a_threshold_that_nothing_reaches_leaves_the_supervised_loss(model, batch):
    found = attached(FixMatch(threshold=1.0), model)(Task(), model, batch)
    expected = Task().loss(model, batch.labelled)
    assert found.total == expected.total
    assert found.terms["pseudo_share"] == 0


def test_fixmatch_is_the_sum_over_confident_samples_over_all(model, batch):
    found = attached(FixMatch(threshold=0.9, weight=2.0), model)(Task(), model, batch)
    losses = cross_entropy(model(batch.strong.images), torch.tensor([0, 1, 0, 0]), reduction="none")
    confident = torch.tensor([1.0, 1, 0, 1])
    expected = Task().loss(model, batch.labelled).total + 2 * (losses * confident).mean()
    torch.testing.assert_close(found.total, expected)
    assert found.terms["pseudo_share"] == 0.75
    assert found.terms["pseudo_right"] == 0.5


def test_pseudo_labels_carry_no_gradient(model, batch):
    still = batch._replace(strong=batch.strong._replace(images=torch.zeros(4, 2)))
    total = attached(FixMatch(threshold=0.9), model)(Task(), model, still).total
    (gradient,) = torch.autograd.grad(total, model.weight)
    (expected,) = torch.autograd.grad(Task().loss(model, batch.labelled).total, model.weight)
    torch.testing.assert_close(gradient, expected)


def test_soft_labels_are_the_teachers_probabilities(model, batch):
    found = attached(MeanTeacher(soft=True, decay=0.9), model)(Task(), model, batch)
    p = batch.weak.images.softmax(1)
    unlabelled = cross_entropy(model(batch.strong.images), p)
    torch.testing.assert_close(found.total, Task().loss(model, batch.labelled).total + unlabelled)


def test_a_teacher_without_decay_is_the_student(model):
    teacher = nn.Linear(2, 2, bias=False)
    follow(teacher, model, decay=0.0)
    assert torch.equal(teacher.weight, model.weight)


def test_a_teacher_is_the_average_of_the_students(model):
    teacher = nn.Linear(2, 2, bias=False)
    before = teacher.weight.clone()
    follow(teacher, model, decay=0.75)
    torch.testing.assert_close(teacher.weight, 0.75 * before + 0.25 * model.weight)


def test_the_teacher_starts_as_the_loaded_model_and_follows_it(model, batch):
    objective = attached(MeanTeacher(decay=0.5), model)
    with torch.no_grad():
        model.weight.mul_(2)  # as pretrained weights would
    objective(Task(), model, batch)
    assert torch.equal(objective.teacher.weight, model.weight)
    with torch.no_grad():
        model.weight.mul_(3)
    objective(Task(), model, batch)
    torch.testing.assert_close(objective.teacher.weight, 2 / 3 * model.weight)
    assert "teacher.weight" in objective.state_dict()


def test_the_weight_rises_over_the_ramp(model, batch):
    objective = attached(FixMatch(threshold=0.9, ramp=4), model)
    totals = [objective(Task(), model, batch).total for _ in range(5)]
    supervised = Task().loss(model, batch.labelled).total
    rises = [float(((t - supervised) / (totals[-1] - supervised)).detach()) for t in totals]
    assert rises == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])


def test_alignment_moves_predictions_to_the_labels_share(model):
    objective = attached(FixMatch(align=True), model)
    objective.mean_prediction.copy_(torch.tensor([0.8, 0.2]))
    with torch.no_grad():
        objective.prior.copy_(torch.tensor([0.4, 0.6]))
        p = torch.tensor([[0.8, 0.2]])
        moved = objective._aligned(p)
    expected = torch.tensor([[0.8 * 0.5, 0.2 * 3.0]])
    torch.testing.assert_close(moved, expected / expected.sum(), rtol=1e-3, atol=1e-3)


def test_a_batch_with_all_labels_has_the_tasks_own_loss(model, batch):
    objective = attached(PseudoLabel(), model)
    assert objective(Task(), model, batch.labelled).total == Task().loss(model, batch.labelled).total


@pytest.mark.parametrize("wrong", [{"threshold": 2.0}, {"ratio": 0}, {"decay": 1.0}])
def test_what_makes_no_sense_is_one_line(wrong):
    with pytest.raises(InputError, match=f"objective.{next(iter(wrong))}"):
        FixMatch(**wrong)


def test_the_remark_tells_share_and_precision():
    said = FixMatch().remark({"pseudo_share": 0.5, "pseudo_right": 0.4})
    assert said == "pseudo-labels  share 0.500  precision 0.800"


def test_a_task_without_pseudo_labels_says_so(model, batch):
    class Other(Task):
        pseudo_labelled = Classification.__mro__[1].pseudo_labelled

    with pytest.raises(InputError, match="cannot be labels yet"):
        attached(FixMatch(), model)(Other(), model, batch)
