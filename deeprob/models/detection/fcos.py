"""A one-stage detector without anchors: every location of every level says what is there and how far it goes.

    images -> body -> pyramid -> at each level two towers of convolutions:
        classes   a logit a class
        box       distances (l, t, r, b) in strides to the box's four sides, and the centre-ness: how near the
                  location is to the box's middle
    score = sqrt(sigmoid(logit) sigmoid(centre-ness))

    loss = sum of focal losses over all locations and classes / P         P: positive locations, at least 1
         + sum of c (1 - GIoU) over positives / sum of c                  c: true centre-ness
         + sum of binary cross-entropies of c over positives / P

Distances may be told as distributions: a softmax over 0, 1, ..., `bins` strides, whose mean is the distance,
and one term more, the cross-entropy against the true distance's share of the two bins next to it.

With task-aligned assignment there is no centre-ness: the logit itself learns how good the box is, by
cross-entropy against that quality q, which takes the place of c, and sum of q that of P.
Source: Tian et al., FCOS: fully convolutional one-stage object detection (2019); Feng et al., TOOD (2021);
distributions: Li et al., Generalized focal loss (2020), section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from deeprob import layers
from deeprob.errors import InputError
from deeprob.models.backend import check_least, check_positive
from deeprob.models.detection import assignment as rules
from deeprob.models.detection.contract import Detections, Targets
from deeprob.models.detection.decode import Decoding, batch_candidates, decode
from deeprob.models.detection.heads import LevelHead, own_heads, rows
from deeprob.models.detection.locations import Locations, locations_of
from deeprob.models.detection.test_time import Looks
from deeprob.models.pyramid import Backbone

ASSIGNMENTS = ("centre", "atss", "tal")
DISTANCES = ("softplus", "relu")


class DenseOutputs(NamedTuple):
    """What every location says, N of them, all levels in one row.

    logits: (B, N, C). boxes: (B, N, 4), pixels. quality: (B, N), logits of centre-ness; None with
    task-aligned assignment. spread: (B, N, 4, bins + 1), logits of each distance in strides; None without
    bins. points (N, 2), strides (N,): the locations. size: int64 (2,), height and width of the images.
    Floats are float32 at least.
    """

    logits: Tensor
    boxes: Tensor
    quality: Tensor | None
    spread: Tensor | None
    points: Tensor
    strides: Tensor
    size: Tensor


class FCOS(nn.Module):
    """Fully convolutional one-stage detector: images float32 (B, in_channels, H, W) -> DenseOutputs.

    backbone: a body of bodies.py, by name; widths, blocks: of its stages, stem: see its class; None: the
        usual ones.
    strides: of the levels, each twice the one before. width: channels of pyramid and heads.
    neck_norm: batch norm in the pyramid. head_convs: depth of each tower. head_norm: "group" or "batch".
    share_heads: all levels are read by one head (batch norms then mix their statistics); else by their own.
    scales: a shared head's distances are multiplied by a learned number a level.
    kernel: of the predictions, 1 or 3. separable: depthwise and 1x1 convolutions in the towers.
    assignment: "centre", "atss" or "tal", see assignment.py. radius: of "centre", in strides. level_side: a
        level of "centre" takes boxes up to so many of its strides long.
    distance: how distances are made positive, "softplus" or "relu"; bins: instead, of their distributions.
    box_weight, spread_weight: of the losses of boxes and distributions.
    corners: locations are at the cells' corners, as torchvision's weights expect.
    score_threshold, candidates, nms_iou, max_detections, soft_nms: of `detect`, see Decoding.
    test_scales, test_flip: see test_time.py.
    fused: see resnet.Block. backend: "deeprob" or "torch": whose layers to use; weights are interchangeable.
    Raises InputError where an argument is wrong.
    """

    head_names = ("head",)

    def __init__(
        self,
        num_classes: int,
        backbone: str = "compact",
        widths: Sequence[int] | None = None,
        blocks: Sequence[int] | None = None,
        stem: str | None = None,
        strides: Sequence[int] = (8, 16, 32),
        width: int = 64,
        neck_norm: bool = True,
        head_convs: int = 1,
        head_norm: str = "batch",
        share_heads: bool = False,
        scales: bool = True,
        kernel: int = 1,
        separable: bool = False,
        assignment: str = "centre",
        radius: float = 1.5,
        level_side: float = 8.0,
        distance: str = "softplus",
        bins: int = 0,
        box_weight: float = 1.0,
        spread_weight: float = 0.25,
        corners: bool = False,
        score_threshold: float = 0.005,
        candidates: int = 500,
        nms_iou: float = 0.6,
        max_detections: int = 100,
        soft_nms: float = 0.0,
        test_scales: Sequence[float] = (1.0,),
        test_flip: bool = False,
        fused: bool = False,
        in_channels: int = 3,
        backend: str = "deeprob",
    ) -> None:
        super().__init__()
        check_positive("model", num_classes=num_classes, width=width, in_channels=in_channels)
        check_positive("model", candidates=candidates, max_detections=max_detections)
        check_least("model", 0, head_convs=head_convs, bins=bins)
        for name, value, known in (
            ("assignment", assignment, ASSIGNMENTS),
            ("distance", distance, DISTANCES),
            ("kernel", kernel, (1, 3)),
        ):
            if value not in known:
                expected = " or ".join(str(k) for k in known)
                raise InputError(f"{name}={value!r}", where="model", expected=expected)
        self.strides, self.assignment, self.radius = tuple(strides), assignment, radius
        self.level_side, self.distance, self.box_weight = level_side, distance, box_weight
        self.corners, self.num_classes = corners, num_classes
        self.bins, self.spread_weight = bins, spread_weight
        self.decoding = Decoding(score_threshold, candidates, nms_iou, max_detections, soft_nms).checked()
        self.looks = Looks(tuple(test_scales), test_flip).checked()
        body: dict[str, Any] = {
            "widths": widths,
            "blocks": blocks,
            "stem": stem,
            "fused": fused,
            "in_channels": in_channels,
        }
        self.backbone = Backbone(backbone, strides, width, norm=neck_norm, backend=backend, **body)
        head: dict[str, Any] = {
            "num_classes": num_classes,
            "width": width,
            "depth": head_convs,
            "norm": head_norm,
            "separable": separable,
            "kernel": kernel,
            "centre_ness": assignment != "tal",
            "bins": bins,
            "backend": backend,
        }
        self.head: nn.Module = LevelHead(**head) if share_heads else own_heads(len(strides), **head)
        self.scales = nn.Parameter(torch.ones(len(self.strides))) if share_heads and scales else None

    def forward(self, images: Tensor) -> DenseOutputs:
        levels = self.backbone(images)
        of_levels = [self._head(i)(level) for i, level in enumerate(levels)]
        logits = widened(rows([logits for logits, _, _ in of_levels]))
        distances = widened(rows([self._scaled(i, d) for i, (_, d, _) in enumerate(of_levels)]))
        quality = None
        if self.assignment != "tal":
            quality = widened(rows([q for _, _, q in of_levels if q is not None])).squeeze(2)
        sizes = [(level.shape[2], level.shape[3]) for level in levels]
        height, width = images.shape[2:]
        at = locations_of(sizes, self.strides, (height, width), logits, self.corners)
        spread = distances.reshape(*distances.shape[:2], 4, -1) if self.bins else None
        reach = rectified(distances, self.distance) if spread is None else mean_of(spread)
        boxes = layers.distances_to_boxes(at.points, layers.mul(reach, at.strides[:, None]))
        return DenseOutputs(logits, boxes, quality, spread, *at, torch.tensor([height, width]))

    def losses(self, outputs: DenseOutputs, targets: Targets) -> dict[str, Tensor]:
        """Return the terms of the loss above: classes, boxes and, with centre-ness, centre_ness."""
        with torch.no_grad():
            assigned = self.assign(outputs, targets)
            positive = (assigned.labels >= 0).nonzero(as_tuple=True)
            quality, wanted = assigned.quality[positive], assigned.boxes[positive]
            total = quality.sum()
        predicted = layers.take_rows(outputs.boxes, *positive)
        giou = layers.generalized_box_iou_loss(predicted, wanted.to(predicted), "sum", quality.to(predicted))
        share = 1 / total.clamp_min(1e-6)
        terms = {"boxes": giou * (self.box_weight * share)}
        if outputs.spread is not None:
            spread = layers.take_rows(outputs.spread, *positive)
            at = outputs.points[positive[1]], outputs.strides[positive[1], None]
            terms["spread"] = spread_loss(spread, wanted, *at, quality) * (self.spread_weight * share)
        if outputs.quality is None:
            return terms | {"classes": self._soft_classes(outputs.logits, assigned) / total.clamp_min(1)}
        number = max(1, len(quality))
        centre_ness = layers.take_rows(outputs.quality, *positive)
        cross_entropy = layers.binary_cross_entropy_with_logits(
            centre_ness, quality.to(centre_ness), reduction="sum"
        )
        classes = self._focal(outputs.logits, assigned)
        return terms | {"classes": classes / number, "centre_ness": cross_entropy / number}

    def assign(self, outputs: DenseOutputs, targets: Targets) -> rules.Assignment:
        """Which location is to say what."""
        truth, at = rules.truth_of(targets), Locations(outputs.points, outputs.strides)
        if self.assignment == "centre":
            assigned = rules.centre(truth, at, self.radius, self.level_side)
        elif self.assignment == "atss":
            assigned = rules.atss(truth, at)
        else:
            assigned = rules.tal(truth, at, outputs.logits, outputs.boxes)
        return rules.ignore_crowds(assigned, at, targets.crowds)

    def detect(self, outputs: DenseOutputs) -> list[Detections]:
        """Decode: see decode.py."""
        height, width = outputs.size.tolist()
        scores = self.scores(outputs)
        return [
            decode(s, b, (height, width), self.decoding) for s, b in zip(scores, outputs.boxes, strict=True)
        ]

    def fixed_candidates(self, images: Tensor) -> Detections:
        """What `detect` starts from, `candidates` of each image, for an exported graph."""
        outputs, size = self(images), (images.shape[2], images.shape[3])
        return batch_candidates(self.scores(outputs), outputs.boxes, size, self.decoding.candidates)

    def scores(self, outputs: DenseOutputs) -> Tensor:
        """Scores (B, N, C) of every location and class."""
        scores = outputs.logits.detach().sigmoid()
        if outputs.quality is not None:
            scores = (scores * outputs.quality.detach().sigmoid()[..., None]).sqrt_()
        return scores

    def _head(self, level: int) -> nn.Module:
        return self.head[level] if isinstance(self.head, nn.ModuleList) else self.head

    def _scaled(self, level: int, distances: Tensor) -> Tensor:
        return distances if self.scales is None else layers.mul(distances, self.scales[level])

    def _focal(self, logits: Tensor, assigned: rules.Assignment) -> Tensor:
        """Sum of focal losses over what is not ignored."""
        target = self._one_hot(assigned.labels)
        weight = _counted(assigned.labels, logits)
        return layers.sigmoid_focal_loss(logits, target.to(logits), reduction="sum", weight=weight)

    def _soft_classes(self, logits: Tensor, assigned: rules.Assignment) -> Tensor:
        """Sum of cross-entropies against the quality, at the class, over what is not ignored."""
        target = self._one_hot(assigned.labels) * assigned.quality[..., None]
        return layers.binary_cross_entropy_with_logits(
            logits, target.to(logits), _counted(assigned.labels, logits), reduction="sum"
        )

    def _one_hot(self, labels: Tensor) -> Tensor:
        return labels[..., None] == torch.arange(self.num_classes, device=labels.device)


def rectified(distances: Tensor, form: str) -> Tensor:
    """Distances of any size as ones above 0.

    softplus(d) = ln(1 + e^d) is the cross-entropy of a logit d whose truth is 0.
    """
    if form == "relu":
        return layers.relu(distances)
    return layers.binary_cross_entropy_with_logits(distances, torch.zeros_like(distances), reduction="none")


def mean_of(spread: Tensor) -> Tensor:
    """Mean (...) of distributions over 0, 1, ..., by their logits (..., bins + 1)."""
    values = torch.arange(spread.shape[-1], device=spread.device).to(spread)
    return layers.matmul(layers.softmax(spread, -1), values[:, None]).squeeze(-1)


def spread_loss(spread: Tensor, boxes: Tensor, points: Tensor, strides: Tensor, weight: Tensor) -> Tensor:
    """Sum over P locations of weight (P,) times the mean over a box's four sides of the cross-entropies.

    spread: logits (P, 4, bins + 1). boxes (P, 4), points (P, 2), strides (P, 1): in pixels.
    """
    distances = torch.cat([points - boxes[:, :2], boxes[:, 2:] - points], 1) / strides
    last = spread.shape[-1] - 1
    distances = distances.clamp(0, last)
    low = distances.floor().clamp_max(last - 1).long()
    above = (distances - low).to(spread)
    target = torch.zeros_like(spread).scatter_(2, low[..., None], (1 - above)[..., None])
    target = target.scatter_(2, low[..., None] + 1, above[..., None])
    loss = layers.cross_entropy(spread.flatten(0, 1), target.flatten(0, 1), reduction="none")
    return layers.mul(loss, weight.to(loss).repeat_interleave(4)).sum() / 4


def _counted(labels: Tensor, like: Tensor) -> Tensor | None:
    """Weight (B, N, 1) of each location, 0 where it is ignored; None where none is."""
    counted = labels != rules.IGNORED
    return None if counted.all() else counted[..., None].to(like.dtype)


def widened(x: Tensor) -> Tensor:
    """X in float32 at least: half precision is too coarse for sums over locations, and for pixels."""
    return x if x.dtype is torch.float64 else x.float()
