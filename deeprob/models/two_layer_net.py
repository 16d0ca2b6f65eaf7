"""Two-layer network: s = W2 max(0, W1 x + b1) + b2, its loss and gradient written three times.

    loss = - 1/N sum_n log softmax(s_n)_{y_n} + lambda/2 (|W1|^2 + |W2|^2)

    ds = (softmax(s) - onehot(y)) / N
    dW2 = ds^T h + lambda W2,   db2 = sum_n ds_n,   dh = ds W2
    da = dh [a > 0]                                    a = W1 x + b1, h = max(0, a): a gate, open or shut
    dW1 = da^T x + lambda W1,   db1 = sum_n da_n

W1 (H, D), b1 (H), W2 (C, H), b2 (C), x (N, D), y (N).
Source: Stanford CS231n, neural networks case study; Johnson, backpropagation lecture, flat code.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from deeprob.layers import cross_entropy, l2_regularizer, linear, relu
from deeprob.models.backend import check_positive, layers_of
from deeprob.models.features import Features
from deeprob.models.initialise import he_normal, small_classifier


class Weights(NamedTuple):
    """What the network learns, or the gradient of it."""

    W1: Tensor
    b1: Tensor
    W2: Tensor
    b2: Tensor


def two_layer_loss_loops(w: Weights, x: Tensor, y: Tensor, strength: float) -> tuple[float, Weights]:
    """Loss and gradients as one would write them down: a sample, a unit and a number at a time."""
    (H, D), C, N = w.W1.shape, len(w.W2), len(x)
    loss, dw = 0.0, Weights(*(torch.zeros_like(p) for p in w))
    for n in range(N):
        a = [float(w.b1[h]) + sum(float(w.W1[h, d]) * float(x[n, d]) for d in range(D)) for h in range(H)]
        hidden = [max(0.0, value) for value in a]
        s = [float(w.b2[c]) + sum(float(w.W2[c, h]) * hidden[h] for h in range(H)) for c in range(C)]
        largest = max(s)
        total = sum(math.exp(value - largest) for value in s)
        loss -= (s[int(y[n])] - largest - math.log(total)) / N
        dhidden = [0.0] * H
        for c in range(C):
            ds = (math.exp(s[c] - largest) / total - (1.0 if c == int(y[n]) else 0.0)) / N
            for h in range(H):
                dw.W2[c, h] += ds * hidden[h]
                dhidden[h] += ds * float(w.W2[c, h])
            dw.b2[c] += ds
        for h in range(H):
            if a[h] <= 0:
                continue
            for d in range(D):
                dw.W1[h, d] += dhidden[h] * x[n, d]
            dw.b1[h] += dhidden[h]
    for W, dW in ((w.W1, dw.W1), (w.W2, dw.W2)):
        for i in range(W.shape[0]):
            for j in range(W.shape[1]):
                loss += strength / 2 * float(W[i, j]) ** 2
                dW[i, j] += strength * W[i, j]
    return loss, dw


def two_layer_loss_vectorised(w: Weights, x: Tensor, y: Tensor, strength: float) -> tuple[Tensor, Weights]:
    """Loss and gradients as flat code: forward, then the same lines backward in reverse order."""
    N = len(x)
    # forward
    a = x @ w.W1.T + w.b1
    h = a.clamp_min(0)
    s = h @ w.W2.T + w.b2
    p = s.softmax(1)
    cross = -(s.log_softmax(1).gather(1, y[:, None])).sum() / N
    loss = cross + strength / 2 * (w.W1.square().sum() + w.W2.square().sum())
    # backward
    ds = (p - nn.functional.one_hot(y, len(w.W2))) / N
    db2 = ds.sum(0)
    dW2 = ds.T @ h + strength * w.W2
    dh = ds @ w.W2
    da = dh * (a > 0)
    db1 = da.sum(0)
    dW1 = da.T @ x + strength * w.W1
    return loss, Weights(dW1, db1, dW2, db2)


def two_layer_loss_layers(w: Weights, x: Tensor, y: Tensor, strength: float) -> tuple[Tensor, Weights]:
    """Loss and gradients from layers, each of which knows its own gradient."""
    w = Weights(*(p.detach().requires_grad_() for p in w))
    s = linear(relu(linear(x, w.W1, w.b1)), w.W2, w.b2)
    loss = cross_entropy(s, y) + l2_regularizer(w.W1, w.W2, strength=strength)
    return loss.detach(), Weights(*torch.autograd.grad(loss, w))


class TwoLayerNet(nn.Module):
    """Images (N, in_channels, image_size, image_size) -> scores (N, num_classes).

    hidden: units of the layer between. features, input_norm, network: see deeprob.models.features.Features.
    backend: "deeprob" or "torch": whose layers to use; weights are interchangeable.
    """

    def __init__(
        self,
        num_classes: int,
        hidden: int = 128,
        features: str = "pixels",
        input_norm: bool = False,
        image_size: int = 32,
        in_channels: int = 3,
        backend: str = "deeprob",
        network: nn.Module | None = None,
    ) -> None:
        super().__init__()
        check_positive("two_layer_net", hidden=hidden)
        L = layers_of(backend)
        self.features = Features(features, image_size, in_channels, input_norm, network)
        self.fc1 = L.Linear(self.features.num_features, hidden)
        self.relu = L.ReLU()
        self.fc2 = L.Linear(hidden, num_classes)
        he_normal(self.fc1)
        small_classifier(self.fc2)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.fc2(self.relu(self.fc1(self.features(images))))
        return scores

    def templates(self) -> Tensor | None:
        """Rows of W1 as pictures (hidden, C, H, W), what each unit looks for; None but for pixels."""
        return self.features.pictures(self.fc1.weight)
