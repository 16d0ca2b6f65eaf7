"""Residual networks.

    block:  y = relu(F(x) + S(x))    S: identity, or a 1x1 projection
    basic       F: two 3x3 convolutions, each with batch norm
    bottleneck  F: 1x1 to a quarter of the channels, 3x3, 1x1 back to all

The shortcut is an add gate: backward it hands dy to both branches unchanged, so a gradient reaches the first
layer without passing through a single weight (He et al., Deep Residual Learning, 2015, equation 2). A strided
bottleneck strides in its 3x3 convolution, as the published weights do.

Parameter names are torchvision's (conv1, bn1, layer1.0.conv1, ..., fc), so its state dicts load.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from deeprob import layers
from deeprob.errors import InputError
from deeprob.models.backend import check_positive, input_norm_of, layers_of, operations_of


class Open(NamedTuple):
    """The end of a block whose last sum and rectifier the next one begins with."""

    norm: layers.Norm
    shortcut: layers.Activation | layers.Norm | None

    def close(self) -> Tensor:
        """The sum, rectified."""
        return layers.residual_join(self.norm, self.shortcut)[0].x


class Block(nn.Module):
    """What both kinds of block are made of.

    fused: batch norm, rectifier and the next convolution as one layer that keeps one array of their two
    (layers/fused/), and the last sum and rectifier as one with the next block's first convolutions, which
    keeps none (layers/fused/residual.py). Such a block takes and gives an `Open`. The numbers are the same;
    hooks do not see the parts.
    """

    expansion: int
    last: tuple[str, str]
    """Names of the last convolution and the last norm."""

    def __init__(self, norm: bool, fused: bool, backend: str) -> None:
        super().__init__()
        self.norm, self.backend = norm, backend
        self.fused = fused and norm and backend == "deeprob"
        self.relu = layers_of(backend).ReLU()
        self.add = operations_of(backend).add
        self.downsample: nn.Sequential | None = None

    def convolution(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Module:
        conv: nn.Module = layers_of(self.backend).Conv2d(
            in_channels, out_channels, kernel, stride, kernel // 2, bias=not self.norm
        )
        return conv

    def batch_norm(self, channels: int) -> nn.Module:
        norm: nn.Module = layers_of(self.backend).BatchNorm2d(channels) if self.norm else nn.Identity()
        return norm

    def projection(self, in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
        """A 1x1 convolution where the shapes of input and output differ."""
        if stride == 1 and in_channels == out_channels:
            return None
        return nn.Sequential(
            self.convolution(in_channels, out_channels, 1, stride), self.batch_norm(out_channels)
        )

    def between(self, norm: Any, conv: Any, z: Tensor) -> Tensor:
        """conv(relu(norm(z))), the way from one convolution's output to the next one's."""
        if not is_fusible(self):
            y: Tensor = conv(self.relu(norm(z)))
            return y
        running_mean, running_var, training, momentum = norm.count_batch()
        vectors = (running_mean, running_var, norm.weight, norm.bias)
        geometry = (conv.stride, conv.padding)
        return layers.batch_norm_relu_conv2d(
            z, *vectors, conv.weight, training, momentum, norm.eps, *geometry
        )

    def begin(self, x: Tensor | Open) -> tuple[Tensor, Any]:
        """conv1(x) and S(x), whose norm is still to come where blocks are fused."""
        first: Any = self.conv1
        if not is_fusible(self):
            assert isinstance(x, Tensor)
            shortcut = x if self.downsample is None else self.downsample(x)
            return first(x), shortcut
        convolutions: list[Any] = [first] if self.downsample is None else [first, self.downsample[0]]
        if isinstance(x, Open):
            read = [(conv.weight, conv.stride, conv.padding) for conv in convolutions]
            kept, ys = layers.residual_join(x.norm, x.shortcut, *read)
        else:
            kept, ys = layers.Activation.keep(x), tuple(conv(x) for conv in convolutions)
        if self.downsample is None:
            return ys[0], kept
        projected: Any = self.downsample[1]
        return ys[0], layers.norm_of(ys[1], projected)

    def end(self, norm: Any, z: Tensor, shortcut: Any) -> Tensor | Open:
        """relu(norm(z) + S(x))."""
        if is_fusible(self):
            return Open(layers.norm_of(z, norm), shortcut)
        y: Tensor = self.relu(self.add(norm(z), shortcut))
        return y


class BasicBlock(Block):
    """x (N, C, H, W) -> (N, width, H/stride, W/stride)."""

    expansion = 1
    last = ("conv2", "bn2")

    def __init__(
        self, in_channels: int, width: int, stride: int, norm: bool, fused: bool, backend: str
    ) -> None:
        super().__init__(norm, fused, backend)
        self.conv1 = self.convolution(in_channels, width, 3, stride)
        self.bn1 = self.batch_norm(width)
        self.conv2 = self.convolution(width, width, 3)
        self.bn2 = self.batch_norm(width)
        self.downsample = self.projection(in_channels, width, stride)

    def forward(self, x: Tensor | Open) -> Tensor | Open:
        z, shortcut = self.begin(x)
        return self.end(self.bn2, self.between(self.bn1, self.conv2, z), shortcut)


class Bottleneck(Block):
    """x (N, C, H, W) -> (N, 4 width, H/stride, W/stride)."""

    expansion = 4
    last = ("conv3", "bn3")

    def __init__(
        self, in_channels: int, width: int, stride: int, norm: bool, fused: bool, backend: str
    ) -> None:
        super().__init__(norm, fused, backend)
        self.conv1 = self.convolution(in_channels, width, 1)
        self.bn1 = self.batch_norm(width)
        self.conv2 = self.convolution(width, width, 3, stride)
        self.bn2 = self.batch_norm(width)
        self.conv3 = self.convolution(width, 4 * width, 1)
        self.bn3 = self.batch_norm(4 * width)
        self.downsample = self.projection(in_channels, 4 * width, stride)

    def forward(self, x: Tensor | Open) -> Tensor | Open:
        z, shortcut = self.begin(x)
        z = self.between(self.bn1, self.conv2, z)
        return self.end(self.bn3, self.between(self.bn2, self.conv3, z), shortcut)


def is_fusible(module: Any) -> bool:
    """Whether to fuse: a norm that other processes take part in stays a layer of its own."""
    return bool(module.fused and type(module.bn1) is layers.BatchNorm2d)


BLOCKS: dict[str, type[BasicBlock] | type[Bottleneck]] = {"basic": BasicBlock, "bottleneck": Bottleneck}


class ResNet(nn.Module):
    """A residual network: images (N, in_channels, H, W) -> logits (N, num_classes).

    blocks: number of blocks in each stage; each stage after the first halves the resolution and doubles the
        width. width: of the first stage.
    block: "basic" or "bottleneck", whose output has four times its width.
    stem: "small" is one 3x3 convolution for images of 32 to 64 px; "imagenet" a 7x7 of stride 2 and a pool.
    norm: batch norm after every convolution.
    zero_init: the last norm of every block starts at zero, so that a deep network starts as the identity
        (Goyal et al., Accurate, large minibatch SGD, 2017, section 5.1). Without norms the last convolution
        does so in any case (Zhang et al., Fixup, 2019, first rule).
    dropout: probability before the classifier. input_norm: see backend.input_norm_of. fused: see Block.
    backend: "deeprob" or "torch": whose layers to use; weights are interchangeable.
    Raises InputError for images of another number of channels.
    """

    def __init__(
        self,
        num_classes: int,
        blocks: Sequence[int] = (2, 2, 2, 2),
        block: str = "basic",
        width: int = 64,
        stem: str = "imagenet",
        norm: bool = True,
        zero_init: bool = True,
        dropout: float = 0.0,
        input_norm: bool = False,
        fused: bool = False,
        in_channels: int = 3,
        backend: str = "deeprob",
    ) -> None:
        super().__init__()
        if stem not in ("small", "imagenet"):
            raise ValueError(f"stem: expected small or imagenet, got {stem!r}")
        if block not in BLOCKS:
            raise ValueError(f"block: expected {' or '.join(BLOCKS)}, got {block!r}")
        if not 1 <= len(blocks) <= 4 or min(blocks) < 1:
            raise ValueError(f"blocks: expected one to four stages of at least one block, got {list(blocks)}")
        check_positive("resnet", num_classes=num_classes, width=width, in_channels=in_channels)
        L, make = layers_of(backend), BLOCKS[block]
        self.in_channels = in_channels
        self.input_norm = input_norm_of(input_norm, in_channels, backend)
        kernel, stride = (3, 1) if stem == "small" else (7, 2)
        self.conv1 = L.Conv2d(in_channels, width, kernel, stride, padding=kernel // 2, bias=not norm)
        self.bn1: Any = L.BatchNorm2d(width) if norm else nn.Identity()
        self.relu = L.ReLU()
        self.maxpool = nn.Identity() if stem == "small" else L.MaxPool2d(3, stride=2, padding=1)
        channels = width
        self.channels: list[int] = []
        self.num_stages, self.fused = len(blocks), fused and norm and backend == "deeprob"
        for stage, num_blocks in enumerate(blocks):
            members: list[nn.Module] = []
            for i in range(num_blocks):
                stride = 2 if stage > 0 and i == 0 else 1
                members.append(make(channels, width << stage, stride, norm, fused, backend))
                channels = make.expansion * width << stage
            self.channels.append(channels)
            self.add_module(f"layer{stage + 1}", nn.Sequential(*members))
        self.avgpool = L.AdaptiveAvgPool2d(1)
        self.dropout = L.Dropout(dropout)
        self.fc = L.Linear(channels, num_classes)
        self._initialise(norm, zero_init)

    def _initialise(self, norm: bool, zero_init: bool) -> None:
        """Normal, variance 2 / fan out (He et al., Delving Deep, 2015); blocks start as the identity."""
        for name, parameter in self.named_parameters():
            if parameter.dim() == 4:
                nn.init.kaiming_normal_(parameter, mode="fan_out", nonlinearity="relu")
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)
        if norm and not zero_init:
            return
        for module in self.modules():
            if isinstance(module, Block):
                nn.init.zeros_(getattr(module, module.last[norm]).weight)

    def begin(self, x: Tensor) -> Any:
        """Return the stem's output, for the first stage; its end is to come where blocks are fused."""
        if x.shape[1] != self.in_channels:
            raise InputError(
                f"images of shape {tuple(x.shape[1:])}",
                where="resnet",
                expected=f"{self.in_channels} channels",
                fix="set model.in_channels to what the data gives",
            )
        images, norm = self.input_norm(x), self.bn1
        if is_fusible(self) and isinstance(self.maxpool, nn.Identity):  # the stem's output is made again, too
            read = (images, self.conv1.weight, self.conv1.stride, self.conv1.padding)
            return Open(layers.of_image(layers.norm_of(layers.convolved(*read), norm), *read), None)
        return self.maxpool(self.relu(norm(self.conv1(images))))

    def forward(self, x: Tensor) -> Tensor:
        y = self.begin(x)
        for stage in range(self.num_stages):
            y = getattr(self, f"layer{stage + 1}")(y)
        y = y.close() if isinstance(y, Open) else y
        logits: Tensor = self.fc(self.dropout(self.avgpool(y).flatten(1)))
        return logits
