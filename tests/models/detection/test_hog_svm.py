from types import SimpleNamespace

import pytest
import torch

from deeprob.errors import InputError
from deeprob.models.detection.boxes import iou
from deeprob.models.detection.hog_svm import HOGSVM


def frames(count, seed):
    """Frames of noise with a hollow square (class 0) and a tall cross-hatched box (class 1)."""
    generator = torch.Generator().manual_seed(seed)
    batches = []
    for _ in range(count):
        image = 0.2 * torch.randn(3, 80, 120, generator=generator)
        u = torch.rand(5, generator=generator)
        side = int(20 + 12 * u[0])
        left, top = int(u[1] * (58 - side)), int(u[2] * (78 - side))
        image[:, top : top + side, left : left + side] += 2
        image[:, top + 5 : top + side - 5, left + 5 : left + side - 5] -= 2
        x, y = 64 + int(u[3] * 34), int(u[4] * 38)
        image[:, y : y + 40 : 4, x : x + 20] += 2
        boxes = torch.tensor([[left, top, left + side, top + side], [x, y, x + 20, y + 40]]) - 0.5
        batches.append(
            SimpleNamespace(
                images=image[None], boxes=[boxes], labels=[torch.tensor([0, 1])], crowds=[torch.zeros(0, 4)]
            )
        )
    return batches


def test_windows_of_two_shapes_are_found_where_they_are():
    torch.manual_seed(0)
    model = HOGSVM(2, largest=1.5, octave=4, mined=2)
    model.fit(frames(12, 0), torch.zeros(12))
    assert model.shapes.tolist() == [[6, 6], [8, 4]]
    right = 0
    for batch in frames(6, 1):
        (found,) = model.detect(model(batch.images))
        for box, label in zip(batch.boxes[0], (0, 1), strict=True):
            best = found.boxes[found.labels == label][:1]
            right += len(best) and float(iou(best[0], box)) > 0.5
    assert right >= 10


def test_what_was_learned_travels_in_the_state_dict():
    model = HOGSVM(2, mined=0)
    with pytest.raises(InputError, match="is not trained yet"):
        model(torch.zeros(1, 3, 40, 40))
    model.fit(frames(3, 0), torch.zeros(3))
    other = HOGSVM(2)
    other.load_state_dict(model.state_dict())
    image = frames(1, 5)[0].images
    for one, two in zip(model(image), other(image), strict=True):
        torch.testing.assert_close(one.boxes, two.boxes)
        torch.testing.assert_close(one.scores, two.scores)
