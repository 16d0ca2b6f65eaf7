"""What a dense detector's levels are read by: towers of convolutions, and predictions on top of them.

Parameter names are those of torchvision's FCOS head, so its state dicts load.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from deeprob import layers
from deeprob.errors import InputError
from deeprob.models.backend import layers_of
from deeprob.models.bodies import conv_norm_relu

PRIOR = (
    0.01  # of a class at a location, before anything is learned: Lin et al., focal loss (2017), section 4.1
)
GROUPS = 32
NORMS = ("group", "batch")


def tower(width: int, depth: int, norm: str, separable: bool, backend: str) -> nn.Sequential:
    """`depth` 3x3 convolutions of `width` channels, each with norm and rectifier.

    norm: "group", which levels of any size can share (convolutions then have biases, as torchvision's), or
    "batch". separable: depthwise and 1x1 in place of 3x3.
    """
    L = layers_of(backend)
    members: list[nn.Module] = []
    for _ in range(depth):
        if norm == "batch":
            members += conv_norm_relu(width, width, backend, separable=separable)
            continue
        kernel = 1 if separable else 3
        if separable:
            members.append(L.Conv2d(width, width, 3, padding=1, groups=width, bias=False))
        members.append(L.Conv2d(width, width, kernel, padding=kernel // 2))
        members += [L.GroupNorm(math.gcd(GROUPS, width), width), L.ReLU()]
    return nn.Sequential(*members)


class ClassificationHead(nn.Module):
    """A map (B, width, H, W) -> logits (B, num_classes, H, W)."""

    def __init__(self, conv: nn.Sequential, width: int, num_classes: int, kernel: int, backend: str) -> None:
        super().__init__()
        self.conv = conv
        self.cls_logits = layers_of(backend).Conv2d(width, num_classes, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.cls_logits(self.conv(x))
        return logits


class RegressionHead(nn.Module):
    """A map (B, width, H, W) -> distances (B, 4, H, W), not yet positive, and centre-ness (B, 1, H, W).

    bins: above 0, each distance is told by bins + 1 logits: (B, 4 (bins + 1), H, W).
    """

    def __init__(
        self, conv: nn.Sequential, width: int, centre_ness: bool, bins: int, kernel: int, backend: str
    ) -> None:
        super().__init__()
        L = layers_of(backend)
        self.conv = conv
        self.bbox_reg = L.Conv2d(width, 4 * (bins + 1), kernel, padding=kernel // 2)
        self.bbox_ctrness = L.Conv2d(width, 1, kernel, padding=kernel // 2) if centre_ness else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        features = self.conv(x)
        return self.bbox_reg(features), None if self.bbox_ctrness is None else self.bbox_ctrness(features)


class LevelHead(nn.Module):
    """Both heads of one level, or of all that share them."""

    def __init__(
        self,
        num_classes: int,
        width: int,
        depth: int,
        norm: str = "group",
        separable: bool = False,
        kernel: int = 3,
        centre_ness: bool = True,
        bins: int = 0,
        backend: str = "deeprob",
    ) -> None:
        super().__init__()
        if norm not in NORMS:
            raise InputError(f"head_norm={norm!r}", where="model", expected=" or ".join(NORMS))
        towers = [tower(width, depth, norm, separable, backend) for _ in range(2)]
        self.classification_head = ClassificationHead(towers[0], width, num_classes, kernel, backend)
        self.regression_head = RegressionHead(towers[1], width, centre_ness, bins, kernel, backend)
        self._initialise(layers_of(backend), norm)

    def _initialise(self, L: object, norm: str) -> None:
        """Predictions start near their biases: class logits at the prior, all else at 0 (Lin et al., 2017).

        Group-normed towers: normal, 0.01, as published; batch-normed: He et al., whose scale a norm keeps.
        """
        for module in self.modules():
            if not isinstance(module, L.Conv2d):  # type: ignore[attr-defined]
                continue
            predicts = module.bias is not None and norm == "batch"
            if norm == "group" or predicts:
                nn.init.normal_(module.weight, std=0.01)
            else:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        nn.init.constant_(self.classification_head.cls_logits.bias, -math.log((1 - PRIOR) / PRIOR))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        return self.classification_head(x), *self.regression_head(x)


def rows(maps: Sequence[Tensor]) -> Tensor:
    """Maps (B, C, H, W) of all levels as one (B, N, C), level by level, each row by row."""
    return layers.concat([x.flatten(2) for x in maps], 2).mT


def own_heads(levels: int, **arguments: Any) -> nn.ModuleList:
    """A `LevelHead` for each of so many levels."""
    return nn.ModuleList(LevelHead(**arguments) for _ in range(levels))
