"""Objects placed by what their cells say, and by what a depth image shows."""

import numpy as np
import pytest
import torch

from deeprob.models.pose import codes
from deeprob.models.pose.icp import Surface
from deeprob.models.pose.objects import Objects
from deeprob.models.pose.placing import on_depth, place
from deeprob.models.pose.regions import Region

CELL = 4
K = torch.tensor([[[100.0, 0, 47.5], [0, 110, 31.5], [0, 0, 1]]], dtype=torch.float64)
rows, columns = (plane.ravel() for plane in np.mgrid[4:12, 6:16])
REGION = Region(1, rows, columns)


def test_cells_that_are_right_place_an_object_exactly():
    t, diameter = torch.tensor([[0.03, -0.02, 0.6]], dtype=torch.float64), 0.1
    seen = (K @ t[..., None])[0, :, 0]
    at = (seen[:2] / seen[2]).numpy()
    v, u = np.mgrid[0:16, 0:24].astype(np.float64)
    to = np.stack([at[0] - (CELL * (u + 0.5) - 0.5), at[1] - (CELL * (v + 0.5) - 0.5)])
    code = codes.distance_code(t[:, 2], K, torch.tensor([diameter])).item()
    told = np.concatenate([to / np.linalg.norm(to, axis=0), np.full((1, 16, 24), code)])
    found, agree = place(told, REGION, K, diameter, CELL)
    assert found.tolist()[0] == pytest.approx(t.tolist()[0], abs=1e-5)
    assert agree == 1


def test_a_ball_is_moved_to_where_its_front_is_seen():
    ball = Objects.spheres(1)
    surface = Surface(ball.surface[0].double().numpy(), 0.1)
    depth = np.zeros((16, 24), np.float32)
    for row, column in zip(rows, columns, strict=True):  # where the ray meets a ball of 5 cm at 0.6 m
        ray = np.array([(CELL * (column + 0.5) - 48) / 100, (CELL * (row + 0.5) - 32) / 110, 1.0])
        b, a = ray @ [0, 0, 0.6], ray @ ray
        root = b * b - a * (0.36 - 0.0025)
        depth[row, column] = (b - np.sqrt(root)) / a if root > 0 else 0
    wrong = np.eye(4)
    wrong[2, 3] = 0.7
    moved = on_depth(wrong, REGION, depth, K, surface, CELL, icp=False)
    assert moved[2, 3] == pytest.approx(0.6, abs=0.02)
    refined = on_depth(wrong, REGION, depth, K, surface, CELL, icp=True)
    assert abs(refined[2, 3] - 0.6) < 0.01
    assert on_depth(wrong, REGION, 0 * depth, K, surface, CELL, icp=True) is wrong
