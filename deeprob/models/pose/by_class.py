"""A linear map for each class: of every sample only its own class's outputs are computed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deeprob import layers


class LinearByClass(nn.Module):
    """y[b] = W[c_b] x[b] + bias[c_b] for x (B, in, N) and classes c (B,): float (B, out, N)."""

    def __init__(self, num_classes: int, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_classes, out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(num_classes, out_features))
        nn.init.normal_(self.weight, std=0.01)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        weight, bias = (layers.take_rows(p, labels) for p in (self.weight, self.bias))
        y = layers.matmul(weight.to(x.dtype), x)
        return layers.add(y, bias.to(x.dtype)[..., None])
