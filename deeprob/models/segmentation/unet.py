"""U-Net: what is seen coarsely goes back up, joined at every step with what was seen on the way down.

    c_1, ..., c_n = body(images)         maps, coarser and coarser
    y_n = c_n,   y_i = F_i([up(y_{i+1}), c_i])        F_i two 3x3 convolutions, each with norm and rectifier
    logits = up(W y_1)                   W a 1x1 convolution; up to the images' size, bilinear

A body's first map is often at a stride of 4. `detail` adds a map at a stride of 2 below it, one convolution
of the images, where thin objects and straight boundaries are seen.
Source: Ronneberger et al., U-Net: convolutional networks for biomedical image segmentation (2015), with a
body of any kind for its encoder and padded convolutions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from deeprob.errors import InputError
from deeprob.models.backend import check_least, check_positive, layers_of
from deeprob.models.bodies import body_of, conv_norm_relu
from deeprob.models.initialise import he_normal
from deeprob.models.segmentation.segmenter import Segmenter

UPSAMPLES = ("bilinear", "transposed")


class UNet(Segmenter):
    """Images (N, in_channels, H, W) -> logits (N, num_classes, H, W); see Segmenter.

    backbone: a body of bodies.py, by name; widths, blocks: of its stages, stem: see its class; None: the
        usual ones.
    decoder: channels of y_1, y_2, ..., the finest first, those of `detail` before them where there is one.
    detail: channels of a map at a stride of 2; 0 for none.
    upsample: what takes a map to the next size: "bilinear", or "transposed" convolutions that learn it.
    separable: depthwise and 1x1 convolutions in place of 3x3 ones in the decoder.
    dropout: probability before W. fused: see resnet.Block.
    backend: "deeprob" or "torch": whose layers to use; weights are interchangeable.
    Raises InputError where an argument is wrong.
    """

    head_names = ("classifier",)

    def __init__(
        self,
        num_classes: int,
        backbone: str = "compact",
        widths: Sequence[int] | None = None,
        blocks: Sequence[int] | None = None,
        stem: str | None = None,
        decoder: Sequence[int] = (32, 48, 64),
        detail: int = 0,
        upsample: str = "bilinear",
        separable: bool = False,
        dropout: float = 0.0,
        flips: bool = False,
        window: Sequence[int] = (),
        overlap: float = 0.25,
        fused: bool = False,
        in_channels: int = 3,
        backend: str = "deeprob",
    ) -> None:
        super().__init__(flips, window, overlap, backend)
        check_positive("unet", num_classes=num_classes, in_channels=in_channels)
        check_positive("unet", decoder=min(decoder, default=0))
        check_least("unet", 0, detail=detail)
        if upsample not in UPSAMPLES:
            raise InputError(f"upsample={upsample!r}", where="unet", expected=" or ".join(UPSAMPLES))
        L = layers_of(backend)
        options: dict[str, Any] = {
            "stem": stem,
            "fused": fused,
            "in_channels": in_channels,
            "backend": backend,
        }
        self.body = body_of(backbone, widths, blocks, **options)
        channels = [*([detail] if detail else []), *self.body.channels]  # type: ignore[misc]
        if len(decoder) != len(channels) - 1:
            raise InputError(
                f"decoder={list(decoder)}", where="unet", expected=f"{len(channels) - 1} numbers of channels"
            )
        self.detail = conv_norm_relu(in_channels, detail, backend, 2) if detail else None
        self.up, self.blocks = nn.ModuleList(), nn.ModuleList()
        for i, width in enumerate(decoder):
            below = [*decoder, channels[-1]][i + 1]
            if upsample == "transposed":
                self.up.append(L.ConvTranspose2d(below, width, 2, stride=2))
                below = width
            self.blocks.append(
                nn.Sequential(
                    conv_norm_relu(below + channels[i], width, backend, separable=separable),
                    conv_norm_relu(width, width, backend, separable=separable),
                )
            )
        he_normal(self.blocks)
        self.dropout = L.Dropout(dropout)
        self.classifier = L.Conv2d(decoder[0], num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        maps: list[Tensor] = self.body(images)
        maps = maps if self.detail is None else [self.detail(images), *maps]
        y = maps[-1]
        for i in reversed(range(len(self.blocks))):
            y = self.up[i](y) if len(self.up) else y
            y = self.blocks[i](self.concat([self.resized(y, maps[i].shape[2:]), maps[i]], 1))
        logits: Tensor = self.classifier(self.dropout(y))
        return self.at_image(logits, images.shape[2:])
