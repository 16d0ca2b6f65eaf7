from types import SimpleNamespace

import numpy as np
import torch

from deeprob.data.frame import Frame
from deeprob.tasks.segmentation import baselines
from deeprob.tasks.segmentation.labels import IGNORED


def halves(count=3):
    """Images red on the left and blue on the right, whose classes are 1 and 0; a corner has no label."""
    images = torch.zeros(count, 12, 20, 3, dtype=torch.uint8)
    images[:, :, :12, 0], images[:, :, 12:, 2] = 200, 200
    labels = torch.zeros(count, 12, 20, dtype=torch.uint8)
    labels[:, :, :12] = 1
    labels[:, :4, :4] = IGNORED
    return images, labels


class Samples(SimpleNamespace):
    def __len__(self):
        return len(self.images)


def test_the_majority_is_the_commonest_labelled_class():
    images, labels = halves()
    labels[:, :, :9] = IGNORED
    answer = baselines.majority(Samples(images=images, labels=labels))
    assert (answer(0, Frame(images[0].numpy(), (), "", "", "")) == 0).all()


def test_softmax_regression_tells_colours_apart():
    images, labels = halves()
    answer = baselines.softmax_regression(Samples(images=images, labels=labels), 3, seed=0)
    said = answer(0, Frame(images[0].numpy(), (), "", "", ""))
    assert said.shape == (12, 20)
    assert np.mean(said == (np.arange(20) < 12)) > 0.95
