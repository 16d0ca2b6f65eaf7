"""Label spreading against its equations, written out densely, and as an objective on two clusters."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from deeprob.data.batches.views import Unlabelled, WithUnlabelled
from deeprob.errors import InputError
from deeprob.layers import cross_entropy
from deeprob.tasks.classification.task import Classification
from deeprob.tasks.classification.view import CropBatch
from deeprob.training.objectives import LabelSpreading
from deeprob.training.objectives.label_spreading import spread


def by_equations(f, labels, prior, k, temperature, alpha):
    z = (f - f.mean(0)) / f.std(0)
    z = z / z.norm(dim=1, keepdim=True)
    b = torch.zeros(len(f), len(f))
    for i in range(len(f)):
        others = [j for j in range(len(f)) if j != i]
        for j in sorted(others, key=lambda j: -float(z[i] @ z[j]))[:k]:
            b[i, j] = ((z[i] @ z[j] - 1) / temperature).exp()
    a = b + b.T
    s = a / (a.sum(1)[:, None] * a.sum(1)).sqrt()
    y = torch.zeros(len(f), len(prior))
    for i, label in enumerate(labels.tolist()):
        y[i, label] = prior[label] / (labels == label).sum()
    found = y
    for _ in range(100):
        found = alpha * s @ found + (1 - alpha) * y
    for _ in range(5):
        found = found / found.sum(0) * prior
        found = found / found.sum(1, keepdim=True)
    return found


def test_spread_is_its_equations(monkeypatch):
    monkeypatch.setattr("deeprob.training.objectives.label_spreading.BLOCK", 7)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(30, 5, generator=generator)
    labels, prior = torch.tensor([0, 1, 2, 1]), torch.tensor([0.2, 0.5, 0.3])
    found = spread(features, labels, prior, neighbours=12, temperature=0.5, alpha=0.9)
    torch.testing.assert_close(found, by_equations(features, labels, prior, 12, 0.5, 0.9))


def two_arcs(count):
    """Arcs of a circle, `count` samples each, the first of each labelled.

    The end of the first is next to the beginning of the second, so that its nearest label is the wrong one.
    """
    angle = torch.linspace(0, 2.8, count)
    first, second = (torch.stack([a.cos(), a.sin()], 1) for a in (angle, angle + torch.pi))
    return torch.cat([first[:1], second[:1], first[1:], second[1:]])


def test_a_label_follows_its_arc_past_the_other_label():
    features = two_arcs(60)
    truth = torch.tensor([0, 1] + [0] * 59 + [1] * 59)
    nearest = torch.cdist(features, features[:2]).argmin(1)
    assert (nearest != truth).sum() > 20
    found = spread(features, truth[:2], torch.tensor([0.5, 0.5]), neighbours=4, temperature=0.05, alpha=0.99)
    assert torch.equal(found.argmax(1), truth)


class Samples(SimpleNamespace):
    def __len__(self):
        return len(self.labels)

    def take(self, chosen):
        return Samples(images=self.images[chosen], labels=self.labels[chosen])


class Task(Classification):
    def __init__(self):
        images = two_arcs(20)
        every = Samples(images=images, labels=torch.tensor([0, 1] + [0] * 19 + [1] * 19))
        self.data = SimpleNamespace(
            classes=("a", "b"),
            labelled_samples=every.take(torch.arange(2)),
            unlabelled=Unlabelled(every, torch.arange(2, 40)),
            loader_of=lambda samples: [(samples.images,)],
        )


def batch_of(samples, indices):
    indices = torch.tensor(indices)
    taken = samples.take(indices)
    return CropBatch(taken.images, taken.labels, indices)


def model():
    return nn.Sequential(nn.Identity(), nn.Linear(2, 2))


def test_the_loss_is_that_of_strong_views_with_spread_labels():
    task, network = Task(), model()
    objective = LabelSpreading(threshold=0.5, weight=2.0, neighbours=4)
    objective.attach(task, network)
    every = task.data.unlabelled.samples
    labelled, weak = batch_of(task.data.labelled_samples, [0, 1]), batch_of(every, [30, 5])
    strong = weak._replace(images=weak.images + 1)
    found = objective(task, network, WithUnlabelled(labelled, weak, strong))
    expected = cross_entropy(network(labelled.images), torch.tensor([0, 1]))
    expected = expected + 2 * cross_entropy(network(strong.images), torch.tensor([1, 0]))
    torch.testing.assert_close(found.total, expected)
    assert found.terms["pseudo_right"] == 1


def test_labels_are_spread_before_the_first_step_and_every_refresh():
    task, network = Task(), model()
    objective = LabelSpreading(neighbours=4, refresh=2)
    objective.attach(task, network)
    every = task.data.unlabelled.samples
    views = batch_of(every, [30, 5])
    batch = WithUnlabelled(batch_of(task.data.labelled_samples, [0, 1]), views, views)
    made = []
    for _ in range(3):
        objective(task, network, batch)
        made.append(objective.probabilities.clone())
        objective.probabilities[2:] = objective.probabilities[2:].flip(1)
    assert torch.equal(made[1], made[0][:, [1, 0]].where(torch.arange(40)[:, None] > 1, made[0]))
    assert torch.equal(made[2], made[0])
    assert "probabilities" in objective.state_dict()


@pytest.mark.parametrize("wrong", [{"neighbours": 0}, {"temperature": 0.0}, {"alpha": 1.0}, {"refresh": -1}])
def test_a_wrong_setting_is_named(wrong):
    with pytest.raises(InputError, match=f"objective.{next(iter(wrong))}"):
        LabelSpreading(**wrong)
