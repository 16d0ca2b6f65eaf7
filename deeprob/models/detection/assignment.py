"""Which locations of a dense head answer for which box: a tensor expression over all images at once.

    centre   locations within `radius` strides of the box's middle and inside the box, on the level that suits
             its longer side; of several boxes the smallest (Tian et al., FCOS, 2019, sections 3.2 and 4)
    atss     of each level the `closest` locations to the middle; those whose anchor overlaps the box by more
             than mean + standard deviation of all of these (Zhang et al., Bridging the gap between
             anchor-based and anchor-free detection, 2020); of several boxes the best overlap
    tal      the `top` locations inside the box by score^alpha IoU^beta of what is predicted there now; of
             several boxes the best overlap (Feng et al., TOOD: task-aligned one-stage object detection, 2021)

A box counts as at least `least` cells wide and high at each level, so that every box, however small or thin,
holds a location.

B images, G boxes (those of the image with most; the others are padded), N locations.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from deeprob.models.detection.boxes import area, iou
from deeprob.models.detection.contract import Targets
from deeprob.models.detection.locations import Locations

BACKGROUND, IGNORED = -1, -2
LEAST = 1.25  # cells; with 1 a location may lie on the very edge of the box


class Truth(NamedTuple):
    """The boxes of a batch. boxes: (B, G, 4). labels: int64 (B, G). present: bool (B, G), no padding."""

    boxes: Tensor
    labels: Tensor
    present: Tensor


class Assignment(NamedTuple):
    """What each location is to say.

    labels: int64 (B, N): a class, BACKGROUND or IGNORED. boxes: (B, N, 4), the box to predict where there is
    a class. quality: (B, N): there centre-ness or (tal) alignment, in [0, 1]; 0 elsewhere.
    """

    labels: Tensor
    boxes: Tensor
    quality: Tensor


def truth_of(targets: Targets) -> Truth:
    """Pad the boxes of a batch to (B, G), G at least 1."""
    counts = [len(boxes) for boxes in targets.boxes]
    most, device = max(1, *counts), targets.boxes[0].device
    boxes = torch.zeros(len(counts), most, 4, device=device)
    labels = torch.zeros(len(counts), most, dtype=torch.int64, device=device)
    for i, count in enumerate(counts):
        boxes[i, :count], labels[i, :count] = targets.boxes[i], targets.labels[i]
    number = torch.tensor(counts, device=device)
    return Truth(boxes, labels, torch.arange(most, device=device) < number[:, None])


def centre(truth: Truth, at: Locations, radius: float = 1.5, side: float = 8.0) -> Assignment:
    """Assign the locations near the middle. side: a level takes boxes up to `side` of its strides long."""
    dx, dy, half_width, half_height = _offsets(truth, at)
    near = radius * at.strides
    longer = (truth.boxes[..., 2:] - truth.boxes[..., :2]).amax(-1, keepdim=True)
    lowest, highest = at.strides.aminmax()
    lower = torch.where(at.strides == lowest, 0.0, at.strides * (side / 2))
    upper = torch.where(at.strides == highest, torch.inf, at.strides * side)
    candidates = (dx <= torch.minimum(half_width, near)) & (dy <= torch.minimum(half_height, near))
    candidates &= (longer >= lower) & (longer < upper) & truth.present[..., None]
    winner, positive = _cheapest(area(truth.boxes)[..., None].expand(candidates.shape), candidates)
    return _assigned(truth, winner, positive, _centre_ness(truth, at, winner) * positive)


def atss(truth: Truth, at: Locations, closest: int = 9, anchor: float = 8.0) -> Assignment:
    """Assign by a threshold of each box's own. anchor: side of a location's square anchor, in strides."""
    dx, dy, half_width, half_height = _offsets(truth, at)
    reach = (anchor / 2 * at.strides)[:, None]
    anchors = torch.cat([at.points - reach, at.points + reach], 1)
    overlap = iou(truth.boxes[:, :, None], anchors)
    chosen = torch.zeros_like(overlap, dtype=torch.bool)
    apart, start = dx.square() + dy.square(), 0
    for count in torch.unique_consecutive(at.strides, return_counts=True)[1].tolist():
        level = apart[..., start : start + count].topk(min(closest, count), largest=False).indices
        chosen.scatter_(2, level + start, True)
        start += count
    number = chosen.sum(-1, keepdim=True)
    mean = (overlap * chosen).sum(-1, keepdim=True) / number
    variance = ((overlap - mean).square() * chosen).sum(-1, keepdim=True) / (number - 1).clamp_min(1)
    candidates = chosen & (overlap >= mean + variance.sqrt())
    candidates &= (dx <= half_width) & (dy <= half_height) & truth.present[..., None]
    winner, positive = _cheapest(-overlap, candidates)
    return _assigned(truth, winner, positive, _centre_ness(truth, at, winner) * positive)


def tal(
    truth: Truth,
    at: Locations,
    logits: Tensor,
    boxes: Tensor,
    top: int = 10,
    alpha: float = 1.0,
    beta: float = 6.0,
) -> Assignment:
    """Assign by what is predicted now: logits (B, N, C) and boxes (B, N, 4), not differentiated here.

    The quality of a box's best location is the largest IoU among its locations; that of the others in
    proportion to their alignment.
    """
    dx, dy, half_width, half_height = _offsets(truth, at)
    inside = (dx <= half_width) & (dy <= half_height) & truth.present[..., None]
    classes = truth.labels[..., None].expand(-1, -1, logits.shape[1])
    score = logits.detach().float().mT.gather(1, classes).sigmoid_()
    overlap = iou(truth.boxes[:, :, None], boxes.detach().float()[:, None])
    alignment = score**alpha * overlap**beta
    ranked = alignment.masked_fill(~inside, -1).topk(min(top, alignment.shape[2])).indices
    candidates = torch.zeros_like(inside).scatter_(2, ranked, True) & inside
    winner, positive = _cheapest(-overlap, candidates)
    own = positive[:, None] & (
        winner[:, None] == torch.arange(inside.shape[1], device=winner.device)[:, None]
    )
    best_alignment, best_overlap = ((t * own).amax(-1, keepdim=True) for t in (alignment, overlap))
    quality = (alignment * own / best_alignment.clamp_min(1e-9) * best_overlap).amax(1)
    return _assigned(truth, winner, positive, quality)


def ignore_crowds(assignment: Assignment, at: Locations, crowds: list[Tensor]) -> Assignment:
    """Ask nothing of a background location inside a crowd. crowds: (k, 4) an image."""
    if not any(len(regions) for regions in crowds):
        return assignment
    labels = assignment.labels.clone()
    for i, regions in enumerate(crowds):
        inside = (at.points >= regions[:, None, :2]) & (at.points <= regions[:, None, 2:])
        labels[i][inside.all(-1).any(0) & (labels[i] == BACKGROUND)] = IGNORED
    return assignment._replace(labels=labels)


def _offsets(truth: Truth, at: Locations) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Distances in x and y of each location from each box's middle, and half the box's sides: (B, G, N)."""
    x1, y1, x2, y2 = truth.boxes[..., None].unbind(2)
    x, y = at.points.unbind(1)
    least = at.strides * (LEAST / 2)
    dx, dy = (x - (x1 + x2) / 2).abs_(), (y - (y1 + y2) / 2).abs_()
    return dx, dy, torch.maximum((x2 - x1) / 2, least), torch.maximum((y2 - y1) / 2, least)


