"""A plain convolutional pyramid: convolution, norm, rectifier; after each stage a pool halves the map.

Source: Simonyan and Zisserman, Very deep convolutional networks (2015), with the norms of Ioffe and Szegedy,
Batch normalization (2015), and the global average before the classifier of Lin et al., Network in network
(2014).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from deeprob.errors import InputError
from deeprob.models.backend import check_positive, input_norm_of, layers_of
from deeprob.models.initialise import he_normal, small_classifier


class CNN(nn.Module):
    """A pyramid of 3x3 convolutions: images (N, in_channels, H, W) -> logits (N, num_classes).

    widths: channels of each stage; every stage ends in a 2x2 maximum. convs: convolutions a stage.
    norm: batch norm after every convolution. dropout: probability before the classifier.
    input_norm: see backend.input_norm_of.
    backend: "deeprob" or "torch": whose layers to use; weights are interchangeable.
    Raises InputError where an argument is wrong or an image too small for the pools.
    """

    def __init__(
        self,
        num_classes: int,
        widths: Sequence[int] = (32, 64, 128),
        convs: int = 2,
        norm: bool = True,
        dropout: float = 0.0,
        input_norm: bool = False,
        in_channels: int = 3,
        backend: str = "deeprob",
    ) -> None:
        super().__init__()
        check_positive("cnn", widths=min(widths, default=0), convs=convs, in_channels=in_channels)
        L = layers_of(backend)
        self.in_channels = in_channels
        self.smallest = 2 ** len(widths)
        self.input_norm = input_norm_of(input_norm, in_channels, backend)
        self.stages = nn.Sequential()
        channels = in_channels
        for width in widths:
            stage: OrderedDict[str, nn.Module] = OrderedDict()
            for i in range(1, convs + 1):
                stage[f"conv{i}"] = L.Conv2d(channels, width, 3, padding=1, bias=not norm)
                if norm:
                    stage[f"bn{i}"] = L.BatchNorm2d(width)
                stage[f"relu{i}"] = L.ReLU()
                channels = width
            stage["pool"] = L.MaxPool2d(2)
            self.stages.append(nn.Sequential(stage))
        self.avgpool = L.AdaptiveAvgPool2d(1)
        self.dropout = L.Dropout(dropout)
        self.head = L.Linear(channels, num_classes)
        he_normal(self)
        small_classifier(self.head)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] != self.in_channels or min(x.shape[2:]) < self.smallest:
            raise InputError(
                f"images of shape {tuple(x.shape[1:])}",
                where="cnn",
                expected=f"{self.in_channels} channels, at least {self.smallest} x {self.smallest} pixels",
                fix="give fewer stages in model.widths",
            )
        y = self.avgpool(self.stages(self.input_norm(x))).flatten(1)
        logits: Tensor = self.head(self.dropout(y))
        return logits
