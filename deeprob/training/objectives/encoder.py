"""What is trained on the features of a network and thrown away, and how far the features spread."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from deeprob import layers
from deeprob.models.features import Encoder


def encoder_of(network: nn.Module) -> Encoder:
    """The encoder of a network that is trained without labels: its classifier stays as it is."""
    encoder = Encoder(network)
    encoder.head.requires_grad_(False)
    return encoder


def projector(num_features: int, hidden: int, out: int, depth: int = 2) -> nn.Sequential:
    """Make `depth` linear layers, each but the last with batch norm and rectifier: (N, D) -> (N, out)."""
    widths = [num_features, *[hidden] * (depth - 1), out]
    members: list[nn.Module] = []
    for i, (given, to) in enumerate(itertools.pairwise(widths)):
        members.append(layers.Linear(given, to))
        if i < depth - 1:
            members += [layers.BatchNorm1d(to), layers.ReLU()]
    return nn.Sequential(*members)


@torch.no_grad()
def spread(features: Tensor) -> dict[str, Tensor]:
    """Measure how far features (N, D) use the space that they have; both fall where they collapse.

    feature_std: mean over the dimensions of the standard deviation of z / |z|, times sqrt(D); near 1
        where they fill the sphere evenly, 0 where all have the same. Source: Chen and He 2021, SimSiam.
    effective_rank: exp of the entropy of the singular values of the centred features, each over their sum;
        D where all directions are used alike, 1 for one. Source: Roy and Vetterli 2007.
    """
    z = features.detach().double()
    unit = z / z.norm(dim=1, keepdim=True).clamp_min(1e-12)
    std = unit.std(0).mean() * z.shape[1] ** 0.5
    values = torch.linalg.svdvals(z - z.mean(0))
    share = values / values.sum().clamp_min(1e-12)
    rank = torch.special.entr(share).sum().exp()
    return {"feature_std": std.float(), "effective_rank": rank.float()}
