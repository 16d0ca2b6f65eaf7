import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from deeprob.geometry.rotation import axis_angle_to_matrix, quaternion_to_matrix, random_quaternion


def test_quaternion_to_matrix_agrees_with_scipy():
    q = random_quaternion(np.random.default_rng(0))
    np.testing.assert_allclose(
        quaternion_to_matrix(q), Rotation.from_quat([*q[1:], q[0]]).as_matrix(), atol=1e-12
    )


def test_the_length_of_a_quaternion_does_not_matter():
    q = np.array([0.3, -0.1, 0.5, 0.2])
    np.testing.assert_allclose(quaternion_to_matrix(q), quaternion_to_matrix(10 * q), atol=1e-12)


@pytest.mark.parametrize("q", [[0, 0, 0, 0], [np.nan, 0, 0, 1]])
def test_a_quaternion_without_direction_is_refused(q):
    with pytest.raises(ValueError, match="other than zero"):
        quaternion_to_matrix(q)


def test_axis_angle_turns_counter_clockwise():
    np.testing.assert_allclose(axis_angle_to_matrix([0, 0, 2], np.pi / 2) @ [1, 0, 0], [0, 1, 0], atol=1e-12)


def test_random_quaternions_cover_the_rotations_evenly():
    rng = np.random.default_rng(1)
    q = np.stack([random_quaternion(rng) for _ in range(4000)])
    np.testing.assert_allclose(q.T @ q / len(q), np.eye(4) / 4, atol=0.02)
