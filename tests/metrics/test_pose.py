"""Pose errors against loops written out here, scipy's rotations, and cases known by hand."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from deeprob.errors import InputError
from deeprob.metrics import pose

K = np.array([[500.0, 0, 32], [0, 500, 24], [0, 0, 1]])


def random_pose(rng: np.random.Generator, depth: float = 1.0) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = Rotation.random(random_state=rng).as_matrix()
    T[:3, 3] = [*rng.uniform(-0.1, 0.1, 2), depth]
    return T


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def points(rng) -> np.ndarray:
    return rng.uniform(-0.05, 0.05, (60, 3))


def moved(T: np.ndarray, points: np.ndarray) -> np.ndarray:
    return np.array([T[:3, :3] @ p + T[:3, 3] for p in points])


def test_add_and_add_s_equal_their_definitions(rng, points):
    a, b = random_pose(rng), random_pose(rng)
    here, there = moved(a, points), moved(b, points)
    pairs = np.array([[np.linalg.norm(p - q) for q in here] for p in there])
    assert pose.add(a, b, points) == pytest.approx(np.diag(pairs).mean(), abs=1e-12)
    assert pose.add_s(a, b, points) == pytest.approx(pairs.min(axis=1).mean(), abs=1e-12)


def test_rotation_error_equals_scipys_magnitude(rng):
    for _ in range(20):
        a, b = random_pose(rng), random_pose(rng)
        expected = (Rotation.from_matrix(a[:3, :3]).inv() * Rotation.from_matrix(b[:3, :3])).magnitude()
        assert pose.rotation_error(a, b) == pytest.approx(expected, abs=1e-12)


def test_tiny_rotations_are_told_apart():
    T = np.eye(4)
    T[:3, :3] = Rotation.from_rotvec([0, 0, 1e-9]).as_matrix()
    assert pose.rotation_error(T, np.eye(4)) == pytest.approx(1e-9, rel=1e-6)


def test_a_turn_by_a_symmetry_is_no_error(rng, points):
    symmetries = np.tile(np.eye(4), (4, 1, 1))
    for i in range(4):
        symmetries[i, :3, :3] = Rotation.from_euler("z", 90 * i, degrees=True).as_matrix()
    T = random_pose(rng)
    turned = T @ symmetries[1]
    assert pose.rotation_error(turned, T, symmetries) == pytest.approx(0, abs=1e-7)
    assert pose.mssd(turned, T, points, symmetries) == pytest.approx(0, abs=1e-12)
    assert pose.mspd(turned, T, points, K, symmetries) == pytest.approx(0, abs=1e-9)
    assert pose.rotation_error(turned, T) == pytest.approx(np.pi / 2)


def test_translation_error_is_the_distance_of_the_origins():
    T = np.eye(4)
    T[:3, 3] = [0.03, 0.04, 0]
    assert pose.translation_error(T, np.eye(4)) == pytest.approx(0.05)


def test_mssd_and_mspd_equal_their_definitions(rng, points):
    a, b = random_pose(rng), random_pose(rng)
    here, there = moved(a, points), moved(b, points)
    assert pose.mssd(a, b, points) == pytest.approx(max(np.linalg.norm(here - there, axis=1)), abs=1e-12)

    def pixels(p):
        return np.array([[500 * x / z + 32, 500 * y / z + 24] for x, y, z in p])

    expected = max(np.linalg.norm(pixels(here) - pixels(there), axis=1))
    assert pose.mspd(a, b, points, K) == pytest.approx(expected, abs=1e-9)


def test_a_pose_behind_the_camera_is_infinitely_wrong_in_the_image(rng, points):
    assert pose.mspd(random_pose(rng, -1.0), random_pose(rng), points, K) == np.inf


def test_vsd_of_the_true_pose_is_zero():
    depth = np.zeros((48, 64))
    depth[10:20, 10:20] = 1.0
    assert pose.vsd(depth, depth, depth, K, diameter=0.1).tolist() == [0.0] * 10


def test_vsd_counts_what_is_in_one_silhouette_only():
    true, estimated = np.zeros((48, 64)), np.zeros((48, 64))
    true[10:20, 10:20] = estimated[10:20, 15:25] = 1.0
    seen = np.full((48, 64), 2.0)
    np.testing.assert_allclose(pose.vsd(estimated, true, seen, K, diameter=0.1), 100 / 150)


def test_vsd_does_not_blame_for_what_is_hidden():
    true, estimated = np.zeros((48, 64)), np.zeros((48, 64))
    true[10:20, 10:20] = estimated[10:20, 10:20] = 1.0
    estimated[10:20, 20:30] = 1.0  # wrong, but behind something nearer
    seen = np.where(estimated > 0, 1.0, 2.0)
    seen[10:20, 20:30] = 0.5
    np.testing.assert_allclose(pose.vsd(estimated, true, seen, K, diameter=0.1), 0)


def test_vsd_depth_tolerance_grows_with_tau():
    true, estimated = np.zeros((48, 64)), np.zeros((48, 64))
    true[23:26, 31:34], estimated[23:26, 31:34] = 1.0, 1.012
    found = pose.vsd(estimated, true, true, K, diameter=0.1, taus=(0.05, 0.1, 0.15, 0.2))
    assert found.tolist() == [1, 1, 0, 0]


def test_vsd_with_nothing_to_see_is_one():
    empty = np.zeros((4, 4))
    assert pose.vsd(empty, empty, empty, K, 0.1).tolist() == [1.0] * 10


def test_area_under_recall_equals_a_fine_integral(rng):
    errors = rng.exponential(0.05, 200)
    thresholds = np.linspace(0, 0.1, 200001)
    integral = np.mean([(errors < t).mean() for t in thresholds[::20]])
    assert pose.area_under_recall(errors) == pytest.approx(integral, abs=1e-3)
    assert pose.area_under_recall(np.array([0.0, 0.05, 0.2])) == pytest.approx((1 + 0.5 + 0) / 3)


def test_average_recall_follows_the_challenge():
    # errors of 7 % and 31 % of the diameter are below 9 and 4 of the ten thresholds, 60 % below none
    errors, diameters = np.array([0.007, 0.062, 0.06]), np.array([0.1, 0.2, 0.1])
    assert pose.average_recall(errors, diameters) == pytest.approx((9 + 4 + 0) / 30)


def test_average_recall_of_vsd_is_over_tolerances_and_thresholds():
    errors = np.array([[0.0, 0.3], [0.2, 1.0]])
    shares = [10, 4, 6, 0]  # how many of the thresholds 0.05 ... 0.5 lie above each error
    assert pose.average_recall_vsd(errors) == pytest.approx(sum(shares) / 40)


def test_diameter_is_the_largest_distance(points):
    expected = max(np.linalg.norm(p - q) for p in points for q in points)
    assert pose.diameter(points) == pytest.approx(expected, abs=1e-12)


def test_no_errors_leave_the_area_undefined():
    assert np.isnan(pose.area_under_recall(np.zeros(0)))


@pytest.mark.parametrize("wrong", [np.nan, -0.1])
def test_an_error_that_cannot_be_is_refused(wrong):
    with pytest.raises(InputError, match="NaN or negative"):
        pose.area_under_recall(np.array([0.1, wrong]))
