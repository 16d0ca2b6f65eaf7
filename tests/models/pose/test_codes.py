"""Poses in terms of a crop, and back."""

import torch

from deeprob.models.pose import codes

K = torch.tensor([[[500.0, 0, -40], [0, 520, 90], [0, 0, 1]]]).repeat(3, 1, 1)
T = torch.tensor([[0.1, -0.05, 0.7], [0.0, 0.0, 0.4], [-0.2, 0.1, 1.5]])
DIAMETER = torch.tensor([0.1, 0.2, 0.3])


def test_codes_decode_to_what_they_were_made_of():
    found = codes.decode(codes.encode(T, K, 128, DIAMETER), K, 128, DIAMETER)
    torch.testing.assert_close(found, T, atol=1e-6, rtol=1e-5)


def test_a_camera_of_twice_the_focal_length_sees_the_same_code_at_twice_the_distance():
    far, twice = T * torch.tensor([1.0, 1, 2]), K.clone()
    twice[:, 0, 0], twice[:, 1, 1] = 2 * K[:, 0, 0], 2 * K[:, 1, 1]
    before = codes.encode(T, K, 128, DIAMETER)
    torch.testing.assert_close(codes.encode(far, twice, 128, DIAMETER), before)


def test_the_middle_of_a_crop_is_zero():
    at = codes.back_projected(torch.full((3, 2), 63.5), T[:, 2], K)
    assert codes.encode(at, K, 128, DIAMETER)[:, :2].abs().max() < 1e-6
    assert codes.cell_pixels(2, 8).tolist() == [1.5, 5.5]
