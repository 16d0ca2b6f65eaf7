"""A seeded scene, and what is known of boxes, written once more in loops."""

import numpy as np
import pytest
import torch

from deeprob.models.detection.contract import Targets
from deeprob.models.detection.locations import locations_of

SIZES, STRIDES, IMAGE = ((8, 10), (4, 5), (2, 3)), (8, 16, 32), (64, 80)


def random_boxes(count, seed, smallest=2.0, largest=60.0):
    """Boxes (count, 4) with their middles in the image, sides log-uniform."""
    generator = torch.Generator().manual_seed(seed)
    middles = torch.rand(count, 2, generator=generator) * torch.tensor([IMAGE[1] - 1, IMAGE[0] - 1])
    sides = smallest * (largest / smallest) ** torch.rand(count, 2, generator=generator)
    return torch.cat([middles - sides / 2, middles + sides / 2], 1)


def pair_iou(a, b):
    """IoU of two boxes, in plain numbers."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    sides = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    union = sum(sides) - width * height
    return width * height / union if union else 0.0


def greedy(boxes, scores, labels, threshold):
    """Indices kept, best first: the textbook's loop."""
    boxes, kept = np.asarray(boxes, dtype=np.float64), []
    for i in np.argsort(-np.asarray(scores), kind="stable"):
        if all(labels[i] != labels[j] or pair_iou(boxes[i], boxes[j]) <= threshold for j in kept):
            kept.append(int(i))
    return kept


@pytest.fixture
def at():
    return locations_of(SIZES, STRIDES, IMAGE, torch.zeros(()))


@pytest.fixture
def targets():
    """Four images of 7, 0, 3 and 1 boxes; the second and third have a crowd."""
    counts = (7, 0, 3, 1)
    boxes = [random_boxes(count, seed) for seed, count in enumerate(counts)]
    labels = [torch.arange(count) % 3 for count in counts]
    crowd = torch.tensor([[10.0, 10.0, 50.0, 40.0]])
    return Targets(boxes, labels, [torch.zeros(0, 4), crowd, crowd, torch.zeros(0, 4)])


def nothing(count=2):
    """Images without a box."""
    return Targets(*([torch.zeros(*shape, dtype=dtype)] * count for shape, dtype in NO_BOX))


NO_BOX = (((0, 4), torch.float32), ((0,), torch.int64), ((0, 4), torch.float32))


@pytest.fixture
def oracle():
    return greedy


@pytest.fixture
def some_boxes():
    return random_boxes


@pytest.fixture
def squares():
    return coloured_squares


def coloured_squares(count=4, size=64):
    """Noise with a square of a colour, 14 to 26 pixels, on each image, and where it is."""
    generator = torch.Generator().manual_seed(0)
    x, boxes, labels = 0.1 * torch.randn(count, 3, size, size, generator=generator), [], []
    for i in range(count):
        side = 14 + 4 * i
        left, top = torch.randint(0, size - side, (2,), generator=generator).tolist()
        x[i, i % 3, top : top + side, left : left + side] += 2
        boxes.append(torch.tensor([[left, top, left + side, top + side]]) - 0.5)
        labels.append(torch.tensor([i % 3]))
    return x, Targets(boxes, labels, [torch.zeros(0, 4)] * count)
