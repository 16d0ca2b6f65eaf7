"""Labels that spread over a graph of features, from the few labelled samples to those that lie near them.

    z_i = (f_i - mean) / std, of unit length         f_i: features of the starting network
    B_ij = exp((z_i . z_j - 1) / temperature)        j among the nearest neighbours of i; else 0
    S = D^-1/2 (B + B^T) D^-1/2                      D: the row sums of B + B^T
    F <- alpha S F + (1 - alpha) Y                   Y: the known labels, each class with its share of them
    p_ic = F_ic q_c / sum_i F_ic, each row to 1      q: the share of each class among the labels, a few times

The graph sees all samples at once, where a classifier sees the labelled ones alone: with a network that
learned without labels, a handful of labels is enough. The labels are spread once, before the first step, or
anew every `refresh` steps; then the network is trained on them as by SelfTraining.
Source: Zhou et al. 2004, Learning with local and global consistency; class shares: Zhu et al. 2003; for a
network: Iscen et al. 2019, Label propagation for deep semi-supervised learning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from deeprob.data.batches.views import Unlabelled, WithUnlabelled, expect_unlabelled
from deeprob.errors import InputError
from deeprob.models.features import features_of
from deeprob.tasks.base import Task
from deeprob.training.objectives.self_training import SelfTraining

BLOCK = 1024  # rows of the graph made at once
ROUNDS = 100  # of spreading; alpha ** ROUNDS is what is left of where it started
BALANCES = 5  # times that the classes' shares are set


class LabelSpreading(SelfTraining):
    """The class of an unlabelled sample is what the labels of its neighbours say. See the top of the file.

    neighbours: of each sample. temperature: how fast their say falls with distance. alpha: how far labels
        spread, 0 to below 1. refresh: steps until the network spreads them anew; 0: never.
    threshold, ratio, weight, ramp, soft, weak, strong: as for SelfTraining.
    """

    strategy = "Semi-supervised: labels spread over a graph of a network's features to samples without one"

    def __init__(
        self,
        threshold: float = 0.5,
        neighbours: int = 10,
        temperature: float = 0.05,
        alpha: float = 0.99,
        refresh: int = 0,
        ratio: int = 3,
        weight: float = 1.0,
        ramp: int = 0,
        soft: bool = False,
        weak: Mapping[str, Any] | None = None,
        strong: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(threshold, ratio, weight, ramp, soft=soft, weak=weak, strong=strong)
        for name, value, fits, expected in (
            ("neighbours", neighbours, neighbours >= 1, "1 or more"),
            ("temperature", temperature, temperature > 0, "more than 0"),
            ("alpha", alpha, 0 <= alpha < 1, "from 0 to below 1"),
            ("refresh", refresh, refresh >= 0, "0 or more"),
        ):
            if not fits:
                raise InputError(f"objective.{name} is {value:g}", expected=expected)
        self.neighbours, self.temperature, self.alpha = neighbours, temperature, alpha
        self.refresh = refresh

    def attach(self, task: Task, model: nn.Module) -> None:
        super().attach(task, model)
        prior = task.prior()
        if prior is None:
            raise InputError(
                f"objective=label_spreading is for classes, not for {task.name}",
                fix="choose objective=mean_teacher",
            )
        pool = expect_unlabelled(task.data.unlabelled)
        self.register_buffer("prior", prior)
        self.probabilities: Tensor
        self.register_buffer("probabilities", torch.zeros(len(pool.samples), len(prior)))

    def _pseudo_labelled(self, task: Task, model: nn.Module, batch: WithUnlabelled) -> Any:
        step = int(self.steps)
        if step == 0 or (self.refresh and step % self.refresh == 0):
            self._spread(task, model, task.data.unlabelled)
        known = _Known(self.probabilities[batch.weak.indices].clamp_min(1e-12).log())
        return task.pseudo_labelled(known, batch.weak, batch.strong, self.threshold, self.soft)

    @torch.no_grad()
    def _spread(self, task: Task, model: nn.Module, pool: Unlabelled) -> None:
        labelled, others = task.data.labelled_samples, pool.samples.take(pool.chosen)
        device, training = self.probabilities.device, model.training
        model.eval()
        try:
            features = torch.cat(
                [
                    features_of(model, batch[0].to(device)).float()
                    for samples in (labelled, others)
                    for batch in task.data.loader_of(samples)
                ]
            )
        finally:
            model.train(training)
        labels, prior = labelled.labels.to(device), self.prior.to(device)
        p = spread(features, labels, prior, self.neighbours, self.temperature, self.alpha)
        self.probabilities[pool.chosen.to(device)] = p[len(labelled) :]


class _Known(nn.Module):
    """A teacher that knows its logits, whatever it is shown."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, inputs: Tensor) -> Tensor:
        return self.logits


def spread(
    features: Tensor, labels: Tensor, prior: Tensor, neighbours: int, temperature: float, alpha: float
) -> Tensor:
    """Spread labels int64 (n,) of the first n of N samples: probabilities float32 (N, C).

    features: (N, D). prior: (C,), the share of each class. See the top of the file.
    """
    i, j, share = _graph(features, neighbours, temperature)
    known = torch.zeros(len(features), len(prior), device=features.device)
    known[torch.arange(len(labels), device=labels.device), labels] = 1
    known = known / known.sum(0).clamp_min(1) * prior
    found = known
    for _ in range(ROUNDS):
        near = torch.zeros_like(found).index_add_(0, i, share * found[j])
        found = alpha * near + (1 - alpha) * known
    for _ in range(BALANCES):
        found = found / found.sum(0).clamp_min(1e-12) * prior
        found = found / found.sum(1, keepdim=True).clamp_min(1e-12)
    return found


def _graph(features: Tensor, neighbours: int, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    """The entries of S for features (N, D): rows and columns int64 (E,), values (E, 1).

    A pair that is near from both sides has two entries, whose sum counts.
    """
    z = (features - features.mean(0)) / features.std(0).clamp_min(1e-6)
    z = z / z.norm(dim=1, keepdim=True).clamp_min(1e-12)
    count = len(z)
    columns, cosines = [], []
    for start in range(0, count, BLOCK):
        near = z[start : start + BLOCK] @ z.T
        own = torch.arange(len(near), device=z.device)
        near[own, own + start] = -torch.inf
        cosine, column = near.topk(min(neighbours, count - 1), 1)
        columns.append(column)
        cosines.append(cosine)
    column = torch.cat(columns)
    row = torch.arange(count, device=z.device)[:, None].expand_as(column)
    i, j = torch.cat([row.flatten(), column.flatten()]), torch.cat([column.flatten(), row.flatten()])
    b = ((torch.cat(cosines).flatten() - 1) / temperature).exp().repeat(2)
    root = torch.zeros(count, device=z.device).index_add_(0, i, b).clamp_min(1e-12).rsqrt()
    return i, j, (b * root[i] * root[j])[:, None]
