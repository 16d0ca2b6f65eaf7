"""PointNet: a network on sets of points, in any order.

    x (B, P, 3) -> x A_3 -> shared MLP -> x A_k -> shared MLP -> max over points = g (B, F) -> MLP -> logits

A shared MLP sees every point alone; the maximum does not ask in which order its arguments come: the output is
the same for any permutation of the points. A_3 and A_k are matrices (k, k) that a small network of the same
kind, T-Net, predicts for each cloud. A_k is held near a rotation, which keeps what it maps:

    penalty = w mean ||I - A_k A_k^T||_F^2

For parts, each point's features join g, and a shared MLP labels the point: the first layer over both is
W_p x + W_g g, where g is multiplied once a cloud, not once a point.

The layer before each maximum has no norm, unlike the paper's: so it and the maximum are one
(deeprob.layers.PointMLPMax), whose backward visits the points that won and no others.

Source: Qi, Su, Mo, Guibas, PointNet: deep learning on point sets for 3D classification and segmentation,
CVPR 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from deeprob.errors import InputError
from deeprob.models.backend import check_positive, layers_of, operations_of
from deeprob.models.initialise import he_normal, small_classifier
from deeprob.models.mlp import NORMS, HiddenLayer

TASKS = ("classification", "parts")


class NativePointMLPMax(nn.Linear):
    """deeprob.layers.PointMLPMax in torch's own operations."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).relu().amax(1)


class SharedMLP(nn.Module):
    """The same perceptron for every point: (B, P, widths[0]) -> (B, P, widths[-1])."""

    def __init__(self, widths: Sequence[int], norm: str, dropout: float, backend: str) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(HiddenLayer(a, b, norm, dropout, backend) for a, b in pairwise(widths)))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x.flatten(0, 1))
        return y.view(*x.shape[:2], -1)


class GlobalFeature(nn.Module):
    """(B, P, D) -> (B, F): the largest value of each feature over all points."""

    def __init__(self, in_features: int, features: int, backend: str) -> None:
        super().__init__()
        kind = NativePointMLPMax if backend == "torch" else layers_of(backend).PointMLPMax
        self.pool = kind(in_features, features)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.pool(x)
        return y


class TNet(nn.Module):
    """Predicts a matrix (B, k, k) for clouds (B, P, k); at the start, the identity."""

    def __init__(self, k: int, width: int, features: int, norm: str, backend: str) -> None:
        super().__init__()
        L = layers_of(backend)
        self.k = k
        self.points = SharedMLP([k, width, 2 * width], norm, 0.0, backend)
        self.pool = GlobalFeature(2 * width, features, backend)
        sizes = [features, features // 2, features // 4]
        self.hidden = nn.Sequential(*(HiddenLayer(a, b, norm, 0.0, backend) for a, b in pairwise(sizes)))
        self.matrix = L.Linear(sizes[-1], k * k)

    def start_as_identity(self) -> None:
        """Predict the identity for every cloud."""
        with torch.no_grad():
            nn.init.zeros_(self.matrix.weight)
            self.matrix.bias.copy_(torch.eye(self.k).flatten())

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.matrix(self.hidden(self.pool(self.points(x))))
        return y.view(-1, self.k, self.k)


class PointNet(nn.Module):
    """Points (B, P, 3) -> logits (B, num_classes) of the cloud, or (B, num_classes, P) of its points.

    task: `classification` or `parts`. width: of the first shared layers, the second ones are twice as wide.
    features: of the whole cloud. input_transform, feature_transform: predict A_3, A_k.
    orthogonality: weight w of the penalty on A_k. norm: none, batch or layer. dropout: before the last layer.
    backend: "deeprob" or "torch": whose layers to use; weights are interchangeable.

    `penalty()` is a term of the loss that belongs to the last forward in training: the training adds it.
    Raises InputError where an argument, or a cloud, does not fit.
    """

    def __init__(
        self,
        num_classes: int,
        task: str = "classification",
        width: int = 64,
        features: int = 1024,
        input_transform: bool = True,
        feature_transform: bool = True,
        orthogonality: float = 0.001,
        norm: str = "batch",
        dropout: float = 0.3,
        backend: str = "deeprob",
    ) -> None:
        super().__init__()
        if task not in TASKS:
            raise InputError(f"task={task}", where="pointnet", expected=" or ".join(TASKS))
        if norm not in NORMS:
            raise InputError(f"norm={norm}", where="pointnet", expected=" or ".join(NORMS))
        check_positive("pointnet", num_classes=num_classes, width=width, features=features // 4)
        L, self.operations = layers_of(backend), operations_of(backend)
        self.orthogonality = orthogonality
        self.input_transform = TNet(3, width, features, norm, backend) if input_transform else None
        self.feature_transform = TNet(width, width, features, norm, backend) if feature_transform else None
        self.points = SharedMLP([3, width, width], norm, 0.0, backend)
        self.deeper = SharedMLP([width, width, 2 * width], norm, 0.0, backend)
        self.pool = GlobalFeature(2 * width, features, backend)
        self.is_parts = task == "parts"
        if self.is_parts:
            hidden = features // 2
            self.of_point = L.Linear(width, hidden)
            self.of_cloud = L.Linear(features, hidden, bias=False)
            self.joined = L.ReLU()
            sizes = [hidden, features // 4, features // 8]
            self.body: nn.Module = SharedMLP(sizes, norm, 0.0, backend)
        else:
            sizes = [features, features // 2, features // 4]
            self.body = nn.Sequential(*(HiddenLayer(a, b, norm, 0.0, backend) for a, b in pairwise(sizes)))
        self.dropout = L.Dropout(dropout)
        self.head = L.Linear(sizes[-1], num_classes)
        self.squared_error = L.MSELoss(reduction="sum")
        self._transform: Tensor | None = None
        he_normal(self)
        small_classifier(self.head)
        for transform in (self.input_transform, self.feature_transform):
            if transform is not None:
                transform.start_as_identity()

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 3 or x.shape[1] < 1 or x.shape[2] != 3:
            raise InputError(
                f"clouds of shape {tuple(x.shape)}",
                where="pointnet",
                expected="(B, P, 3)",
                fix="data/view=points",
            )
        if self.input_transform is not None:
            x = self.operations.matmul(x, self.input_transform(x))
        x = self.points(x)
        if self.feature_transform is not None:
            transform = self.feature_transform(x)
            x = self.operations.matmul(x, transform)
            if self.training:
                self._transform = transform
        whole = self.pool(self.deeper(x))
        if self.is_parts:
            x = self.joined(self.operations.add(self.of_point(x), self.of_cloud(whole)[:, None]))
            logits: Tensor = self.head(self.dropout(self.body(x))).mT
            return logits
        logits = self.head(self.dropout(self.body(whole)))
        return logits

    def penalty(self) -> Tensor:
        """Return w mean ||I - A_k A_k^T||_F^2 of the last forward in training, a scalar; 0 without one."""
        transform, self._transform = self._transform, None  # a graph that is kept would hold its memory
        if transform is None:
            return torch.zeros((), device=self.head.weight.device)
        product = self.operations.matmul(transform, transform.mT)
        identity = torch.eye(product.shape[1], dtype=product.dtype, device=product.device).expand_as(product)
        distance: Tensor = self.squared_error(product, identity)
        return distance * (self.orthogonality / len(transform))
