"""Motions at the places where a formula could divide by zero."""

import math

import pytest
import torch

from deeprob import layers

AXIS = torch.tensor([1.0, -2, 2], dtype=torch.float64) / 3


@pytest.mark.parametrize("angle", [0, 1e-9, 1e-4, 0.19, 0.21, 1.41, 1.42, 3.0, math.pi - 1e-7])
def test_log_undoes_exp(angle):
    xi = torch.cat([torch.tensor([0.3, -0.1, 2], dtype=torch.float64), angle * AXIS])
    assert torch.allclose(layers.so3_log(layers.so3_exp(xi[3:])), xi[3:], rtol=0, atol=1e-8)
    assert torch.allclose(layers.se3_log(layers.se3_exp(xi)), xi, rtol=0, atol=1e-7)


def test_half_a_turn_has_a_vector():
    R = torch.diag(torch.tensor([-1.0, 1, -1], dtype=torch.float64))
    assert torch.allclose(layers.so3_log(R).abs(), torch.tensor([0, math.pi, 0], dtype=torch.float64))


@pytest.mark.parametrize("angle", [0.0, 1.41421, 1.41422])
def test_the_series_meet_the_closed_forms(angle):
    """At |w|^2 = 2 one formula takes over from the other: values and gradients go on."""
    xi = torch.cat([torch.ones(3, dtype=torch.float64), angle * AXIS]).requires_grad_()
    assert torch.autograd.gradcheck(layers.se3_exp, xi)
    (dxi,) = torch.autograd.grad(layers.se3_exp(xi).square().sum(), xi)
    assert dxi.isfinite().all()


def test_the_nearest_rotation_has_a_gradient_at_a_rotation():
    """There all singular values are equal, and the gradient of a decomposition is not defined."""
    M = layers.so3_exp(AXIS).requires_grad_()
    assert torch.allclose(layers.rotation_9d_to_matrix(M), M, atol=1e-12)
    assert torch.autograd.gradcheck(layers.rotation_9d_to_matrix, M)


def test_the_nearest_rotation_is_no_mirror_image():
    R = layers.rotation_9d_to_matrix(torch.diag(torch.tensor([3.0, 2, -1])))
    assert torch.allclose(R, torch.eye(3), atol=1e-6)


def test_a_point_is_seen_where_the_camera_model_puts_it():
    K = torch.tensor([[600.0, 0, 320], [0, 500, 240], [0, 0, 1]])
    T = torch.eye(4)[None].clone()
    T[0, :3, 3] = torch.tensor([0.1, -0.2, 2])
    seen = layers.project(torch.tensor([[0.1, 0.0, 0.0]]), T, K)
    assert torch.allclose(seen, torch.tensor([[[380.0, 190, 2]]]))
