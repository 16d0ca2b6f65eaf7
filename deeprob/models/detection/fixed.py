"""A two-stage detector as a graph of fixed length, for export: the same boxes by tensor operations alone.

Each image has the same number of proposals; those that suppression drops stay in the list with the score 0.
Suppression is repeated ROUNDS times (decode.py), which is exact unless boxes overlap in longer chains. Every
proposal is read on every level by bilinear sampling, at the places where RoIAlign reads, and the level that
suits its size is chosen afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from deeprob import layers
from deeprob.models.detection.boxes import area, clip
from deeprob.models.detection.contract import Detections
from deeprob.models.detection.decode import nms_matrix
from deeprob.models.detection.roi_heads import BINS, READS, WEIGHTS
from deeprob.models.detection.rpn import SMALLEST

ROUNDS = 20


def fixed_candidates(detector: Any, images: Tensor) -> Detections:
    """The best `candidates` of each image before the last suppression.

    Returns boxes (B, K, 4), scores and labels (B, K).

    detector: a FasterRCNN, in eval mode. images: (B, 3, H, W).
    """
    size = images.shape[2], images.shape[3]
    levels = detector.backbone(images)
    proposals = fixed_proposals(detector.rpn, levels, size)
    head, count = detector.roi_heads, proposals.boxes.shape[1]
    features = aligned(levels[: len(detector.read)], proposals.boxes, head.strides, head.cells, head.corners)
    verdicts = head.box_predictor(head.box_head(features.flatten(0, 1)))
    classes = verdicts.logits.shape[1] - 1
    scores = verdicts.logits.softmax(1)[:, 1:].reshape(-1, count, classes)
    scores = scores * (proposals.scores > -torch.inf)[..., None]
    deltas = verdicts.deltas[:, 1:].reshape(-1, count, classes, 4)
    boxes = clip(layers.deltas_to_boxes(proposals.boxes[:, :, None], deltas, WEIGHTS), *size)
    most = min(detector.decoding.candidates, count * classes)
    values, index = scores.flatten(1).topk(most, 1)
    chosen = boxes.flatten(1, 2).gather(1, index[..., None].expand(-1, -1, 4))
    return Detections(chosen, values, index % classes)


def fixed_proposals(rpn: Any, levels: Sequence[Tensor], image: tuple[int, int]) -> Detections:
    """The `after` best boxes of each image, their logits and levels; a suppressed one has the logit -inf."""
    found: Detections = rpn.best(*rpn.said(levels, image), image)
    seen = ((found.boxes[..., 2:] - found.boxes[..., :2]) >= SMALLEST).all(-1)
    rivals = found._replace(labels=found.labels.masked_fill(~seen, -1))
    kept = nms_matrix(rivals, rpn.nms_iou, ROUNDS) & seen
    logits = found.scores.masked_fill(~kept, -torch.inf)
    values, index = logits.topk(min(rpn.after, logits.shape[1]), 1)
    return Detections(
        found.boxes.gather(1, index[..., None].expand(-1, -1, 4)), values, found.labels.gather(1, index)
    )


def aligned(
    levels: Sequence[Tensor], boxes: Tensor, strides: Sequence[int], cells: float, corners: bool
) -> Tensor:
    """Features (B, P, C, 7, 7) of boxes (B, P, 4), as RoIHeads.align reads them."""
    side = area(boxes).sqrt() / (cells * strides[0])
    level = (side.log2() + 1e-6).floor().clamp(-1, len(levels) - 2) + 1
    found = [_read(x, (boxes + 0.5) / stride, corners) for x, stride in zip(levels, strides, strict=True)]
    chosen = found[0]
    for i, other in enumerate(found[1:], 1):
        chosen = torch.where((level == i)[..., None, None, None], other, chosen)
    return chosen


def _read(x: Tensor, edges: Tensor, corners: bool) -> Tensor:
    """RoIAlign of x (B, C, H, W) under edges (B, P, 4), in its cells: (B, P, C, 7, 7)."""
    count, height, width = edges.shape[1], x.shape[2], x.shape[3]
    start, extent = edges[..., :2], edges[..., 2:] - edges[..., :2]
    start, extent = (start, extent.clamp_min(1)) if corners else (start - 0.5, extent)
    steps = (torch.arange(BINS * READS, device=x.device, dtype=x.dtype) + 0.5) / (BINS * READS)
    at = start[:, :, None] + extent[:, :, None] * steps[:, None]  # (B, P, 14, 2)
    limits = at.new_tensor([width, height])
    used = ((at >= -1) & (at <= limits)).to(x)
    at = torch.minimum(at.clamp_min(0), limits - 1) / (limits - 1).clamp_min(1) * 2 - 1
    rows = BINS * READS
    columns_x = at[..., 0][:, :, None].expand(-1, -1, rows, -1)
    rows_y = at[..., 1][..., None].expand(-1, -1, -1, rows)
    grid = torch.stack([columns_x, rows_y], -1).flatten(1, 2)
    read = grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=True)
    read = read.reshape(-1, x.shape[1], count, rows, rows).transpose(1, 2)
    both = used[..., 1][..., None] * used[..., 0][:, :, None]
    read = read * both[:, :, None]
    return read.reshape(-1, count, x.shape[1], BINS, READS, BINS, READS).mean((4, 6))
