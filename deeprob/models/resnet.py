"""Residual networks.

    block:  y = relu(F(x) + S(x))    F: two 3x3 convolutions with batch norm; S: identity, or a 1x1 projection

The shortcut is an add gate: backward it hands dy to both branches unchanged, so a gradient reaches the first
layer without passing through a single weight (He et al., Deep Residual Learning, 2015, equation 2).

Parameter names are torchvision's (conv1, bn1, layer1.0.conv1, ..., fc), so its state dicts load.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from deeprob.models.backend import layers_of


class BasicBlock(nn.Module):
    """x (N, C, H, W) -> (N, out_channels, H/stride, W/stride)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, norm: bool, backend: str) -> None:
        super().__init__()
        L = layers_of(backend)

        def normalise(channels: int) -> nn.Module:
            return L.BatchNorm2d(channels) if norm else nn.Identity()

        self.conv1 = L.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=not norm)
        self.bn1 = normalise(out_channels)
        self.relu = L.ReLU()
        self.conv2 = L.Conv2d(out_channels, out_channels, 3, padding=1, bias=not norm)
        self.bn2 = normalise(out_channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            projection = L.Conv2d(in_channels, out_channels, 1, stride, bias=not norm)
            self.downsample = nn.Sequential(projection, normalise(out_channels))
        self.add = torch.add if backend == "torch" else L.add

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y: Tensor = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y = self.relu(self.add(y, shortcut))
        return y


class ResNet(nn.Module):
    """A residual network of basic blocks: images (N, in_channels, H, W) -> logits (N, num_classes).

    blocks: number of blocks in each stage; each stage after the first halves the resolution and doubles the
        width. width: channels of the first stage.
    stem: "small" is one 3x3 convolution for images of 32 to 64 px; "imagenet" a 7x7 of stride 2 and a pool.
    norm: batch norm after every convolution. Without it the last convolution of each block starts at zero, so
        that a deep network starts as the identity (Zhang et al., Fixup, 2019, first rule).
    dropout: probability before the classifier.
    input_norm: bring every channel of every image to mean 0 and variance 1, so that neither exposure nor a
        colour cast is seen (instance normalisation, Ulyanov et al., 2016).
    backend: "deeprob" or "torch": whose layers to use; weights are interchangeable.
    """

    def __init__(
        self,
        num_classes: int,
        blocks: Sequence[int] = (2, 2, 2, 2),
        width: int = 64,
        stem: str = "imagenet",
        norm: bool = True,
        dropout: float = 0.0,
        input_norm: bool = False,
        in_channels: int = 3,
        backend: str = "deeprob",
    ) -> None:
        super().__init__()
        if stem not in ("small", "imagenet"):
            raise ValueError(f"stem: expected small or imagenet, got {stem!r}")
        if not 1 <= len(blocks) <= 4 or min(blocks) < 1:
            raise ValueError(f"blocks: expected one to four stages of at least one block, got {list(blocks)}")
        L = layers_of(backend)
        channels = in_channels
        self.input_norm = L.GroupNorm(channels, channels, affine=False) if input_norm else nn.Identity()
        kernel, stride = (3, 1) if stem == "small" else (7, 2)
        self.conv1 = L.Conv2d(in_channels, width, kernel, stride, padding=kernel // 2, bias=not norm)
        self.bn1 = L.BatchNorm2d(width) if norm else nn.Identity()
        self.relu = L.ReLU()
        self.maxpool = nn.Identity() if stem == "small" else L.MaxPool2d(3, stride=2, padding=1)
        channels = width
        self.num_stages = len(blocks)
        for stage, num_blocks in enumerate(blocks):
            layers: list[nn.Module] = []
            for block in range(num_blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(BasicBlock(channels, width << stage, stride, norm, backend))
                channels = width << stage
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
        self.avgpool = L.AdaptiveAvgPool2d(1)
        self.dropout = L.Dropout(dropout)
        self.fc = L.Linear(channels, num_classes)
        self._initialise(norm)

    def _initialise(self, norm: bool) -> None:
        """Normal, variance 2 / fan out (He et al., Delving Deep, 2015); blocks start as the identity."""
        for name, parameter in self.named_parameters():
            if parameter.dim() == 4:
                nn.init.kaiming_normal_(parameter, mode="fan_out", nonlinearity="relu")
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)
        for module in self.modules():
            if isinstance(module, BasicBlock):
                last = module.bn2 if norm else module.conv2
                nn.init.zeros_(last.weight)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(self.input_norm(x)))))
        for stage in range(self.num_stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        logits: Tensor = self.fc(self.dropout(self.avgpool(x).flatten(1)))
        return logits
