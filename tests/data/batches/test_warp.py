import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeprob.data.batches.warp import fit_matrix, random_matrix, split_camera, transform_box, warp_frame
from deeprob.data.frame import Frame, Instance
from deeprob.data.settings import Augmentation
from deeprob.errors import InputError
from deeprob.geometry.boxes import of_mask
from deeprob.geometry.camera import make_intrinsics, project_points
from deeprob.geometry.rotation import axis_angle_to_matrix
from deeprob.geometry.transform import make_transform, transform_points

K = make_intrinsics(90.0, 110.0, 41.0, 33.0)
STRONG = Augmentation(translate=0.1, zoom=0.3, aspect=0.2, rotate=0.6)
SHIFT = np.array([[1.0, 0, 5], [0, 1, 0], [0, 0, 1]])
TURN = axis_angle_to_matrix([1, 1, 0], 0.4)


def dot_frame(point: np.ndarray, pose: np.ndarray | None) -> Frame:
    """A picture of one bright dot, where the camera sees `point` of the object."""
    u, v = project_points(K, transform_points(make_transform(TURN, [0.02, 0.01, 0.6]), point[None]))[0]
    y, x = np.mgrid[:64, :80]
    spot = 255 * np.exp(-((x - u) ** 2 + (y - v) ** 2) / 8)
    image = np.repeat(spot[..., None], 3, -1).astype(np.uint8)
    box = np.array([u - 6, v - 6, u + 6, v + 6])
    mask = spot > 60
    depth = np.where(mask, 0.6, 0).astype(np.float32)
    return Frame(image, (Instance(0, box, mask=mask, T_cam_obj=pose),), "test", "f", "g", K, depth)


def centroid(image: np.ndarray) -> np.ndarray:
    weights = image[..., 0].astype(float)
    y, x = np.mgrid[: weights.shape[0], : weights.shape[1]]
    return np.array([(weights * x).sum(), (weights * y).sum()]) / weights.sum()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_projected_pose_lands_where_the_image_did(seed: int) -> None:
    point = np.array([0.01, -0.01, 0.02])
    pose = make_transform(TURN, [0.02, 0.01, 0.6])
    matrix = random_matrix(STRONG, 80, 64, np.random.default_rng(seed))
    warped = warp_frame(dot_frame(point, pose), matrix, 80, 64)
    (instance,) = warped.instances
    (landed,) = project_points(warped.K, transform_points(instance.T_cam_obj, point[None]))
    np.testing.assert_allclose(landed, centroid(warped.image), atol=0.3)
    np.testing.assert_allclose(of_mask(instance.mask), instance.box_xyxy)
    assert instance.box_xyxy[0] <= landed[0] <= instance.box_xyxy[2]
    assert set(np.unique(warped.depth_m[instance.mask])) == {np.float32(0.6)}


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_camera_and_turn_keep_their_forms(seed: int) -> None:
    matrix = random_matrix(STRONG, 80, 64, np.random.default_rng(seed))
    camera, turn = split_camera(matrix @ K)
    np.testing.assert_allclose(camera @ turn, matrix @ K, atol=1e-9)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert (camera[0, 0] > 0, camera[1, 1] > 0, camera[1, 0]) == (True, True, 0)


def test_fitting_scales_evenly_and_centres() -> None:
    matrix = fit_matrix(200, 100, 50, 50)
    np.testing.assert_allclose(
        transform_box(np.array([-0.5, -0.5, 199.5, 99.5]), matrix), [-0.5, 12, 49.5, 37]
    )


def test_identity_changes_nothing() -> None:
    frame = dot_frame(np.zeros(3), make_transform(TURN, [0, 0, 1]))
    same = warp_frame(frame, np.eye(3), 80, 64)
    np.testing.assert_array_equal(same.image, frame.image)
    np.testing.assert_array_equal(same.K, K)
    np.testing.assert_array_equal(same.instances[0].mask, frame.instances[0].mask)


def test_object_that_leaves_the_image_is_left_out() -> None:
    frame = dot_frame(np.zeros(3), None)
    away = np.array([[1, 0, 500.0], [0, 1, 0], [0, 0, 1]])
    assert warp_frame(frame, away, 80, 64).instances == ()


def test_poses_are_not_mirrored_but_boxes_are() -> None:
    mirror = np.array([[-1, 0, 79.0], [0, 1, 0], [0, 0, 1]])
    with pytest.raises(InputError, match="cannot be mirrored"):
        warp_frame(dot_frame(np.zeros(3), np.eye(4)), mirror, 80, 64)
    frame = dot_frame(np.zeros(3), None)
    flipped = warp_frame(frame, mirror, 80, 64)
    np.testing.assert_array_equal(flipped.image, frame.image[:, ::-1])
    np.testing.assert_array_equal(flipped.instances[0].mask, frame.instances[0].mask[:, ::-1])


def test_shrinking_does_not_alias() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    small = warp_frame(Frame(stripes, (), "t", "f", "g"), fit_matrix(64, 64, 16, 16), 16, 16).image
    assert small[2:-2, 2:-2].std() < 6


def test_an_amodal_box_stays_around_the_whole_silhouette() -> None:
    whole, seen = np.zeros((2, 64, 80), bool)
    whole[10:30, 20:60] = seen[10:30, 20:35] = True
    image = np.zeros((64, 80, 3), np.uint8)
    instances = [Instance(0, of_mask(around), mask=seen, amodal_mask=whole) for around in (seen, whole)]
    shifted = warp_frame(Frame(image, tuple(instances), "t", "f", "g"), SHIFT, 80, 64)
    visible, amodal = (i.box_xyxy.tolist() for i in shifted.instances)
    assert visible == [24.5, 9.5, 39.5, 29.5]
    assert amodal == [24.5, 9.5, 64.5, 29.5]


def test_crowds_move_along() -> None:
    box = np.array([9.5, 9.5, 29.5, 29.5])
    image = np.zeros((64, 80, 3), np.uint8)
    frame = Frame(image, (), "t", "f", "g", crowds=(Instance(0, box),))
    (moved,) = warp_frame(frame, SHIFT, 80, 64).crowds
    assert moved.box_xyxy.tolist() == [14.5, 9.5, 34.5, 29.5]


def test_an_annotations_area_grows_with_the_image_and_loses_what_is_cut_off() -> None:
    image = np.zeros((20, 20, 3), np.uint8)
    instance = Instance(0, np.array([-0.5, -0.5, 9.5, 9.5]), area=60.0)
    frame = Frame(image, (instance,), "test", "f", "g")
    assert warp_frame(frame, fit_matrix(20, 20, 40, 40), 40, 40).instances[0].area == pytest.approx(240)
    left_by_half = np.array([[1.0, 0, -5], [0, 1, 0], [0, 0, 1]])
    assert warp_frame(frame, left_by_half, 20, 20).instances[0].area == pytest.approx(30)
