"""Pictures of predictions: a colour a class, and poses that can be told apart."""

import numpy as np

from deeprob.page.drawn import COLOURS, DrawnPose, colour_of, label_map, poses

GREY = np.full((480, 640, 3), 128, np.uint8)
K = np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]])


def at(x, z=1.0):
    """A pose without a turn."""
    T = np.eye(4)
    T[:3, 3] = x, 0, z
    return T


def count(picture, colour):
    return int((picture == np.array(colour)).all(-1).sum())


def test_twenty_classes_have_a_colour_each():
    assert len(np.unique(COLOURS, axis=0)) == len(COLOURS) >= 20


def test_two_label_maps_with_a_class_in_common_show_it_in_one_colour():
    labels = np.zeros((480, 640), np.int64)
    labels[200:300, 200:300] = 2
    more = labels.copy()
    more[:100, 500:] = 1
    one, two = (label_map(GREY, of, ["background", "a", "b"]) for of in (labels, more))
    assert (one[250, 250] == two[250, 250]).all()
    assert (one[250, 250] != GREY[0, 0]).any()


def test_a_pose_is_drawn_with_its_outline_and_its_axes():
    silhouette = np.zeros((480, 640), bool)
    silhouette[200:280, 280:360] = True
    plain = poses(GREY, K, [DrawnPose(at(0), 1, "", 0.05)])
    outlined = poses(GREY, K, [DrawnPose(at(0), 1, "", 0.05, silhouette)])
    assert count(plain, colour_of(1)) == 0
    assert count(outlined, colour_of(1)) > 300
    red = np.argwhere((plain[240] == (230, 60, 60)).all(-1))  # x runs to the right, 25 pixels long
    assert red.min() >= 319
    assert 340 <= red.max() <= 348


def test_the_texts_of_two_poses_at_one_place_do_not_hide_each_other():
    one, two = DrawnPose(at(0), 0, "mug 0.50", 0.05), DrawnPose(at(0), 1, "bowl 0.50", 0.05)
    grounds = [count(poses(GREY, K, [of]), colour_of(of.class_id)) for of in (one, two)]
    both = poses(GREY, K, [one, two])
    assert [count(both, colour_of(of.class_id)) for of in (one, two)] == grounds
    assert min(grounds) > 300


def test_what_is_behind_the_camera_is_not_drawn():
    assert (poses(GREY, K, [DrawnPose(at(0, -1.0), 0, "mug", 0.05)]) == GREY).all()
