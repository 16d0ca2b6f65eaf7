"""The second stage: what each proposal holds, and where exactly it is.

    proposal -> RoIAlign on the level that suits its size -> features -> logits of the classes and background,
    and deltas for each of them

Parameter names are torchvision's (box_head.fc6, box_head.fc7, box_predictor.cls_score, .bbox_pred).
Source: Girshick, Fast R-CNN (2015); the level: Lin et al., Feature pyramid networks (2017), equation 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from deeprob import layers
from deeprob.models.backend import layers_of
from deeprob.models.bodies import conv_norm_relu
from deeprob.models.detection import matching
from deeprob.models.detection.assignment import IGNORED, Truth
from deeprob.models.detection.boxes import area, deltas_of
from deeprob.models.detection.rpn import BETA

WEIGHTS = (10.0, 10.0, 5.0, 5.0)  # of the deltas, whose spread about 0 they bring to one
BINS = 7
READS = 2  # places read along each side of a bin


class Verdicts(NamedTuple):
    """What is said of K boxes. logits: (K, C + 1), background first. deltas: (K, C + 1, 4)."""

    logits: Tensor
    deltas: Tensor


class Drawn(NamedTuple):
    """K proposals that a step looks at.

    rois: (K, 5), image and box. labels: int64 (K,), a class from 1, or 0. wanted: (K, 4), the box of what it
    holds, and winner: int64 (K,), that box's number in its image; anything where it holds nothing.
    """

    rois: Tensor
    labels: Tensor
    wanted: Tensor
    winner: Tensor


class LinearBoxHead(nn.Module):
    """Features of RoIs (K, width, 7, 7) -> (K, out), by two linear layers."""

    def __init__(self, width: int, out: int, backend: str) -> None:
        super().__init__()
        L = layers_of(backend)
        self.fc6, self.fc7 = L.Linear(width * BINS**2, out), L.Linear(out, out)
        self.relu = L.ReLU()
        self.out = out

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.relu(self.fc7(self.relu(self.fc6(x.flatten(1)))))
        return y


class ConvBoxHead(nn.Sequential):
    """Features of RoIs (K, width, 7, 7) -> (K, out = 49 width), by 3x3 convolutions with batch norms."""

    def __init__(self, width: int, depth: int, backend: str) -> None:
        super().__init__(*(conv_norm_relu(width, width, backend) for _ in range(depth)), nn.Flatten())
        self.out = width * BINS**2


class BoxPredictor(nn.Module):
    """(K, features) -> Verdicts."""

    def __init__(self, features: int, num_classes: int, backend: str) -> None:
        super().__init__()
        L = layers_of(backend)
        self.cls_score = L.Linear(features, num_classes + 1)
        self.bbox_pred = L.Linear(features, 4 * (num_classes + 1))
        nn.init.normal_(self.cls_score.weight, std=0.01)
        nn.init.normal_(self.bbox_pred.weight, std=0.001)
        for layer in (self.cls_score, self.bbox_pred):
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Verdicts:
        deltas = self.bbox_pred(x)
        said = self.cls_score(x), deltas.reshape(x.shape[0], deltas.shape[1] // 4, 4)
        return Verdicts(*(t if t.dtype is torch.float64 else t.float() for t in said))


class RoIHeads(nn.Module):
    """Boxes on the maps of some levels -> Verdicts.

    strides: of the levels. cells: side, in cells of a level, of the largest boxes that it reads.
    features: of the two linear layers; 0: `convs` convolutions in their place.
    samples: proposals an image that a step looks at, of them at most `share` objects; iou: from where a
    proposal is one. corners: maps are read as torchvision's weights expect, half a cell further.
    mask_head, mask_predictor: of a detector that gives masks, see mask_rcnn.py.
    """

    mask_head: nn.Module
    mask_predictor: nn.Module

    def __init__(
        self,
        num_classes: int,
        width: int,
        strides: Sequence[int],
        cells: float,
        features: int,
        convs: int,
        samples: int,
        share: float,
        iou: float,
        corners: bool,
        backend: str = "deeprob",
    ) -> None:
        super().__init__()
        self.strides, self.cells, self.corners = tuple(strides), cells, corners
        self.samples, self.share, self.iou = samples, share, iou
        head = LinearBoxHead(width, features, backend) if features else ConvBoxHead(width, convs, backend)
        self.box_head: nn.Module = head
        self.box_predictor = BoxPredictor(head.out, num_classes, backend)

    def forward(self, levels: Sequence[Tensor], rois: Tensor) -> Verdicts:
        """Say what rois (K, 5), image and box, hold."""
        verdicts: Verdicts = self.box_predictor(self.box_head(self.align(levels, rois)))
        return verdicts

    def align(self, levels: Sequence[Tensor], rois: Tensor, bins: int = BINS) -> Tensor:
        """Features (K, width, bins, bins) of each, from the level where it is `cells` / 2 to `cells` long."""
        side = area(rois[:, 1:]).sqrt() / (self.cells * self.strides[0])
        level = (side.log2() + 1e-6).floor_().clamp_(-1, len(levels) - 2) + 1
        edges = torch.cat([rois[:, :1], rois[:, 1:] + 0.5], 1)
        parts, order = [], []
        for i, (x, stride) in enumerate(zip(levels, self.strides, strict=True)):
            index = (level == i).nonzero().squeeze(1)
            boxes = edges[index].to(x)
            parts.append(layers.roi_align(x, boxes, bins, 1 / stride, READS, aligned=not self.corners))
            order.append(index)
        return layers.take_rows(layers.concat(parts), torch.cat(order).argsort())

    def draw(self, rois: Tensor, truth: Truth, crowds: list[Tensor]) -> Drawn:
        """Some proposals, and what they hold.

        The true boxes are proposals, too: else a first stage that finds nothing would teach nothing.
        """
        of_image, found = truth.present.nonzero()[:, :1].to(truth.boxes), truth.boxes[truth.present]
        rois = torch.cat([rois.to(truth.boxes), torch.cat([of_image, found], 1)])
        image = rois[:, 0].long()
        table, number = padded(image, len(truth.boxes))
        boxes = rois[table, 1:]
        matched = matching.match(truth, boxes, self.iou, self.iou, keep_best=False)
        matched = matching.ignore_crowds(matched, boxes, crowds)
        order = torch.arange(table.shape[1], device=table.device)
        matched = matched.masked_fill(order >= number[:, None], IGNORED)
        drawn = matching.sample(matched, self.samples, self.share)
        winner = matched[drawn.image, drawn.row].clamp_min(0)
        labels = (truth.labels[drawn.image, winner] + 1) * drawn.is_positive
        chosen = rois[table[drawn.image, drawn.row]]
        return Drawn(chosen, labels, truth.boxes[drawn.image, winner], winner)

    def losses(self, verdicts: Verdicts, rois: Tensor, labels: Tensor, wanted: Tensor) -> dict[str, Tensor]:
        """Cross-entropy of the classes, and smooth L1 of the deltas of what is an object's class."""
        positive = labels.nonzero().squeeze(1)
        number = max(1, len(labels))
        deltas = layers.take_rows(verdicts.deltas, positive, labels[positive])
        target = deltas_of(rois[positive, 1:], wanted[positive], WEIGHTS).to(deltas)
        boxes = layers.smooth_l1_loss(deltas, target, reduction="sum", beta=BETA)
        classes = layers.cross_entropy(verdicts.logits, labels, reduction="sum")
        return {"classes": classes / number, "boxes": boxes / number}


def padded(image: Tensor, num_images: int) -> tuple[Tensor, Tensor]:
    """Rows of each image side by side: indices (B, R), the last repeated, and how many are real, (B,).

    image: int64 (K,), of each row.
    """
    number = torch.bincount(image, minlength=num_images)
    order, start = image.argsort(stable=True), number.cumsum(0) - number
    place = torch.arange(int(number.max()), device=image.device)
    return order[(start[:, None] + place).clamp_max(len(order) - 1)], number
