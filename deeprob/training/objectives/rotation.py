"""Which of four ways an image was turned: a label that every image has by itself.

    loss = cross-entropy of head(f(image turned by k quarters)), k = 0, 1, 2, 3

f: the network without its classifier; the head is thrown away after. Objects that are seen from every side,
such as those on a table from above, have no such label. Source: Gidaris et al. 2018, Unsupervised
representation learning by predicting image rotations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import nn

from deeprob import layers
from deeprob.errors import InputError
from deeprob.tasks.base import Loss, Task
from deeprob.training.objectives.base import Objective
from deeprob.training.objectives.encoder import encoder_of, spread

TURNS = 4


class Rotation(Objective):
    """Images (B, C, S, S) are turned, each by all four quarters: a batch of 4 B."""

    needs_labels: ClassVar[bool] = False
    strategy: ClassVar[str] = "Self-supervised: rotation, the network says how an image was turned"

    def attach(self, task: Task, model: nn.Module) -> None:
        self.head = layers.Linear(encoder_of(model).num_features, TURNS)

    def validation(self, task: Task, model: nn.Module, batch: Any) -> Loss | None:
        return None

    def forward(self, task: Task, model: nn.Module, batch: Any) -> Loss:
        images = batch[0]
        if images.dim() != 4 or images.shape[2] != images.shape[3]:
            raise InputError(f"inputs of shape {tuple(images.shape[1:])}", expected="square images to turn")
        turned = torch.cat([torch.rot90(images, k, (2, 3)) for k in range(TURNS)])
        features = encoder_of(model)(turned)
        logits = self.head(features)
        labels = torch.arange(TURNS, device=logits.device).repeat_interleave(len(images))
        right = (logits.detach().argmax(1) == labels).float().mean()
        measured = spread(features[: len(images)])
        return Loss(layers.cross_entropy(logits, labels), {"rotation_accuracy": right, **measured})

    def remark(self, means: Mapping[str, float]) -> str | None:
        return None
