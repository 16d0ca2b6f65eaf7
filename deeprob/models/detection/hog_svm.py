"""A detector of before the networks: a linear support vector machine on every window of every scale.

    window x -> v(x), histograms of oriented gradients (deeprob.data.features.hog) -> s_c = w_c . v + b_c
    score    = 1 / (1 + exp(-2 s_c))

A class has one shape of window, by the median of its boxes' sides. It is trained on its boxes and on windows
of the training frames that hold none; then once more with the windows that it took for one (bootstrapping).
Of all windows at once w_c . v is a convolution of the map of blocks with w_c. Windows of all sizes are those
of one size on the frame at many.

Source: Dalal and Triggs, Histograms of oriented gradients for human detection, CVPR 2005; the machine and its
gradient: deeprob.models.linear_svm.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from deeprob import layers
from deeprob.data.features import BLOCK, ORIENTATIONS, hog_blocks
from deeprob.errors import InputError
from deeprob.models.backend import check_least, check_positive
from deeprob.models.detection.boxes import iou
from deeprob.models.detection.contract import Detections
from deeprob.models.detection.decode import Decoding, suppress
from deeprob.models.linear_svm import svm_loss_vectorised

LONGEST = 12  # cells a side of a window
DEPTH = BLOCK * BLOCK * ORIENTATIONS
STEPS, MOMENTUM = 200, 0.9
OVERLAP = 0.3  # IoU up to which a window holds no object
HARD = 8  # windows of a frame, of a class, that are mistaken the most


class HOGSVM(nn.Module):
    """Images (B, 3, H, W) -> for each the windows that may hold something, after `fit`.

    cell: pixels a side. area: cells of a window. largest, octave: the frame is seen at `largest` times its
    size, then at 2^(-1/octave) times as much each time, as long as a window fits in.
    negatives: windows without an object that a class is trained on, a frame. mined: every so manyth frame is
    looked through for windows mistaken for objects; 0 is none. strength: of the penalty on w. lr: of the
    gradient descent. score_threshold, candidates, nms_iou, max_detections: see Decoding.
    """

    weight: Tensor
    bias: Tensor
    shapes: Tensor

    def __init__(
        self,
        num_classes: int,
        cell: int = 4,
        area: int = 36,
        largest: float = 2.0,
        octave: int = 3,
        negatives: int = 8,
        mined: int = 4,
        strength: float = 1e-3,
        lr: float = 0.1,
        seed: int = 0,
        score_threshold: float = 0.05,
        candidates: int = 500,
        nms_iou: float = 0.3,
        max_detections: int = 100,
    ) -> None:
        super().__init__()
        check_positive("hog_svm", num_classes=num_classes, cell=cell, area=area, octave=octave)
        check_positive("hog_svm", negatives=negatives, candidates=candidates, max_detections=max_detections)
        check_least("hog_svm", 0, mined=mined)
        self.num_classes, self.cell, self.area = num_classes, cell, area
        self.largest, self.octave = largest, octave
        self.negatives, self.mined, self.strength, self.lr, self.seed = negatives, mined, strength, lr, seed
        self.decoding = Decoding(score_threshold, candidates, nms_iou, max_detections)
        self.register_buffer("weight", torch.zeros(num_classes, DEPTH, LONGEST - 1, LONGEST - 1))
        self.register_buffer("bias", torch.zeros(num_classes))
        self.register_buffer("shapes", torch.zeros(num_classes, 2, dtype=torch.int64))

    @torch.no_grad()
    def fit(self, batches: Iterable[Any], groups: Tensor) -> None:
        """Train on batches (fields images, boxes, labels, crowds), which are read three times."""
        rng = np.random.default_rng(self.seed)
        self.shapes.copy_(self._shapes_of(batches))
        positives: list[list[Tensor]] = [[] for _ in range(self.num_classes)]
        negatives: list[list[Tensor]] = [[] for _ in range(self.num_classes)]
        for image, boxes, labels, marked in _frames(batches):
            for c in sorted(set(labels.tolist())):
                positives[c].append(self._describe(image, self._windows(boxes[labels == c], c), c))
            for c in range(self.num_classes):
                negatives[c].append(self._describe(image, self._elsewhere(image, marked, c, rng), c))
        for c in range(self.num_classes):
            self._train(c, positives[c], negatives[c])
        if not self.mined:
            return
        for image, _, _, marked in itertools.islice(_frames(batches), 0, None, self.mined):
            for c, found in enumerate(self._candidates(image)):
                wrong = iou(found.boxes[:, None], marked).amax(1) < OVERLAP if len(marked) else None
                hard = (found.boxes if wrong is None else found.boxes[wrong])[:HARD]
                negatives[c].append(self._describe(image, hard, c))
        for c in range(self.num_classes):
            self._train(c, positives[c], negatives[c])

    @torch.no_grad()
    def forward(self, images: Tensor) -> list[Detections]:
        """Of each image the best candidates of all classes, best first."""
        if not self.shapes.any():
            raise InputError("the model is not trained yet", where="hog_svm", fix="train it first")
        found = []
        for image in images:
            parts = self._candidates(image)
            boxes, scores, labels = (torch.cat(of) for of in zip(*parts, strict=True))
            best = scores.argsort(descending=True, stable=True)[: self.decoding.candidates]
            found.append(Detections(boxes[best], scores[best], labels[best]))
        return found

    def detect(self, outputs: list[Detections]) -> list[Detections]:
        """Remove duplicates."""
        return [suppress(found, self.decoding) for found in outputs]

    def losses(self, outputs: Any, targets: Any) -> dict[str, Tensor]:
        """Nothing: it is not trained by steps."""
        return {"none": self.bias.new_zeros(())}

    def flops_per_sample(self) -> int:
        """Of one window of each class; a frame has one at every cell of every scale."""
        return 2 * DEPTH * int((self.shapes - 1).prod(1).sum())

    def _shapes_of(self, batches: Iterable[Any]) -> Tensor:
        """Cells (rows, columns) of each class's windows, int64 (C, 2)."""
        ratios: list[list[float]] = [[] for _ in range(self.num_classes)]
        for _, boxes, labels, _ in _frames(batches):
            spans = (boxes[:, 2:] - boxes[:, :2]).tolist()
            for c, (width, height) in zip(labels.tolist(), spans, strict=True):
                ratios[c].append(width / height)
        shapes = []
        for of_class in ratios:
            root = float(np.median(of_class or [1.0])) ** 0.5
            side = self.area**0.5
            sides = (side / root, side * root)
            shapes.append([min(max(round(length), BLOCK + 1), LONGEST) for length in sides])
        return torch.tensor(shapes)

    def _windows(self, boxes: Tensor, c: int) -> Tensor:
        """Windows of a class's shape with the middles and areas of boxes (n, 4)."""
        rows, columns = self.shapes[c].tolist()
        sides = (boxes[:, 2:] - boxes[:, :2]).clamp_min(1.0)
        unit = (sides.prod(1) / (rows * columns)).sqrt()
        half = torch.stack([columns * unit, rows * unit], 1) / 2
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2
        return torch.cat([middle - half, middle + half], 1)

    def _elsewhere(self, image: Tensor, marked: Tensor, c: int, rng: np.random.Generator) -> Tensor:
        """Windows of an image (3, H, W) at random places, which hold none of the boxes `marked`."""
        height, width = image.shape[1:]
        rows, columns = self.shapes[c].tolist()
        scale = self.cell / self.largest * 2 ** rng.uniform(0, 4, 2 * self.negatives)
        size = np.stack([columns * scale, rows * scale], 1)
        size = size[(size < (width, height)).all(1)]
        corner = rng.uniform(0, 1, size.shape) * ((width, height) - size) - 0.5
        windows = torch.from_numpy(np.concatenate([corner, corner + size], 1)).float()
        if len(marked):
            windows = windows[iou(windows[:, None], marked).amax(1) < OVERLAP]
        return windows[: self.negatives]

    def _describe(self, image: Tensor, windows: Tensor, c: int) -> Tensor:
        """Features (n, DEPTH rows columns) of the windows (n, 4) of an image (3, H, W)."""
        rows, columns = self.shapes[c].tolist()
        height, width = image.shape[1:]
        seen = []
        for left, top, right, bottom in (windows + 0.5).round().long().tolist():
            x = torch.arange(left, max(right, left + 1)).clamp(0, width - 1)
            y = torch.arange(top, max(bottom, top + 1)).clamp(0, height - 1)
            size = (rows * self.cell, columns * self.cell)
            cut = image[:, y][:, :, x][None]
            seen.append(interpolate(cut, size=size, mode="bilinear", antialias=True, align_corners=False))
        if not seen:
            return image.new_zeros(0, DEPTH * (rows - 1) * (columns - 1))
        return hog_blocks(torch.cat(seen), self.cell).permute(0, 3, 1, 2).flatten(1)

    def _train(self, c: int, positives: list[Tensor], negatives: list[Tensor]) -> None:
        """Descend on the machine's loss by its gradient, with momentum."""
        if not positives:
            return
        x = torch.cat([*positives, *negatives])
        y = torch.zeros(len(x), dtype=torch.int64)
        y[: sum(len(p) for p in positives)] = 1
        W, b = x.new_zeros(2, x.shape[1]), x.new_zeros(2)
        step_W, step_b = torch.zeros_like(W), torch.zeros_like(b)
        for _ in range(STEPS):
            _, dW, db = svm_loss_vectorised(W, b, x, y, self.strength)
            step_W, step_b = MOMENTUM * step_W - self.lr * dW, MOMENTUM * step_b - self.lr * db
            W, b = W + step_W, b + step_b
        rows, columns = (self.shapes[c] - 1).tolist()
        self.weight[c] = 0
        self.weight[c, :, :rows, :columns] = (W[1] - W[0]).view(DEPTH, rows, columns)
        self.bias[c] = b[1] - b[0]

    def _candidates(self, image: Tensor) -> list[Detections]:
        """Of each class the best windows of an image (3, H, W), best first."""
        found: list[list[Detections]] = [[] for _ in range(self.num_classes)]
        height, width = image.shape[1:]
        scale = self.largest
        while min(height, width) * scale >= (BLOCK + 1) * self.cell:
            size = round(height * scale), round(width * scale)
            seen = interpolate(
                image[None], size=size, mode="bilinear", antialias=scale < 1, align_corners=False
            )
            blocks = hog_blocks(seen, self.cell).permute(0, 3, 1, 2)
            unit = torch.tensor([width / size[1], height / size[0]] * 2) * self.cell
            for c in range(self.num_classes):
                found[c].append(self._at_scale(blocks, c, unit))
            scale /= 2 ** (1 / self.octave)
        best = []
        for parts in found:
            boxes, scores, labels = (torch.cat(of) for of in zip(*parts, strict=True))
            order = scores.argsort(descending=True, stable=True)[: self.decoding.candidates]
            best.append(Detections(boxes[order], scores[order], labels[order]))
        return best

    def _at_scale(self, blocks: Tensor, c: int, unit: Tensor) -> Detections:
        """Windows of a class over a map of blocks (1, DEPTH, h, w). unit: (4,), pixels a cell."""
        rows, columns = self.shapes[c].tolist()
        if blocks.shape[2] < rows - 1 or blocks.shape[3] < columns - 1:
            return Detections(unit.new_zeros(0, 4), unit.new_zeros(0), torch.zeros(0, dtype=torch.int64))
        weight = self.weight[c : c + 1, :, : rows - 1, : columns - 1].contiguous()
        scores = (2 * layers.conv2d(blocks, weight, self.bias[c : c + 1])[0, 0]).sigmoid()
        y, x = (scores > self.decoding.score_threshold).nonzero(as_tuple=True)
        corner = torch.stack([x, y, x + columns, y + rows], 1) * unit - 0.5
        return Detections(corner, scores[y, x], torch.full_like(x, c))


def _frames(batches: Iterable[Any]) -> Iterable[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Images, their boxes and labels, and all that is marked in them, crowds too."""
    for batch in batches:
        for image, boxes, labels, crowds in zip(
            batch.images, batch.boxes, batch.labels, batch.crowds, strict=True
        ):
            yield image, boxes, labels, torch.cat([boxes, crowds])
