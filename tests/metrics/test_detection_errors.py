"""One error of each kind by hand, and what it costs."""

import numpy as np
import pytest

from deeprob.metrics.detection import Detection
from deeprob.metrics.detection_errors import KINDS, costs, kinds_of, missed

CUP, BALL = 0, 1
SQUARE = [0.0, 0, 100, 100]
HALF = [0.0, 0, 100, 30]  # an IoU of 0.3 with the square
AWAY = [500.0, 500, 600, 600]


def matches(found, objects, crowd=None):
    """found: (box, class, score) each; objects: (box, class) each; all in one image."""
    stream = Detection(("cup", "ball"))
    boxes = np.array([b for b, _, _ in found], float).reshape(-1, 4)
    stream.update(
        boxes, np.array([s for _, _, s in found], float), np.array([c for _, c, _ in found], int),
        np.array([b for b, _ in objects], float), np.array([c for _, c in objects]), crowd=crowd,
    )  # fmt: skip
    return stream.matches()


def cost(found, objects):
    """AP50 as it is, and the gain of each kind."""
    now, gained = costs(matches(found, objects), 2, np.ones((1, 1)))
    return now[0], dict(zip(KINDS, gained[0].tolist(), strict=True))


@pytest.mark.parametrize(
    ("box", "class_id", "kind"),
    [
        (HALF, CUP, "localisation"),
        (SQUARE, BALL, "classification"),
        (HALF, BALL, "both"),
        (AWAY, CUP, "background"),
        (SQUARE, CUP, "duplicate"),
    ],
)
def test_a_wrong_detection_is_named_by_what_it_overlaps(box, class_id, kind):
    """Beside a surer one that finds the object."""
    found = matches([(SQUARE, CUP, 0.9), (box, class_id, 0.5)], [(SQUARE, CUP)])
    assert [KINDS[k] for k in kinds_of(found)[1:]] == [kind]
    assert kinds_of(found)[0] == -1


def test_a_detection_in_a_crowd_is_no_error():
    crowd = np.array([False, True])
    found = matches([(AWAY, CUP, 0.5)], [(SQUARE, CUP), (AWAY, CUP)], crowd)
    assert len(kinds_of(found)) == 0
    assert found.object_scores.tolist() == [-np.inf]


@pytest.mark.parametrize(
    ("detection", "expected"), [((AWAY, CUP), True), ((HALF, CUP), False), ((SQUARE, BALL), False)]
)
def test_an_object_that_an_error_means_is_not_missed(detection, expected):
    found = matches([(*detection, 0.5)], [(SQUARE, CUP)])
    assert missed(found, kinds_of(found)).tolist() == [expected]


@pytest.mark.parametrize(
    ("box", "class_id", "kind"), [(HALF, CUP, "localisation"), (SQUARE, BALL, "classification")]
)
def test_a_place_or_a_class_put_right_finds_the_object(box, class_id, kind):
    now, gained = cost([(box, class_id, 0.5)], [(SQUARE, CUP)])
    assert now == 0
    assert gained[kind] == pytest.approx(1)
    assert sum(gained.values()) == pytest.approx(1)


def test_of_several_that_mean_one_object_the_surest_is_put_right():
    """Two of two then are right; the third of the class, put right too, would lie between them."""
    objects = [(SQUARE, CUP), (AWAY, CUP)]
    _, gained = cost([(HALF, CUP, 0.9), (HALF, CUP, 0.8), (AWAY, CUP, 0.7)], objects)
    # before, one object found at rank 3: precision 1/3 up to a recall of one half
    assert gained["localisation"] == pytest.approx(1 - 51 / 101 / 3)


def test_what_is_wrong_about_an_object_that_is_found_goes_when_put_right():
    found = [(HALF, CUP, 0.9), (SQUARE, CUP, 0.8)]
    now, gained = cost(found, [(SQUARE, CUP)])
    assert now == pytest.approx(0.5)
    assert gained["localisation"] == pytest.approx(0.5)


@pytest.mark.parametrize(("second", "kind"), [((SQUARE, CUP), "duplicate"), ((AWAY, CUP), "background")])
def test_a_false_detection_taken_away_no_longer_lowers_precision(second, kind):
    other = [1000.0, 0, 1100, 100]
    found = [(SQUARE, CUP, 0.9), (*second, 0.8), (other, CUP, 0.7)]
    now, gained = cost(found, [(SQUARE, CUP), (other, CUP)])
    assert now == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert gained[kind] == pytest.approx(1 - now)


def test_a_missed_object_not_asked_for_leaves_those_that_are_found():
    now, gained = cost([(SQUARE, CUP, 0.9)], [(SQUARE, CUP), (AWAY, CUP)])
    assert now == pytest.approx(51 / 101)
    assert gained["missed"] == pytest.approx(50 / 101)


def test_ap50_is_pycocotools_and_a_weight_of_zero_leaves_an_image_out():
    rng = np.random.default_rng(0)
    stream, first = Detection(("cup", "ball")), Detection(("cup", "ball"))
    for image in range(2):
        corner = rng.uniform(0, 300, (8, 2))
        true, ids = np.concatenate([corner, corner + 40], 1), rng.integers(2, size=8)
        near = np.concatenate([true + rng.normal(0, 4, (8, 1)), true[::-1] + 20])
        given = near, rng.random(16), rng.integers(2, size=16), true, ids
        for each in (stream, first)[: 2 - image]:
            each.update(*given)
    now, gained = costs(stream.matches(), 2, np.array([[1.0, 1], [1, 0]]))
    np.testing.assert_allclose(now, [stream.compute()["ap50"], first.compute()["ap50"]], atol=1e-9)
    assert (gained >= 0).all()
