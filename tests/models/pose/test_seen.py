"""A frame's square around an object: the same point lands where the square's own camera sees it."""

import numpy as np
import torch

from deeprob.models.pose.by_render import Drawn
from deeprob.models.pose.seen import seen_on

K = np.array([[100.0, 0, 30], [0, 100, 20], [0, 0, 1]])


def test_a_square_has_the_camera_of_what_it_shows():
    T = np.eye(4)
    T[:3, 3] = [0.03, 0.02, 0.5]
    corners = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]) * 0.1
    drawn = Drawn(corners, torch.tensor([[0, 1, 2]]), torch.zeros(3), 0.1, False)
    v, u = np.mgrid[:40, :60]
    mask, depth = u >= 36, np.where(v >= 24, 0.5, 0.0)
    rgb = np.stack([4 * u, 4 * v, 0 * u], -1).astype(np.uint8)
    (seen,) = seen_on((33,), T, K, drawn, mask=mask, depth=depth, rgb=rgb)
    place = seen.K.double().numpy() @ T[:3, 3]
    np.testing.assert_allclose(place[:2] / place[2], [16, 16], atol=1e-4)  # the object in the middle
    np.testing.assert_allclose(seen.rgb[16, 16, :2] * 255 / 4, [36, 24], atol=0.1)
    assert seen.mask[16].tolist()[:14] == [0] * 14
    assert seen.mask[16].tolist()[18:] == [1] * 15
    assert set(seen.depth[:, 16].tolist()) == {0.0, 0.5}
    assert seen_on((33,), T, K, drawn, depth=depth)[0].mask is None


def test_beyond_the_frame_no_mask_is_known():
    T = np.eye(4)
    T[:3, 3] = [-0.15, 0, 0.5]
    drawn = Drawn(torch.zeros(3, 3), torch.tensor([[0, 1, 2]]), torch.zeros(3), 0.1, False)
    (seen,) = seen_on((16,), T, K, drawn, mask=np.ones((40, 60), bool))
    assert seen.mask[:, 0].isnan().all()
    assert (seen.mask[8, 9:] == 1).all()
