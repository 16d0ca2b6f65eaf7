"""Region proposals: where anything is, of whatever class.

    a level's map -> 3x3 convolution, rectifier -> at each anchor a logit that an object is there, and deltas

Of all anchors' boxes the best by score go on, without duplicates.
Parameter names are torchvision's (head.conv.0.0, head.cls_logits, head.bbox_pred).
Source: Ren et al., Faster R-CNN (2015), section 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from deeprob import layers
from deeprob.models.backend import layers_of
from deeprob.models.detection import matching
from deeprob.models.detection.anchors import anchors_of
from deeprob.models.detection.assignment import Truth
from deeprob.models.detection.boxes import clip, deltas_of
from deeprob.models.detection.contract import Detections
from deeprob.models.detection.decode import nms

BETA = 1 / 9  # where the smooth L1 loss turns from a square to a line
WEIGHTS = (1.0, 1.0, 1.0, 1.0)
SMALLEST = 1e-3  # pixels: a side below this is none


class Proposals(NamedTuple):
    """What the first stage says of N anchors, level by level.

    objectness: logits (B, N). deltas: (B, N, 4). anchors: (N, 4). rois: (K, 5), image and box of each
    proposal, the images in turn, best first.
    """

    objectness: Tensor
    deltas: Tensor
    anchors: Tensor
    rois: Tensor


class RPNHead(nn.Module):
    """A level's map (B, width, H, W) -> logits (B, H W A) and deltas (B, H W A, 4)."""

    def __init__(self, width: int, num_anchors: int, backend: str) -> None:
        super().__init__()
        L = layers_of(backend)
        self.conv = nn.Sequential(nn.Sequential(L.Conv2d(width, width, 3, padding=1), L.ReLU()))
        self.cls_logits = L.Conv2d(width, num_anchors, 1)
        self.bbox_pred = L.Conv2d(width, 4 * num_anchors, 1)
        for module in self.modules():
            if isinstance(module, L.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.conv(x)
        logits = self.cls_logits(features).flatten(2).mT.flatten(1)
        deltas = (
            self.bbox_pred(features).flatten(2).mT.reshape(x.shape[0], -1, 4)
        )  # not len: an export would fix it
        return logits, deltas


class RegionProposalNetwork(nn.Module):
    """Maps of L levels -> Proposals.

    sides: of the anchors at each level, in pixels; ratios: their heights over widths.
    low, high: an anchor with an IoU below low is background, above high an object; the best anchor of each
        box is one in any case.
    samples: anchors an image that a step looks at, at most half of them objects.
    before, after: proposals of a level that go into the suppression, and of an image that come out of it.
    nms_iou: of the suppression. corners: see locations_of.
    """

    def __init__(
        self,
        width: int,
        strides: Sequence[int],
        sides: Sequence[float],
        ratios: Sequence[float],
        low: float,
        high: float,
        samples: int,
        before: int,
        after: int,
        nms_iou: float,
        corners: bool,
        backend: str = "deeprob",
    ) -> None:
        super().__init__()
        self.head = RPNHead(width, len(ratios), backend)
        self.strides, self.sides, self.ratios, self.corners = strides, sides, ratios, corners
        self.low, self.high, self.samples = low, high, samples
        self.before, self.after, self.nms_iou = before, after, nms_iou

    def forward(self, levels: Sequence[Tensor], image: tuple[int, int]) -> Proposals:
        objectness, moved, every, counts = self.said(levels, image)
        with torch.no_grad():
            rois = self.propose(objectness, moved, every, counts, image)
        return Proposals(objectness, moved, every, rois)

    def said(
        self, levels: Sequence[Tensor], image: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor, list[int]]:
        """Logits and deltas of all anchors, the anchors, and how many each level has."""
        sizes = [(x.shape[2], x.shape[3]) for x in levels]
        logits, deltas = zip(*(self.head(x) for x in levels), strict=True)
        anchors = anchors_of(
            sizes, self.strides, image, levels[0].float(), self.sides, self.ratios, self.corners
        )
        joined = layers.concat(logits, 1), layers.concat(deltas, 1)
        objectness, moved = (x if x.dtype is torch.float64 else x.float() for x in joined)
        return objectness, moved, torch.cat(anchors).to(objectness), [len(a) for a in anchors]

    def propose(
        self, objectness: Tensor, deltas: Tensor, anchors: Tensor, counts: list[int], image: tuple[int, int]
    ) -> Tensor:
        """The best boxes of each image as (K, 5). Levels do not suppress each other's boxes."""
        boxes, scores, level = self.best(objectness, deltas, anchors, counts, image)
        rois = []
        for i in range(len(boxes)):
            seen = (boxes[i, :, 2:] - boxes[i, :, :2] >= SMALLEST).all(1)
            found = Detections(boxes[i, seen], scores[i, seen], level[i, seen])
            kept = found.boxes[nms(found, self.nms_iou, self.after)]
            rois.append(torch.cat([kept.new_full((len(kept), 1), i), kept], 1))
        return torch.cat(rois)

    def best(
        self, objectness: Tensor, deltas: Tensor, anchors: Tensor, counts: list[int], image: tuple[int, int]
    ) -> Detections:
        """The `before` best boxes of each level, best first: boxes (B, n, 4), logits, levels as labels."""
        best, levels, start = [], [], 0
        for n, count in enumerate(counts):
            top = objectness[:, start : start + count].topk(min(self.before, count)).indices
            best.append(top + start)
            levels.append(torch.full_like(top, n))
            start += count
        index = torch.cat(best, 1)
        scores = objectness.gather(1, index)
        if (
            torch.compiler.is_exporting()
        ):  # ONNX has no stable sort; only the order of equal scores is another
            scores, order = scores.topk(scores.shape[1], 1)
        else:
            scores, order = scores.sort(dim=1, descending=True, stable=True)
        index, level = index.gather(1, order), torch.cat(levels, 1).gather(1, order)
        said = deltas.gather(1, index[..., None].expand(-1, -1, 4))
        boxes = clip(layers.deltas_to_boxes(anchors[index], said, WEIGHTS), *image)
        return Detections(boxes, scores, level)

    def losses(self, said: Proposals, truth: Truth, crowds: list[Tensor]) -> dict[str, Tensor]:
        """Cross-entropy of objectness and smooth L1 of the deltas, both over the anchors that are drawn."""
        with torch.no_grad():
            anchors = said.anchors.to(truth.boxes)
            matched = matching.match(truth, anchors, self.low, self.high, keep_best=True)
            matched = matching.ignore_crowds(matched, anchors, crowds)
            drawn = matching.sample(matched, self.samples, 0.5)
            image, index = drawn.image[drawn.is_positive], drawn.row[drawn.is_positive]
            wanted = deltas_of(anchors[index], truth.boxes[image, matched[image, index]], WEIGHTS)
        number = max(1, len(drawn.image))
        logits = layers.take_rows(said.objectness, drawn.image, drawn.row)
        target = drawn.is_positive.to(logits)
        objectness = layers.binary_cross_entropy_with_logits(logits, target, reduction="sum")
        deltas = layers.take_rows(said.deltas, image, index)
        boxes = layers.smooth_l1_loss(deltas, wanted.to(deltas), reduction="sum", beta=BETA)
        return {"rpn_objectness": objectness / number, "rpn_boxes": boxes / number}
