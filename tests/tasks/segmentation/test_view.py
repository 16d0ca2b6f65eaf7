import numpy as np
import pytest
import torch

from deeprob.data.batches.materialise import materialise
from deeprob.data.frame import Frame, Instance
from deeprob.data.readers.reading import Frames
from deeprob.data.settings import WindowAugmentation
from deeprob.data.source import Source
from deeprob.errors import InputError
from deeprob.tasks.segmentation.labels import IGNORED
from deeprob.tasks.segmentation.view import SegmentationView


class Squares(Source):
    """Frames of 40 x 30 pixels with one white square on black, of class 0, each at a place of its own."""

    name, real, classes, splits = "squares", True, ("square",), ("train",)

    def frames(self, split):
        return Frames(range(5), self._frame)

    def _frame(self, index):
        mask = np.zeros((30, 40), bool)
        mask[5:17, 4 * index : 4 * index + 12] = True
        image = np.repeat(255 * mask[..., None].astype(np.uint8), 3, 2)
        square = Instance(0, np.array([4 * index - 0.5, 4.5, 4 * index + 11.5, 16.5]), mask)
        return Frame(image, (square,), self.name, str(index), str(index))


def batch_of(width=40, height=30, **augmentation):
    view = SegmentationView(width, height)
    samples = materialise(Squares(), "train", view, progress=False)
    given = WindowAugmentation(**augmentation) if augmentation else None
    collate = view.collate((0.0,) * 3, (1.0,) * 3, given)
    return collate(samples, torch.arange(5), torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "augmentation",
    [
        {"crop": [16, 24]},
        {"crop": [16, 24], "flip": 0.5},
        {"crop": [20, 20], "scale": [0.5, 2.0]},
        {"zoom": 0.3, "rotate": 0.4},
    ],
)
def test_labels_move_with_the_pixels(augmentation) -> None:
    batch = batch_of(**augmentation)
    assert batch.images.shape[2:] == batch.labels.shape[1:]
    assert batch.labels.shape[1:] == tuple(augmentation.get("crop", (30, 40)))
    white, black = batch.images[:, 0] > 0.9, batch.images[:, 0] < 0.1
    assert bool(white.any())
    assert bool(black.any())
    assert (batch.labels[white] == 1).float().mean() > 0.99
    assert (batch.labels[black] == 0).float().mean() > 0.99


def test_the_border_that_fills_a_frame_up_has_no_label() -> None:
    labels = batch_of(width=40, height=40).labels
    assert (labels[:, :5] == IGNORED).all()
    assert (labels[:, -5:] == IGNORED).all()
    assert (labels[:, 5:-5] != IGNORED).all()


def test_a_crop_larger_than_the_frame_is_refused() -> None:
    with pytest.raises(InputError, match=r"augmentation.crop is \[64, 64\]; expected at most \[30, 40\]"):
        batch_of(crop=[64, 64])