def _cheapest(cost: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
    """Which candidate box costs each location least, and whether there is any: (B, N) of (B, G, N)."""
    lowest, winner = cost.masked_fill(~candidates, torch.inf).min(1)
    return winner, lowest < torch.inf


def _centre_ness(truth: Truth, at: Locations, winner: Tensor) -> Tensor:
    """sqrt(min(l, r) / max(l, r) min(t, b) / max(t, b)) of the box that each location won, (B, N)."""
    boxes = _of_winner(truth.boxes, winner)
    distance = (at.points - (boxes[..., :2] + boxes[..., 2:]) / 2).abs_()
    half = torch.maximum((boxes[..., 2:] - boxes[..., :2]) / 2, (at.strides * (LEAST / 2))[:, None])
    return ((half - distance) / (half + distance)).clamp_min_(0).prod(-1).sqrt_()


def _of_winner(boxes: Tensor, winner: Tensor) -> Tensor:
    """Box (B, N, 4) of each location, of boxes (B, G, 4)."""
    return boxes.gather(1, winner[..., None].expand(-1, -1, 4))


def _assigned(truth: Truth, winner: Tensor, positive: Tensor, quality: Tensor) -> Assignment:
    labels = truth.labels.gather(1, winner).masked_fill_(~positive, BACKGROUND)
    return Assignment(labels, _of_winner(truth.boxes, winner), quality)
