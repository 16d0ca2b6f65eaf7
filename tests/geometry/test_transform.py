import numpy as np

from deeprob.geometry.rotation import axis_angle_to_matrix
from deeprob.geometry.transform import invert_transform, make_transform, transform_points

T = make_transform(axis_angle_to_matrix([1, 2, 3], 0.7), [0.1, -0.2, 0.3])


def test_what_is_left_out_is_the_identity():
    np.testing.assert_array_equal(make_transform(), np.eye(4))


def test_the_inverse_undoes_the_transform():
    np.testing.assert_allclose(invert_transform(T) @ T, np.eye(4), atol=1e-12)


def test_points_are_mapped_like_homogeneous_columns():
    points = np.random.default_rng(0).normal(size=(5, 3))
    expected = (T @ np.c_[points, np.ones(5)].T).T[:, :3]
    np.testing.assert_allclose(transform_points(T, points), expected, atol=1e-12)
