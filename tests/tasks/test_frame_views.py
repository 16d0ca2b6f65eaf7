from pathlib import Path

import numpy as np
import pytest

from deeprob.data.frame import Frame, Instance
from deeprob.data.readers.darknet import DarknetSource
from deeprob.errors import InputError
from deeprob.geometry.camera import project_points
from deeprob.tasks.detection.view import DetectionView
from deeprob.tasks.pose.view import PoseView
from deeprob.tasks.segmentation.view import SegmentationView


@pytest.fixture
def frame(readers, tmp_path: Path) -> Frame:
    readers["bop"].build(tmp_path / "set")
    return readers["bop"].open(tmp_path / "set").frames("train")[0]


def test_detection_scales_boxes_with_the_image(frame: Frame) -> None:
    sample = DetectionView(80, 80)(frame)
    assert sample.image.shape == (80, 80, 3)
    assert (sample.image[:9] == 0).all()
    np.testing.assert_allclose(sample.boxes[0], [19.5, 19.5, 43.5, 49.5], atol=0.6)
    assert sample.labels.tolist() == [1, 0]


def test_segmentation_labels_are_classes_from_one(frame: Frame) -> None:
    image, labels = SegmentationView(40, 30)(frame)
    np.testing.assert_array_equal(image, frame.image)
    np.testing.assert_array_equal(labels == 2, frame.instances[0].mask)
    np.testing.assert_array_equal(labels == 1, frame.instances[1].mask)


def test_segmentation_needs_masks(darknet_root: Path) -> None:
    frame = DarknetSource(darknet_root, {"train": ["2019*"]}).frames("train")[0]
    with pytest.raises(InputError, match="has no mask"):
        SegmentationView(40, 30)(frame)


def test_pose_crop_projects_its_object_to_the_same_place(frame: Frame) -> None:
    crops = PoseView(size=64, min_pixels=8)(frame)
    assert [c.label for c in crops] == [1, 0]
    for crop, instance in zip(crops, frame.instances, strict=True):
        centre = (instance.box_xyxy[:2] + instance.box_xyxy[2:]) / 2
        ray = np.linalg.inv(frame.K) @ [*centre, 1]
        np.testing.assert_allclose(project_points(crop.matrix @ crop.K, ray[None]), [[31.5, 31.5]])
        np.testing.assert_array_equal(crop.T_cam_obj, instance.T_cam_obj)


def test_pose_view_needs_a_camera_and_poses() -> None:
    image, instance = np.zeros((40, 40, 3), np.uint8), Instance(0, np.array([0, 0, 30, 30.0]))
    for K, said in ((None, "no camera matrix"), (np.eye(3), "no pose")):
        with pytest.raises(InputError, match=said):
            PoseView()(Frame(image, (instance,), "t", "f", "g", K))


@pytest.mark.data
def test_robocup_goes_through_the_detection_view(data_dir: Path) -> None:
    frames = DarknetSource(data_dir / "robocup_msl", {"val": ["20240716*"]}).frames("val")
    view = DetectionView(224, 224)
    for frame in frames:
        sample = view(frame)
        assert len(sample.boxes) == len(frame.instances)
        assert (sample.boxes >= -0.5).all()
        assert (sample.boxes <= 223.5).all()
