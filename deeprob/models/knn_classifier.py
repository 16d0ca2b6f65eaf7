"""K-nearest neighbours as a model: it remembers the training set, and can choose k by cross-validation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from deeprob.data.batches.divide import assign_folds
from deeprob.errors import InputError
from deeprob.models.backend import check_positive
from deeprob.models.features import Features
from deeprob.models.knn import KNearestNeighbours, check_choices, share_votes, winners


@dataclass(frozen=True)
class CrossValidation:
    """candidates: values of k, (K). accuracy: of each on each fold held out, float64 (K, folds)."""

    candidates: tuple[int, ...]
    accuracy: Tensor

    @property
    def mean(self) -> Tensor:
        """Over the folds, float64 (K)."""
        return self.accuracy.mean(1)

    @property
    def spread(self) -> Tensor:
        """Standard deviation over the folds, float64 (K)."""
        return self.accuracy.std(1)

    @property
    def best(self) -> int:
        """The k of the best mean, the first of equal ones."""
        return self.candidates[int(self.mean.argmax())]


def cross_validate(
    features: Tensor,
    labels: Tensor,
    groups: Tensor,
    candidates: Sequence[int],
    *,
    num_folds: int = 5,
    seed: int = 0,
    **arguments: Any,
) -> CrossValidation:
    """Hold out every fold in turn; predict it from the others with every k, by one search for the largest.

    features (N, D), labels int64 (N,), groups int64 (N,): whole groups are dealt into folds, so that frames
    of one recording are never on both sides. arguments: of KNearestNeighbours, beside k.
    Raises InputError where there are fewer groups than folds, or fewer samples than k.
    """
    if not candidates or min(candidates) < 1:
        raise InputError(f"candidates are {list(candidates)}", where="model", expected="numbers from 1")
    fold_of = assign_folds(groups.cpu(), num_folds, seed).to(features.device)
    accuracy = torch.zeros(len(candidates), num_folds, dtype=torch.float64)
    for fold in range(num_folds):
        held_out = fold_of == fold
        model = KNearestNeighbours(
            features[~held_out], labels[~held_out], k=max(candidates), **{"num_classes": None, **arguments}
        )
        distances, indices = model.neighbours(features[held_out])
        classes, truth = model.labels[indices], labels[held_out]
        num_classes = max(model.num_classes, int(truth.max()) + 1)
        for i, k in enumerate(candidates):
            votes = share_votes(distances[:, :k], classes[:, :k], num_classes, model.weights)
            accuracy[i, fold] = (winners(votes) == truth).double().mean()
    return CrossValidation(tuple(candidates), accuracy)


class KNNClassifier(nn.Module):
    """Images (N, in_channels, image_size, image_size) -> logits (N, num_classes), after `fit`.

    k: neighbours that vote; None chooses among `candidates` by cross-validation over `folds` folds of whole
        groups. metric: l2, l1 or cosine. weights: of the votes, uniform or distance.
    features, input_norm, network: see deeprob.models.features.Features.
    memory_mib: what a search may hold beside the training set.

    A logit is the log of (votes + 1/C) / (k + 1), Laplace's rule: the softmax of the logits is near the share
    of the votes, and no class is impossible. What it remembers travels in its state dict.
    """

    samples: Tensor
    labels: Tensor
    chosen_k: Tensor

    def __init__(
        self,
        num_classes: int,
        k: int | None = 5,
        metric: str = "l2",
        weights: str = "uniform",
        features: str = "pixels",
        input_norm: bool = False,
        candidates: Sequence[int] = (1, 3, 5, 7, 9, 13, 17, 25, 35, 50),
        folds: int = 5,
        memory_mib: int = 256,
        image_size: int = 32,
        in_channels: int = 3,
        network: nn.Module | None = None,
    ) -> None:
        super().__init__()
        check_positive("knn", k=1 if k is None else k, memory_mib=memory_mib)
        check_choices(metric, weights)
        self.num_classes, self.k = num_classes, k
        self.candidates, self.folds = tuple(candidates), folds
        self.settings: dict[str, Any] = {
            "metric": metric,
            "weights": weights,
            "memory_budget": memory_mib * 2**20,
        }
        self.features = Features(features, image_size, in_channels, input_norm, network)
        self.cross_validation: CrossValidation | None = None
        self.register_buffer("samples", torch.zeros(0, self.features.num_features))
        self.register_buffer("labels", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("chosen_k", torch.tensor(k or 0))
        self.index: KNearestNeighbours | None = None

    @torch.no_grad()
    def fit(self, batches: Iterable[Any], groups: Tensor) -> None:
        """Remember the features of all batches (fields images and labels), and choose k where it is None.

        groups: int64 (N,), in the order of the samples. Raises InputError where k or the folds do not fit.
        """
        parts = [
            (self.features(b.images.to(self.samples.device)), b.labels.to(self.labels.device))
            for b in batches
        ]
        self.samples = torch.cat([f for f, _ in parts])
        self.labels = torch.cat([y for _, y in parts])
        k = self.k
        if k is None:
            self.cross_validation = cross_validate(
                *(self.samples, self.labels, groups, self.candidates), num_folds=self.folds, **self.settings
            )
            k = self.cross_validation.best
        self.chosen_k = torch.tensor(k, device=self.samples.device)
        self.index = self._make_index()

    def forward(self, images: Tensor) -> Tensor:
        if self.index is None:
            if len(self.samples) == 0:
                raise InputError("the model remembers nothing yet", where="knn", fix="train it first")
            self.index = self._make_index()
        votes = self.index.votes(self.features(images)) * self.index.k
        return ((votes + 1 / self.num_classes) / (self.index.k + 1)).log().float()

    def flops_per_sample(self) -> int:
        """Of comparing one sample with all that are remembered."""
        return 2 * self.samples.numel()

    def _make_index(self) -> KNearestNeighbours:
        return KNearestNeighbours(
            self.samples, self.labels, num_classes=self.num_classes, k=int(self.chosen_k), **self.settings
        )

    def _apply(self, *args: Any, **kwargs: Any) -> KNNClassifier:
        self.index = None  # it holds the samples where they were
        super()._apply(*args, **kwargs)  # type: ignore[no-untyped-call]
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Make room for as many samples as were remembered; the rest is torch's."""
        self.index = None
        for name in ("samples", "labels"):
            there = state_dict.get(prefix + name)
            if isinstance(there, Tensor):
                setattr(self, name, getattr(self, name).new_empty(there.shape))
        super()._load_from_state_dict(state_dict, prefix, *args)
