"""From scores and boxes everywhere to a short list: the best candidates, without duplicates.

Of two boxes of one class that overlap by more than a threshold (IoU), the one with the lower score goes;
what has gone makes no other go (greedy non-maximum suppression). Two forms of the same:

    nms          on the CPU: a loop in order of score, which ends when enough are kept
    nms_matrix   tensor operations only, on any device and in an exported graph: the fixed point of
                 kept_i = no kept j before i overlaps i, which n rounds reach for a chain of n boxes

Soft suppression removes nothing: each box of a higher score with which a box has the overlap o leaves it
exp(-o^2 / sigma) of its own (Bodla et al., Soft-NMS, 2017, with the Gaussian).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeprob.errors import InputError
from deeprob.layers.kernels.loops import compile_loop
from deeprob.models.detection.boxes import clip, iou
from deeprob.models.detection.contract import Detections


class Decoding(NamedTuple):
    """How scores and boxes become detections.

    score_threshold: what is below is dropped, before and after suppression. candidates: the best so many go
    into it. nms_iou: of two boxes that overlap by more, one goes. max_detections: of an image. soft_nms:
    sigma of a soft suppression in its place; 0 is none.
    """

    score_threshold: float
    candidates: int
    nms_iou: float
    max_detections: int
    soft_nms: float = 0.0

    def checked(self) -> Decoding:
        """Itself. Raises InputError where a setting is no setting."""
        if self.soft_nms < 0:
            raise InputError(f"soft_nms={self.soft_nms}", where="model", expected="0 or more")
        return self


def best_candidates(scores: Tensor, boxes: Tensor, threshold: float, most: int) -> Detections:
    """Up to `most` scores of (N, C) above `threshold`, best first, with their boxes and classes.

    boxes: (N, 4), or (N, C, 4) where each class has its own.
    """
    flat = scores.flatten()
    most = min(most, len(flat))
    values, index = flat.topk(most)
    number = int((values > threshold).sum())
    values, index = values[:number], index[:number]
    row, label = torch.div(index, scores.shape[1], rounding_mode="floor"), index % scores.shape[1]
    return Detections(boxes[row] if boxes.dim() == 2 else boxes[row, label], values, label)


def batch_candidates(scores: Tensor, boxes: Tensor, image: Sequence[int], most: int) -> Detections:
    """Up to `most` scores of each image, best first, with their boxes, cut to the image, and classes.

    scores: (B, N, C). boxes: (B, N, 4). image: height, width. Of a fixed number, for an exported graph.
    Returns boxes (B, K, 4), scores and labels (B, K).
    """
    flat = scores.flatten(1)
    values, index = flat.topk(min(most, flat.shape[1]), 1)
    row, label = torch.div(index, scores.shape[2], rounding_mode="floor"), index % scores.shape[2]
    chosen = boxes.gather(1, row[..., None].expand(-1, -1, 4))
    return Detections(clip(chosen, image[0], image[1]), values, label)


def nms(found: Detections, iou_threshold: float, most: int | None = None) -> Tensor:
    """Indices of what is kept of `found`, best first; of the first `most` alone."""
    if found.boxes.device.type != "cpu":
        return nms_matrix(found, iou_threshold).nonzero().squeeze(1)[:most]
    boxes, labels = found.boxes.double().contiguous().numpy(), found.labels.contiguous().numpy()
    kept = np.empty(len(boxes), np.int64)
    number = compile_loop(keep_best)(boxes, labels, iou_threshold, len(boxes) if most is None else most, kept)
    return torch.from_numpy(kept[:number])


def keep_best(
    boxes: NDArray[np.float64],
    labels: NDArray[np.int64],
    threshold: float,
    most: int,
    kept: NDArray[np.int64],
) -> int:
    """Write the indices of at most `most` boxes (n, 4), best first, that are kept; how many they are."""
    number = 0
    gone = np.zeros(len(boxes), np.bool_)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for i in range(len(boxes)):
        if gone[i]:
            continue
        if number == most:
            break
        kept[number] = i
        number += 1
        for j in range(i + 1, len(boxes)):
            if labels[j] != labels[i] or gone[j]:
                continue
            width = min(boxes[i, 2], boxes[j, 2]) - max(boxes[i, 0], boxes[j, 0])
            height = min(boxes[i, 3], boxes[j, 3]) - max(boxes[i, 1], boxes[j, 1])
            if width > 0 and height > 0:
                common = width * height
                gone[j] = common > threshold * (areas[i] + areas[j] - common)
    return number


def nms_matrix(found: Detections, iou_threshold: float, rounds: int | None = None) -> Tensor:
    """Whether each of `found`, best first, is kept: bool (..., n).

    rounds: how often to repeat, for a graph whose length is fixed; None: until nothing changes.
    """
    same = found.labels[..., :, None] == found.labels[..., None, :]
    overlaps = (iou(found.boxes[..., :, None, :], found.boxes[..., None, :, :]) > iou_threshold) & same
    beats = overlaps.float().triu(1)  # beats[j, i]: j comes before i and overlaps it
    kept = torch.ones_like(found.scores, dtype=torch.bool)
    for _ in range(kept.shape[-1] if rounds is None else rounds):
        before, kept = kept, (kept.to(beats)[..., None, :] @ beats).squeeze(-2) == 0
        if rounds is None and bool((before == kept).all()):
            break
    return kept


def soft_nms(found: Detections, sigma: float) -> Detections:
    """Lower the scores of what overlaps something better of its class: `found` again, best first."""
    scores, boxes = found.scores.clone(), found.boxes
    left = torch.ones_like(scores, dtype=torch.bool)
    order = []
    for _ in range(len(scores)):
        best = int(scores.masked_fill(~left, -1).argmax())
        order.append(best)
        left[best] = False
        near = left & (found.labels == found.labels[best])
        overlap = iou(boxes[best], boxes)
        scores = torch.where(near, scores * (-overlap.square() / sigma).exp(), scores)
    chosen = torch.tensor(order, dtype=torch.int64, device=scores.device)
    return Detections(boxes[chosen], scores[chosen], found.labels[chosen])


def suppress(found: Detections, how: Decoding) -> Detections:
    """Remove duplicates from `found`, best first."""
    if how.soft_nms:
        found = soft_nms(found, how.soft_nms)
        kept = (found.scores > how.score_threshold).nonzero().squeeze(1)
    else:
        kept = nms(found, how.nms_iou, how.max_detections)
    return Detections(*(t[kept[: how.max_detections]] for t in found))


def decode(scores: Tensor, boxes: Tensor, image: tuple[int, int], how: Decoding) -> Detections:
    """What is found on one image of `image` (height, width) pixels.

    scores: (N, C). boxes: (N, 4), or (N, C, 4) where each class has its own. Boxes are cut to the image;
    those with nothing in it go.
    """
    found = best_candidates(scores.detach(), boxes.detach(), how.score_threshold, how.candidates)
    found = found._replace(boxes=clip(found.boxes, *image))
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    seen = (sides > 0).all(1)
    return suppress(Detections(*(t[seen] for t in found)), how)
