"""Networks that keep their coarsest maps fine: in place of strides, convolutions look at every second pixel.

    fcn         two convolutions on the coarsest map
    deeplab     atrous spatial pyramid: a 1x1 convolution, three 3x3 ones of growing dilation and the mean
                over the map, side by side, joined by a 1x1 convolution; then two convolutions
    plus        deeplab's pyramid, joined with the body's first map before the last convolutions

Parameter names of `fcn` and `deeplab` are torchvision's (fcn_resnet50, deeplabv3_resnet50), so their state
dicts load.
Source: Long et al., Fully convolutional networks (2015); Chen et al., Rethinking atrous convolution (2017);
Chen et al., Encoder-decoder with atrous separable convolution (2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from deeprob.errors import InputError
from deeprob.models.backend import check_positive, layers_of
from deeprob.models.bodies import ResNetBody, body_of
from deeprob.models.segmentation.segmenter import Segmenter

HEADS = ("fcn", "deeplab", "plus")
LOW_WIDTH = 48  # channels that the body's first map is brought to: Chen et al. (2018), table 1


class AtrousSegmenter(Segmenter):
    """Images (N, in_channels, H, W) -> logits (N, num_classes, H, W); see Segmenter.

    head: "fcn", "deeplab" or "plus".
    backbone: a residual body of bodies.py, by name; widths, blocks, stem: of it.
    output_stride: side in pixels of a cell of its coarsest map: 8, 16 or 32.
    rates: dilations of the pyramid's convolutions. width: its channels. dropout: probability in the head.
    auxiliary: in training a small fcn on the last map but one gives logits, too.
    Raises InputError where an argument is wrong.
    """

    head_names = ("classifier", "aux_classifier")

    def __init__(
        self,
        num_classes: int,
        head: str = "deeplab",
        backbone: str = "resnet50",
        widths: Sequence[int] | None = None,
        blocks: Sequence[int] | None = None,
        stem: str | None = None,
        output_stride: int = 8,
        rates: Sequence[int] = (12, 24, 36),
        width: int = 256,
        dropout: float = 0.5,
        auxiliary: bool = True,
        flips: bool = False,
        window: Sequence[int] = (),
        overlap: float = 0.25,
        in_channels: int = 3,
        backend: str = "deeprob",
    ) -> None:
        super().__init__(flips, window, overlap, backend)
        check_positive("model", num_classes=num_classes, width=width, in_channels=in_channels)
        check_positive("model", rates=min(rates, default=1), output_stride=output_stride)
        if head not in HEADS:
            raise InputError(f"head={head!r}", where="model", expected=" or ".join(HEADS))
        options: dict[str, Any] = {
            "stem": stem,
            "fused": False,
            "in_channels": in_channels,
            "backend": backend,
        }
        body = body_of(backbone, widths, blocks, **options)
        if not isinstance(body, ResNetBody) or body.num_stages < 2:
            raise InputError(
                f"backbone={backbone!r}", where="model", expected="a residual network of two stages or more"
            )
        dilate(body, output_stride)
        self.backbone, channels = body, body.channels
        L = layers_of(backend)
        self.low: nn.Sequential | None = None
        if head == "fcn":
            self.classifier = fcn_head(channels[-1], num_classes, dropout, backend)
        else:
            pyramid = AtrousPyramid(channels[-1], rates, width, dropout, backend)
            joined = width
            if head == "plus":
                self.low = unit(channels[0], LOW_WIDTH, 1, 1, backend)
                joined = width + LOW_WIDTH
            last = [*unit(joined, width, 3, 1, backend), L.Conv2d(width, num_classes, 1)]
            self.classifier = nn.Sequential(pyramid, *last)
        wanted = fcn_head(channels[-2], num_classes, 0.1, backend) if auxiliary else None
        self.aux_classifier = wanted

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        maps, size = self.backbone(images), images.shape[2:]
        if self.low is None:
            y = self.classifier(maps[-1])
        else:
            seen = self.resized(self.classifier[0](maps[-1]), maps[0].shape[2:])
            y = self.classifier[1:](self.concat([seen, self.low(maps[0])], 1))
        logits = self.at_image(y, size)
        if self.aux_classifier is None or not self.training:
            return logits
        return logits, self.at_image(self.aux_classifier(maps[-2]), size)


class AtrousPyramid(nn.Module):
    """Maps (N, in_channels, H, W) -> (N, width, H, W): each place seen at several scales at once."""

    def __init__(
        self, in_channels: int, rates: Sequence[int], width: int, dropout: float, backend: str
    ) -> None:
        super().__init__()
        L = layers_of(backend)
        whole = nn.Sequential(L.AdaptiveAvgPool2d(1), *unit(in_channels, width, 1, 1, backend))
        dilated = [unit(in_channels, width, 3, rate, backend) for rate in rates]
        self.convs = nn.ModuleList([unit(in_channels, width, 1, 1, backend), *dilated, whole])
        joined = unit(len(self.convs) * width, width, 1, 1, backend)
        self.project = nn.Sequential(*joined, L.Dropout(dropout))
        self.resize = Segmenter(False, (), 0, backend)

    def forward(self, x: Tensor) -> Tensor:
        seen = [conv(x) for conv in self.convs]
        seen[-1] = self.resize.resized(seen[-1], x.shape[2:])
        y: Tensor = self.project(self.resize.concat(seen, 1))
        return y


def unit(in_channels: int, out_channels: int, kernel: int, dilation: int, backend: str) -> nn.Sequential:
    """A convolution that keeps the size, batch norm and rectifier."""
    L = layers_of(backend)
    padding = dilation * (kernel // 2)
    conv = L.Conv2d(in_channels, out_channels, kernel, 1, padding, dilation, bias=False)
    return nn.Sequential(conv, L.BatchNorm2d(out_channels), L.ReLU())


def fcn_head(in_channels: int, num_classes: int, dropout: float, backend: str) -> nn.Sequential:
    """A 3x3 convolution to a quarter of the channels, and a 1x1 one to the classes."""
    L, inner = layers_of(backend), max(1, in_channels // 4)
    first = unit(in_channels, inner, 3, 1, backend)
    return nn.Sequential(*first, L.Dropout(dropout), L.Conv2d(inner, num_classes, 1))


def dilate(body: ResNetBody, output_stride: int) -> None:
    """Let a residual body's last stages dilate where they strode, so that its coarsest map has this stride.

    As torchvision's `replace_stride_with_dilation`: a stage's first 3x3 convolution keeps the dilation of the
    stage before. Raises InputError for a stride that the body cannot have.
    """
    possible = [s for s in body.strides if s >= body.strides[0]]
    if output_stride not in possible:
        raise InputError(f"output_stride={output_stride}", where="model", expected=f"one of {possible}")
    dilation = 1
    for stage, stride in enumerate(body.strides):
        if stride <= output_stride:
            continue
        before, dilation = dilation, dilation * 2
        blocks: Any = getattr(body, f"layer{stage + 1}")
        for i, block in enumerate(blocks):
            wide = [conv for conv in (block.conv1, block.conv2) if conv.kernel_size == (3, 3)]
            for j, conv in enumerate(wide):
                rate = before if i == j == 0 else dilation
                conv.stride, conv.dilation, conv.padding = (1, 1), (rate, rate), (rate, rate)
            if block.downsample is not None:
                block.downsample[0].stride = (1, 1)
    body.strides = tuple(min(s, output_stride) for s in body.strides)
