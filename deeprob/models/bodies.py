"""The part of a network that sees: stages whose feature maps are all given, coarser and coarser.

A body is any of the classification networks without its classifier, or `CompactBody`, made for a CPU. It says
`strides`, the side in pixels of a cell of each map, and `channels`, those of each map.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from deeprob.errors import InputError
from deeprob.models.backend import check_positive, layers_of, operations_of
from deeprob.models.cnn import CNN
from deeprob.models.initialise import he_normal
from deeprob.models.resnet import Block, Open, ResNet


class ResNetBody(ResNet):
    """A residual network without pool and classifier: images (N, 3, H, W) -> a map a stage.

    Arguments and parameter names: see ResNet; torchvision's `backbone.body` of its detectors.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(num_classes=1, **options)
        del self.avgpool, self.dropout, self.fc
        first = 1 if options.get("stem") == "small" else 4
        self.strides = tuple(first << stage for stage in range(self.num_stages))

    def forward(self, x: Tensor) -> list[Tensor]:  # type: ignore[override]
        y, maps = self.begin(x), []
        for stage in range(self.num_stages):
            y = getattr(self, f"layer{stage + 1}")(y)
            y = y.close() if isinstance(y, Open) else y
            maps.append(y)
        return maps


class CNNBody(CNN):
    """A plain pyramid without pool and classifier: images (N, 3, H, W) -> a map a stage. See CNN."""

    def __init__(self, **options: Any) -> None:
        super().__init__(num_classes=1, **options)
        del self.avgpool, self.dropout, self.head
        self.strides = tuple(2 << stage for stage in range(len(self.stages)))
        self.channels = list(options["widths"])

    def forward(self, x: Tensor) -> list[Tensor]:  # type: ignore[override]
        y, maps = self.input_norm(x), []
        for stage in self.stages:
            y = stage(y)
            maps.append(y)
        return maps


