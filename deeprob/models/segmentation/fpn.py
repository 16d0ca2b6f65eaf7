"""A segmenter on a feature pyramid: every level goes up to the finest one's size, and all are summed.

    p_i = pyramid(body(images))            levels, finest first, each of half the size of the one before
    s_i = (up conv)^k p_i                  k halvings lie between p_1 and p_i; one convolution at least
    logits = up(W sum_i s_i)

Source: Kirillov et al., Panoptic feature pyramid networks (2019), figure 3, with batch norm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from deeprob.models.backend import check_positive, layers_of, operations_of
from deeprob.models.bodies import conv_norm_relu
from deeprob.models.pyramid import Backbone
from deeprob.models.segmentation.segmenter import Segmenter


class FPNSegmenter(Segmenter):
    """Images (N, in_channels, H, W) -> logits (N, num_classes, H, W); see Segmenter.

    backbone, widths, blocks, stem: of the body; strides, width, neck_norm: of the pyramid, see Backbone.
    head_width: channels of s_i. dropout: probability before W. fused: see resnet.Block.
    Raises InputError where an argument is wrong.
    """

    head_names = ("scales", "classifier")

    def __init__(
        self,
        num_classes: int,
        backbone: str = "compact",
        widths: Sequence[int] | None = None,
        blocks: Sequence[int] | None = None,
        stem: str | None = None,
        strides: Sequence[int] = (4, 8, 16, 32),
        width: int = 48,
        neck_norm: bool = True,
        head_width: int = 32,
        dropout: float = 0.0,
        flips: bool = False,
        window: Sequence[int] = (),
        overlap: float = 0.25,
        fused: bool = False,
        in_channels: int = 3,
        backend: str = "deeprob",
    ) -> None:
        super().__init__(flips, window, overlap, backend)
        check_positive("model", num_classes=num_classes, width=width, head_width=head_width)
        check_positive("model", in_channels=in_channels)
        body: dict[str, Any] = {"widths": widths, "blocks": blocks, "stem": stem, "in_channels": in_channels}
        self.backbone = Backbone(
            backbone, strides, width, norm=neck_norm, fused=fused, backend=backend, **body
        )
        L = layers_of(backend)
        self.scales = nn.ModuleList()
        for level in range(len(strides)):
            given = [width, *[head_width] * max(level - 1, 0)]
            self.scales.append(nn.ModuleList(conv_norm_relu(c, head_width, backend) for c in given))
        self.dropout, self.add = L.Dropout(dropout), operations_of(backend).add
        self.classifier = L.Conv2d(head_width, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        levels = self.backbone(images)
        sizes = [level.shape[2:] for level in levels]
        total: Any = None
        for level, (seen, convs) in enumerate(zip(levels, self.scales, strict=True)):
            y = seen
            for step, conv in enumerate(convs.children()):
                y = self.resized(conv(y), sizes[max(level - 1 - step, 0)])
            total = y if total is None else self.add(total, y)
        return self.at_image(self.classifier(self.dropout(total)), images.shape[2:])
