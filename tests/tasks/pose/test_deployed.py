"""A pose network as one graph says what the network says, decoded directly."""

from types import SimpleNamespace

import numpy as np
import torch

from deeprob.models.pose.dense import PoseDense
from deeprob.tasks.pose.deployed import OUTPUTS, deployed
from deeprob.tasks.pose.view import PoseView

SIDE = 32


def network():
    torch.manual_seed(0)
    small = {"widths": (8, 8, 8, 8), "blocks": (0, 0, 0, 0), "width": 8, "head_widths": (8,), "hidden": 16}
    made = PoseDense(3, image_size=SIDE, fragments=8, **small).eval()
    torch.nn.init.normal_(made.pose.weight, std=0.1)
    return made


def test_the_graph_gives_the_direct_pose():
    model = network()
    images, labels = torch.rand(2, 3, SIDE, SIDE), torch.tensor([2, 0])
    K = torch.tensor([[90.0, 0, 11], [0, 85, 20], [0, 0, 1]]).repeat(2, 1, 1)
    with torch.no_grad():
        found = dict(zip(OUTPUTS, deployed(model).network(images, labels, K), strict=True))
        batch = SimpleNamespace(labels=labels, K=K, depth=torch.zeros(2, SIDE // 8, SIDE // 8))
        poses, scores = model.poses(model(images), batch, "direct")
    np.testing.assert_allclose(found["rotation"], poses[:, :3, :3], atol=1e-5)
    np.testing.assert_allclose(found["translation"], poses[:, :3, 3], atol=1e-5)
    np.testing.assert_allclose(found["scores"], scores, atol=1e-5)
    assert found["points"].shape == (2, 16, 3)
    assert deployed(model).decode["cell"] == 8


def test_the_crop_that_is_described_is_the_crop_that_is_cut():
    view = PoseView(size=SIDE, margin=0.1)
    box = np.array([10.0, 20, 50, 44])
    side = 40 * (1 + 2 * view.described()["margin"])
    s, middle = SIDE / side, (SIDE - 1) / 2
    expected = [[s, 0, middle - s * 30], [0, s, middle - s * 32], [0, 0, 1]]
    np.testing.assert_allclose(view._matrix(box, np.zeros(4)), expected)
