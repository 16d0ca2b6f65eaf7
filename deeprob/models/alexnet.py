"""AlexNet, in the one-column form whose weights are published.

Five convolutions with three pools between them, then three linear layers with dropout before the first two.
Source: Krizhevsky, Sutskever and Hinton, ImageNet classification with deep convolutional neural networks
(2012); widths of Krizhevsky, One weird trick for parallelizing convolutional neural networks (2014).

Parameter names are torchvision's (features.0, ..., classifier.6), so its state dicts load into "imagenet".
"""

from __future__ import annotations

from torch import Tensor, nn

from deeprob.errors import InputError
from deeprob.models.backend import check_positive, input_norm_of, layers_of
from deeprob.models.initialise import he_normal, small_classifier

SMALLEST = {"imagenet": 63, "small": 8}  # pixels that leave something after the last pool


class AlexNet(nn.Module):
    """AlexNet: images (N, in_channels, H, W) -> logits (N, num_classes).

    variant: "imagenet" for images of 224 px (from 63 on): an 11x11 stem of stride 4, overlapping pools, and
        6x6 bins before the classifier. "small" for 32 px: a 3x3 stem of stride 1, pools of 2x2, 4x4 bins.
    width: channels of the first convolution; the others have 3, 6, 4 and 4 times as many.
    hidden: units of the two hidden linear layers. dropout: before each of them.
    input_norm: see backend.input_norm_of.
    backend: "deeprob" or "torch": whose layers to use; weights are interchangeable.
    Raises InputError where an argument is wrong or an image too small.
    """

    def __init__(
        self,
        num_classes: int,
        variant: str = "imagenet",
        width: int = 64,
        hidden: int = 4096,
        dropout: float = 0.5,
        input_norm: bool = False,
        in_channels: int = 3,
        backend: str = "deeprob",
    ) -> None:
        super().__init__()
        if variant not in SMALLEST:
            raise InputError(f"variant={variant}", where="alexnet", expected=" or ".join(SMALLEST))
        check_positive("alexnet", width=width, hidden=hidden, in_channels=in_channels)
        L = layers_of(backend)
        self.smallest, self.in_channels = SMALLEST[variant], in_channels
        self.input_norm = input_norm_of(input_norm, in_channels, backend)
        large = variant == "imagenet"
        kernel, stride, padding = (11, 4, 2) if large else (3, 1, 1)
        pool, bins = (3, 6) if large else (2, 4)
        second = 5 if large else 3
        self.features = nn.Sequential(
            L.Conv2d(in_channels, width, kernel, stride, padding),
            L.ReLU(),
            L.MaxPool2d(pool, 2),
            L.Conv2d(width, 3 * width, second, padding=second // 2),
            L.ReLU(),
            L.MaxPool2d(pool, 2),
            L.Conv2d(3 * width, 6 * width, 3, padding=1),
            L.ReLU(),
            L.Conv2d(6 * width, 4 * width, 3, padding=1),
            L.ReLU(),
            L.Conv2d(4 * width, 4 * width, 3, padding=1),
            L.ReLU(),
            L.MaxPool2d(pool, 2),
        )
        self.avgpool = L.AdaptiveAvgPool2d(bins)
        self.classifier = nn.Sequential(
            L.Dropout(dropout),
            L.Linear(4 * width * bins**2, hidden),
            L.ReLU(),
            L.Dropout(dropout),
            L.Linear(hidden, hidden),
            L.ReLU(),
            L.Linear(hidden, num_classes),
        )
        he_normal(self)
        small_classifier(self.classifier[-1])

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] != self.in_channels or min(x.shape[2:]) < self.smallest:
            raise InputError(
                f"images of shape {tuple(x.shape[1:])}",
                where="alexnet",
                expected=f"{self.in_channels} channels, at least {self.smallest} x {self.smallest} pixels",
                fix="model.variant=small reads 32 px" if self.smallest > SMALLEST["small"] else None,
            )
        logits: Tensor = self.classifier(self.avgpool(self.features(self.input_norm(x))).flatten(1))
        return logits
