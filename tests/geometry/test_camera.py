import cv2
import numpy as np
import pytest

from deeprob.errors import InputError
from deeprob.geometry.camera import (
    intrinsics_from_fov,
    invert_intrinsics,
    look_at,
    make_intrinsics,
    project_points,
)
from deeprob.geometry.transform import invert_transform, transform_points


def test_projection_agrees_with_opencv():
    K = make_intrinsics(300, 310, 100.5, 80.2)
    points = np.random.default_rng(0).normal(size=(6, 3)) + np.array([0, 0, 5])
    expected, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), K, None)
    np.testing.assert_allclose(project_points(K, points), expected[:, 0], atol=1e-9)


def test_the_field_of_view_spans_the_outer_edges_of_the_pixels():
    K = intrinsics_from_fov(640, 480, 60.0)
    edge = [[np.tan(np.radians(30)), 0.0, 1.0]]
    np.testing.assert_allclose(project_points(K, edge), [[639.5, 239.5]], atol=1e-9)


def test_the_inverse_of_the_intrinsics():
    K = make_intrinsics(300, 310, 100.5, 80.2)
    np.testing.assert_allclose(invert_intrinsics(K) @ K, np.eye(3), atol=1e-12)


@pytest.mark.parametrize("bad", [(0, 300, 1, 1), (300, -1, 1, 1), (300, 300, np.nan, 1)])
def test_bad_intrinsics_are_one_line(bad):
    with pytest.raises(InputError, match=r"camera\.K: bad intrinsics"):
        make_intrinsics(*bad)


@pytest.mark.parametrize("eye", [[0.5, 0.3, 0.4], [0.0, 0.0, 1.0]])
def test_the_target_is_seen_in_the_middle_from_its_distance(eye):
    target = np.array([0.0, 0.0, 0.05])
    T = look_at(eye, target, roll=0.3)
    np.testing.assert_allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(T[:3, :3]) == pytest.approx(1)
    seen = transform_points(invert_transform(T), [target])
    np.testing.assert_allclose(seen, [[0, 0, np.linalg.norm(target - eye)]], atol=1e-12)


def test_without_roll_up_is_up_in_the_picture():
    T = look_at([0.6, 0.0, 0.3], [0, 0, 0])
    low, high = transform_points(invert_transform(T), [[0, 0, 0], [0, 0, 0.1]])
    assert high[1] < low[1]
    assert high[0] == pytest.approx(0)
