"""A surface laid on readings of it."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from deeprob.geometry.mesh import load_mesh
from deeprob.models.pose.icp import Surface, refined
from deeprob.sim.symmetry import surface_points
from deeprob.tasks.pose.objects import spread_out


@pytest.fixture
def box(tmp_path):
    import trimesh

    trimesh.creation.box((0.1, 0.06, 0.04)).export(tmp_path / "box.ply")
    return load_mesh(tmp_path / "box.ply")


def test_a_pose_that_is_off_by_degrees_and_millimetres_is_laid_right(box):
    surface = Surface(spread_out(surface_points(box, 4000, 0), 512), 0.123)
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = Rotation.from_rotvec([0.6, 0.5, 0.1]).as_matrix(), [0.03, 0, 0.6]
    points = surface_points(box, 400, 1)
    seen = points[points.argmax(1) >= 0] @ T[:3, :3].T + T[:3, 3]
    seen = seen[seen[:, 2] < np.median(seen[:, 2])]  # the near sides alone
    off = T.copy()
    off[:3, :3] = T[:3, :3] @ Rotation.from_rotvec([0.08, -0.06, 0.05]).as_matrix()
    off[:3, 3] += [0.004, -0.005, 0.006]
    found = refined(off, seen, surface)
    turn = Rotation.from_matrix(found[:3, :3].T @ T[:3, :3]).magnitude()
    assert np.degrees(turn) < 1
    assert np.linalg.norm(found[:3, 3] - T[:3, 3]) < 0.0015


def test_readings_that_fit_already_leave_the_pose(box):
    surface = Surface(spread_out(surface_points(box, 4000, 0), 512), 0.123)
    T = np.eye(4)
    T[2, 3] = 0.5
    found = refined(T, surface.points + T[:3, 3], surface)
    np.testing.assert_allclose(found, T, atol=1e-3)
