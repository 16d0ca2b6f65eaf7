import math

import pytest
import torch

from deeprob.geometry import rotation as geometry
from deeprob.layers import (
    add_loss,
    add_s_loss,
    chamfer_distance,
    class_channels,
    quaternion_to_matrix,
    rotation_6d_to_matrix,
    soft_argmax2d,
)
from deeprob.layers.rotation import by_entries, by_entries_backward

QUARTER_TURN = torch.tensor([[math.sqrt(0.5), 0.0, 0.0, math.sqrt(0.5)]], dtype=torch.float64)  # about z


def test_quaternions_mean_what_the_geometry_room_means():
    q = torch.randn(20, 4, dtype=torch.float64)
    for ours, one in zip(quaternion_to_matrix(q), q, strict=True):
        torch.testing.assert_close(ours, torch.from_numpy(geometry.quaternion_to_matrix(one.numpy())))


@pytest.mark.parametrize(("to_matrix", "size"), [(quaternion_to_matrix, 4), (rotation_6d_to_matrix, 6)])
def test_every_input_gives_a_rotation(to_matrix, size):
    R = to_matrix(torch.randn(50, size, dtype=torch.float64))
    torch.testing.assert_close(R @ R.mT, torch.eye(3, dtype=torch.float64).expand(50, 3, 3))
    torch.testing.assert_close(torch.linalg.det(R), torch.ones(50, dtype=torch.float64))


def test_six_numbers_are_the_first_two_columns():
    R = quaternion_to_matrix(torch.randn(7, 4, dtype=torch.float64))
    torch.testing.assert_close(rotation_6d_to_matrix(R[..., :2].mT.flatten(1)), R)


@pytest.mark.parametrize(("to_matrix", "size"), [(quaternion_to_matrix, 4), (rotation_6d_to_matrix, 6)])
def test_zeros_give_finite_gradients(to_matrix, size):
    x = torch.zeros(2, size, requires_grad=True)
    y = to_matrix(x)
    assert y.isfinite().all()
    assert torch.autograd.grad(y.sum(), x)[0].isfinite().all()


def test_add_of_a_shift_is_its_length():
    R, t = quaternion_to_matrix(torch.randn(2, 4)), torch.randn(2, 3)
    loss = add_loss(R, t, R, t + torch.tensor([3.0, 0.0, 4.0]), torch.randn(10, 3), reduction="none")
    assert loss.tolist() == pytest.approx([5.0, 5.0])


def test_a_symmetry_costs_add_but_not_add_s():
    square = torch.tensor([[1.0, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]], dtype=torch.float64)
    pose = (quaternion_to_matrix(QUARTER_TURN), torch.zeros(1, 3, dtype=torch.float64))
    target = (torch.eye(3, dtype=torch.float64)[None], torch.zeros(1, 3, dtype=torch.float64))
    assert add_loss(*pose, *target, square).item() == pytest.approx(math.sqrt(2))
    assert add_s_loss(*pose, *target, square).item() == pytest.approx(0, abs=1e-12)


def test_the_right_pose_has_no_gradient():
    R, t = torch.eye(3)[None].requires_grad_(), torch.zeros(1, 3, requires_grad=True)
    loss = add_s_loss(R, t, R.detach().clone(), t.detach().clone(), torch.randn(6, 3))
    assert all(g.eq(0).all() for g in torch.autograd.grad(loss, (R, t)))


def test_distances_found_in_blocks_are_the_same(monkeypatch):
    from deeprob.layers.losses import pose as pose_losses

    R, target = (quaternion_to_matrix(torch.randn(5, 4, dtype=torch.float64)) for _ in range(2))
    t, points = torch.randn(5, 3, dtype=torch.float64), torch.randn(8, 3, dtype=torch.float64)
    whole = pose_losses.nearest_points(R, t, target, t, points)
    monkeypatch.setattr(pose_losses, "BLOCK", 130)
    assert torch.equal(pose_losses.nearest_points(R, t, target, t, points), whole)


def test_a_rotation_entry_by_entry_is_the_quadratic_form():
    q = torch.randn(5, 7, 4, dtype=torch.float64, requires_grad=True)
    R = quaternion_to_matrix(q)
    torch.testing.assert_close(by_entries(q), R)
    dR = torch.randn_like(R)
    torch.testing.assert_close(by_entries_backward(dR, q), torch.autograd.grad(R, q, dR)[0])


def test_a_sharp_heatmap_says_where_its_peak_is():
    x = torch.zeros(1, 2, 4, 5)
    x[0, 0, 3, 1], x[0, 1, 0, 4] = 1.0, 1.0
    torch.testing.assert_close(soft_argmax2d(x, beta=100.0), torch.tensor([[[1.0, 3.0], [4.0, 0.0]]]))
    assert soft_argmax2d(torch.zeros(1, 1, 4, 5)).flatten().tolist() == pytest.approx([2.0, 1.5])


def test_clouds_a_step_apart_have_twice_its_square_between_them():
    a = torch.tensor([[[0.0, 0, 0], [10, 0, 0]]])
    assert chamfer_distance(a, a + torch.tensor([0.0, 3.0, 0.0])).item() == pytest.approx(18.0)
    assert chamfer_distance(a, a[:, :1]).item() == pytest.approx(50.0)  # one of two points is 10 away


def test_each_place_has_the_numbers_of_its_own_class():
    x = torch.arange(12.0).view(1, 3, 2, 2)
    assert class_channels(x, torch.tensor([[2, 0]])).tolist() == [[[8.0, 1.0], [10.0, 3.0]]]
    assert torch.equal(class_channels(x, torch.tensor([1])), x[:, 1])
