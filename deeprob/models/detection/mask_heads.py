"""The mask branch of a two-stage detector: which pixels of a box are the object's.

    box -> RoIAlign (14 x 14) -> 3x3 convolutions -> transposed convolution -> a plane (28 x 28) of each class

A class's plane holds logits that compete with no other's. Training asks for the plane of the object's class
only, in boxes that hold one:
    loss = mean of the binary cross-entropy of that plane and the object's mask, cut out by the same box

The mask is cut by RoIAlign too, so that a cell at the object's edge is to say which share of it is covered.
Parameter names are torchvision's (mask_head.0.0, mask_predictor.conv5_mask, .mask_fcn_logits).
Source: He et al., Mask R-CNN (2017), section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deeprob import layers
from deeprob.models.backend import layers_of
from deeprob.models.bodies import conv_norm_relu
from deeprob.models.initialise import he_normal

BINS = 14  # a side, of what is read; a mask has twice as many cells


class MaskHead(nn.Sequential):
    """Features of RoIs (K, in_channels, 14, 14) -> (K, width, 14, 14), by `depth` 3x3 convolutions."""

    def __init__(self, in_channels: int, width: int, depth: int, norm: bool, backend: str) -> None:
        L = layers_of(backend)
        members: list[nn.Module] = []
        for i in range(depth):
            given = width if i else in_channels
            plain = nn.Sequential(L.Conv2d(given, width, 3, padding=1), L.ReLU())
            members.append(conv_norm_relu(given, width, backend) if norm else plain)
        super().__init__(*members)
        he_normal(self)
        self.out = width if depth else in_channels


class MaskPredictor(nn.Module):
    """Features (K, in_channels, 14, 14) -> logits (K, C + 1, 28, 28), a plane of each class, 0 of none."""

    def __init__(self, in_channels: int, width: int, num_classes: int, backend: str) -> None:
        super().__init__()
        L = layers_of(backend)
        self.conv5_mask = L.ConvTranspose2d(in_channels, width, 2, stride=2)
        self.relu = L.ReLU()
        self.mask_fcn_logits = L.Conv2d(width, num_classes + 1, 1)
        he_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.mask_fcn_logits(self.relu(self.conv5_mask(x)))
        return y if y.dtype is torch.float64 else y.float()


def mask_loss(logits: Tensor, labels: Tensor, wanted: Tensor) -> Tensor:
    """The mean over boxes and cells of the binary cross-entropy of the plane of each box's class.

    logits: (K, C + 1, S, S). labels: int64 (K,), from 1. wanted: (K, S, S), shares of cells.
    """
    own = layers.take_rows(logits, torch.arange(len(labels), device=labels.device), labels)
    return layers.binary_cross_entropy_with_logits(own, wanted.to(own))


@torch.no_grad()
def cut_masks(masks: Tensor, boxes: Tensor, side: int) -> Tensor:
    """What of each mask lies in its box, as shares of cells: bool (K, H, W), (K, 4) -> (K, side, side)."""
    number = torch.arange(len(masks), device=boxes.device)[:, None].to(boxes)
    edges = torch.cat([number, boxes + 0.5], 1)
    return layers.roi_align(masks[:, None].to(boxes), edges, side, 1.0, 0, aligned=True)[:, 0]
