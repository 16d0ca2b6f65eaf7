"""A mask from colours: the object's own colour is inside wherever it lies, the ground's is not."""

import numpy as np
import torch

from deeprob.models.pose.by_render import Drawn, Seen
from deeprob.models.pose.colour_mask import silhouette, with_colour_mask

K = torch.tensor([[100.0, 0, 23.5], [0, 100, 23.5], [0, 0, 1]])
SQUARE = Drawn(
    torch.tensor([[-0.1, -0.1, 0], [0.1, -0.1, 0], [0.1, 0.1, 0], [-0.1, 0.1, 0]]),
    *(torch.tensor([[0, 1, 2], [0, 2, 3]]), torch.zeros(3), 0.28, False),
)
T = np.eye(4)
T[2, 3] = 1.0


def test_the_mask_is_of_the_colour_and_not_of_the_start():
    rgb = torch.full((48, 48, 3), 0.2)
    rgb[15:35, 16:36] = torch.tensor([0.8, 0.3, 0.1])  # two pixels beside where the start has it
    rgb[:, 46:] = torch.nan
    seen = with_colour_mask(T, Seen(K, rgb=rgb), SQUARE)
    assert silhouette(T, seen, SQUARE).sum() == 20 * 20
    assert seen.mask[:, 46:].isnan().all()
    on = seen.mask[:, :46] > 0.5
    assert on[15:35, 16:36].all()
    assert on.sum() == 20 * 20


def test_a_colour_that_is_nowhere_says_nothing():
    rgb = torch.full((48, 48, 3), 0.2)
    rgb[14:34, 14:34] = 0.8
    rgb[0, 0] = torch.tensor([0.0, 0.0, 1.0])
    assert with_colour_mask(T, Seen(K, rgb=rgb), SQUARE).mask[0, 0] == 0.5
