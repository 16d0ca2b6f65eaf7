"""BOP's matching against its rule written out as a loop, and cases known by hand."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from deeprob.metrics import pose, pose_matching
from deeprob.metrics.pose_matching import METRICS, PARTS, Errors, ObjectShape, assigned, matched


def loop(errors: np.ndarray, threshold: float) -> int:
    """The rule of bop_toolkit's match_poses for one threshold."""
    taken: set[int] = set()
    for of_estimate in errors:
        best, best_error = -1, threshold
        for instance, error in enumerate(of_estimate):
            if instance not in taken and error < best_error:
                best, best_error = instance, error
        if best >= 0:
            taken.add(best)
    return len(taken)


def test_matching_equals_the_challenges_rule():
    rng = np.random.default_rng(0)
    thresholds = np.linspace(0.05, 0.5, 10)
    for _ in range(200):
        errors = rng.uniform(0, 0.8, rng.integers(1, 5, 2))
        assert matched(errors, thresholds).tolist() == [loop(errors, t) for t in thresholds]


def test_the_surest_estimate_chooses_first():
    errors = np.array([[0.1, 0.2], [0.0, 0.9]])
    assert assigned(errors).tolist() == [0, 1]
    assert matched(errors, np.array([0.5])).tolist() == [1]  # the second finds its instance taken


def test_an_infinite_error_is_never_assigned():
    assert assigned(np.array([[np.inf, np.inf]])).tolist() == [-1, -1]


@pytest.fixture
def shape() -> ObjectShape:
    points = np.array([[x, y, z] for x in (-0.05, 0.05) for y in (-0.05, 0.05) for z in (-0.05, 0.05)])
    return ObjectShape(points, pose.IDENTITY)


def at(x: float, degrees: float = 0) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = Rotation.from_euler("z", degrees, degrees=True).as_matrix()
    T[:3, 3] = x, 0, 1
    return T


def measured(estimates, truths, shape, vsd=None):
    mssd = np.array([[pose.mssd(e, t, shape.points) / shape.diameter for t in truths] for e in estimates])
    errors = Errors(mssd.reshape(len(estimates), len(truths)), np.zeros((len(estimates), len(truths))), vsd)
    rows, owner = pose_matching.instance_rows(estimates, truths, shape, errors)
    return dict(zip(METRICS, pose_matching.metrics_of_sums(rows.sum(axis=0)), strict=True)), owner


def test_a_known_shift_and_turn_come_out(shape):
    found, owner = measured([at(0.02), at(0.5, 10)], [at(0.5), at(0)], shape)
    assert owner.tolist() == [1, 0]
    assert found["translation_error_cm"] == pytest.approx((2 + 0) / 2)
    assert found["rotation_error_deg"] == pytest.approx((0 + 10) / 2)
    turn = 2 * np.sin(np.radians(5)) * np.hypot(0.05, 0.05)  # every corner moves by this chord
    assert found["add_auc"] == pytest.approx(1 - (0.02 + turn) / 2 / 0.1)
    assert found["recall_5deg_5cm"] == 0.5
    shares = [np.mean(error / shape.diameter < np.array(pose.BOP_SHARES)) for error in (0.02, turn)]
    assert found["average_recall_mssd"] == pytest.approx(np.mean(shares))


def test_a_missed_instance_counts_as_wrong_everywhere_but_in_the_mean_errors(shape):
    found, _ = measured([at(0)], [at(0), at(0.5)], shape)
    assert found["add_auc"] == found["detected"] == found["average_recall_mssd"] == 0.5
    assert found["rotation_error_deg"] == found["translation_error_cm"] == 0


def test_without_depth_there_is_no_vsd_and_no_average(shape):
    found, _ = measured([at(0)], [at(0)], shape)
    assert np.isnan(found["average_recall_vsd"])
    assert np.isnan(found["bop_average_recall"])
    with_depth, _ = measured([at(0)], [at(0)], shape, np.zeros((1, 1, 10)))
    assert with_depth["bop_average_recall"] == 1


def test_a_symmetric_object_is_judged_by_add_s(shape):
    quarter = np.stack([at(0, 90 * k) for k in range(4)])
    quarter[:, :3, 3] = 0
    symmetric = ObjectShape(shape.points, quarter)
    found, _ = measured([at(0, 90)], [at(0)], symmetric)
    assert found["add_or_add_s_auc"] == pytest.approx(1)
    assert found["add_auc"] == pytest.approx(0, abs=1e-12)  # the corners lie 10 cm off
    assert found["rotation_error_deg"] == pytest.approx(0, abs=1e-6)


def test_classes_are_summed_apart_and_together():
    rows = np.random.default_rng(0).random((2, len(PARTS)))
    sums = rows.reshape(-1)
    together, apart = pose_matching.metrics_of_sums(sums), pose_matching.class_metrics_of_sums(sums)
    np.testing.assert_allclose(together, pose_matching.metrics_of_sums(rows.sum(axis=0)))
    np.testing.assert_allclose(apart[len(METRICS) :], pose_matching.metrics_of_sums(rows[1]))


def test_largest_distances_are_those_of_the_hull():
    points = np.random.default_rng(0).normal(size=(500, 3))
    shape = ObjectShape(points, pose.IDENTITY)
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = Rotation.from_rotvec([0.3, -0.2, 0.5]).as_matrix(), [0.1, 0, 0.2]
    assert len(shape.hull) < 200
    assert pose.mssd(T, np.eye(4), shape.hull) == pytest.approx(pose.mssd(T, np.eye(4), points), abs=1e-12)


def test_medians_follow_from_counts_of_bins():
    edges = np.array([0.0, 1, 2, 4])
    counts = np.array([[1.0, 1, 0], [0, 0, 4], [1, 2, 1], [0, 0, 0]])
    found = pose_matching.median_of_bins(counts, edges)
    assert found[:3].tolist() == pytest.approx([1, 3, 1.5])
    assert np.isnan(found[3])


def test_a_median_is_that_of_the_instances_to_a_bin(shape):
    rng = np.random.default_rng(0)
    angles, shifts = rng.uniform(0, 40, 51), rng.uniform(0, 0.03, 51)
    rows = [
        pose_matching.instance_rows(
            [at(shift, angle)], [at(0)], shape, Errors(np.zeros((1, 1)), np.zeros((1, 1)), None)
        )[0]
        for angle, shift in zip(angles, shifts, strict=True)
    ]
    found = dict(zip(METRICS, pose_matching.metrics_of_sums(np.concatenate(rows).sum(0)), strict=True))
    assert found["median_rotation_error_deg"] == pytest.approx(np.median(angles), abs=2)
    assert found["median_translation_error_cm"] == pytest.approx(100 * np.median(shifts), abs=0.1)
    assert found["rotation_error_deg"] == pytest.approx(angles.mean())


def test_sums_of_an_earlier_version_have_no_median():
    earlier = np.arange(2 * 2 * len(pose_matching.SUMMED), dtype=np.float64).reshape(2, -1)
    sums = pose_matching.with_bins(earlier)
    assert sums.shape == (2, 2 * len(PARTS))
    found = dict(zip(METRICS, pose_matching.metrics_of_sums(sums.sum(0)), strict=True))
    assert np.isnan(found["median_rotation_error_deg"])
    total = earlier.sum(0).reshape(2, -1).sum(0)
    column = pose_matching.SUMMED.index
    assert found["rotation_error_deg"] == pytest.approx(
        total[column("rotation_deg")] / total[column("found")]
    )