def conv_norm_relu(
    in_channels: int,
    out_channels: int,
    backend: str,
    stride: int = 1,
    separable: bool = False,
    kernel: int = 3,
) -> nn.Sequential:
    """A convolution, batch norm and rectifier; `separable`: by channel, then 1x1, each with its norm."""
    L = layers_of(backend)
    parts = [(in_channels, out_channels, kernel, stride, 1)]
    if separable:
        parts = [
            (in_channels, in_channels, kernel, stride, in_channels),
            (in_channels, out_channels, 1, 1, 1),
        ]
    members: list[nn.Module] = []
    for given, to, size, step, groups in parts:
        members += [
            L.Conv2d(given, to, size, step, padding=(size - step + 1) // 2, groups=groups, bias=False),
            L.BatchNorm2d(to),
            L.ReLU(),
        ]
    return nn.Sequential(*members)


class NarrowBlock(Block):
    """x (N, C, H, W) -> the same shape: relu(x + F(x)), F two 3x3 convolutions with C/2 channels between."""

    last = ("conv2", "bn2")

    def __init__(self, channels: int, fused: bool, backend: str) -> None:
        super().__init__(norm=True, fused=fused, backend=backend)
        self.conv1 = self.convolution(channels, channels // 2, 3)
        self.bn1 = self.batch_norm(channels // 2)
        self.conv2 = self.convolution(channels // 2, channels, 3)
        self.bn2 = self.batch_norm(channels)

    def forward(self, x: Tensor | Open) -> Tensor | Open:
        z, shortcut = self.begin(x)
        return self.end(self.bn2, self.between(self.bn1, self.conv2, z), shortcut)


class SeparableBlock(nn.Module):
    """x (N, C, H, W) -> the same shape: x + F(x), F two separable convolutions."""

    def __init__(self, channels: int, backend: str) -> None:
        super().__init__()
        self.conv1 = conv_norm_relu(channels, channels, backend, separable=True)
        self.conv2 = conv_norm_relu(channels, channels, backend, separable=True)[:-1]
        self.add = operations_of(backend).add

    def forward(self, x: Tensor) -> Tensor:
        return self.add(x, self.conv2(self.conv1(x)))


class CompactBody(nn.Module):
    """A narrow residual pyramid for a CPU: images (N, 3, H, W) -> maps of strides 4, 8, 16, ...

    widths: channels of each stage. blocks: residual blocks of each. stem: what leads to the first stage,
    "two" strided 3x3 convolutions, or one of 8x8 whose windows move by 4 ("patch": a training step is a tenth
    cheaper). One strided convolution leads to each next stage.
    separable: depthwise and 1x1 convolutions in place of 3x3 ones. fused: see resnet.Block.
    """

    def __init__(
        self,
        widths: Sequence[int] = (32, 64, 96, 128),
        blocks: Sequence[int] = (1, 2, 2, 1),
        stem: str = "two",
        separable: bool = False,
        fused: bool = False,
        in_channels: int = 3,
        backend: str = "deeprob",
    ) -> None:
        super().__init__()
        check_positive("compact", widths=min(widths, default=0), in_channels=in_channels)
        if len(blocks) != len(widths):
            raise InputError(
                f"blocks={list(blocks)} for widths={list(widths)}", where="compact", expected="one a stage"
            )
        self.strides, self.channels = tuple(4 << stage for stage in range(len(widths))), list(widths)
        if stem not in ("two", "patch"):
            raise InputError(f"stem={stem!r}", where="compact", expected="two or patch")
        channels = in_channels
        self.stages = nn.ModuleList()
        for i, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            if i > 0:
                entry = conv_norm_relu(channels, width, backend, 2, separable)
            elif stem == "two":
                half = conv_norm_relu(channels, width // 2, backend, 2)
                entry = nn.Sequential(half, conv_norm_relu(width // 2, width, backend, 2, separable))
            else:
                entry = conv_norm_relu(channels, width, backend, 4, kernel=8)
            stage: list[nn.Module] = [entry]
            stage += [
                SeparableBlock(width, backend) if separable else NarrowBlock(width, fused, backend)
                for _ in range(count)
            ]
            self.stages.append(nn.Sequential(*stage))
            channels = width
        he_normal(self)

    def forward(self, x: Tensor) -> list[Tensor]:
        y, maps = x, []
        for stage in self.stages:
            y = stage(y)
            y = y.close() if isinstance(y, Open) else y
            maps.append(y)
        return maps


def _resnet(usual: Sequence[int], block: str, width: int) -> Callable[..., nn.Module]:
    def make(widths: Sequence[int] | None, blocks: Sequence[int] | None, **options: Any) -> nn.Module:
        first, stem = widths[0] if widths else width, options.pop("stem") or "imagenet"
        return ResNetBody(blocks=blocks or usual, block=block, width=first, stem=stem, **options)

    return make


def _cnn(
    widths: Sequence[int] | None, blocks: Sequence[int] | None, stem: str | None, fused: bool, **options: Any
) -> nn.Module:
    if stem is not None:
        raise InputError(f"stem={stem!r}", where="cnn", expected="none: it has no stem")
    return CNNBody(widths=widths or (24, 48, 96, 128), convs=blocks[0] if blocks else 2, **options)


def _compact(
    separable: bool, usual: tuple[int, ...], counts: tuple[int, ...], stem: str
) -> Callable[..., nn.Module]:
    def make(widths: Sequence[int] | None, blocks: Sequence[int] | None, **options: Any) -> nn.Module:
        start = options.pop("stem") or stem
        return CompactBody(widths or usual, blocks or counts, start, separable, **options)

    return make


BODIES: dict[str, Callable[..., nn.Module]] = {
    "compact": _compact(False, (32, 64, 96, 128), (1, 2, 2, 1), "two"),
    "separable": _compact(True, (32, 64, 96, 160), (1, 2, 3, 2), "patch"),
    "cnn": _cnn,
    "resnet_small": _resnet((1, 1, 1, 1), "basic", 24),
    "resnet18": _resnet((2, 2, 2, 2), "basic", 64),
    "resnet34": _resnet((3, 4, 6, 3), "basic", 64),
    "resnet50": _resnet((3, 4, 6, 3), "bottleneck", 64),
}


def body_of(
    name: str, widths: Sequence[int] | None, blocks: Sequence[int] | None, **options: Any
) -> nn.Module:
    """The body of that name. widths, blocks: of its stages; None: the usual ones. options: of its class.

    Of a residual network the first of widths counts, as each stage has twice the width of the one before; of
    the cnn the first of blocks, its convolutions a stage. Raises InputError where there is none of that name.
    """
    if name not in BODIES:
        raise InputError(f"backbone={name!r}", where="model", expected=f"one of {', '.join(BODIES)}")
    return BODIES[name](widths, blocks, **options)
