import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from deeprob.data.readers.bop import BopSource
from deeprob.errors import InputError
from deeprob.geometry.camera import project_points

SPLITS = {"train": ["train_pbr/*"]}


@pytest.fixture
def root(readers, tmp_path: Path) -> Path:
    readers["bop"].build(tmp_path / "ycb")
    return tmp_path / "ycb"


def test_frame_holds_every_label_in_metres(root: Path) -> None:
    source = BopSource(root, SPLITS, class_names={5: "mug"})
    assert source.classes == ("obj_000001", "mug")
    frame = source.frames("train")[2]
    assert (frame.key, frame.group) == ("train_pbr/000001/000000", "train_pbr/000001")
    np.testing.assert_array_equal(frame.K, [[50, 0, 19.5], [0, 50, 14.5], [0, 0, 1]])
    np.testing.assert_allclose(frame.depth_m, 0.8)
    assert frame.depth_m.dtype == np.float32
    front, behind = frame.instances
    assert (front.class_id, behind.class_id) == (1, 0)
    np.testing.assert_allclose(front.T_cam_obj[:3, 3], [0.1, -0.05, 0.8])
    np.testing.assert_array_equal(front.box_xyxy, [9.5, 4.5, 21.5, 19.5])
    assert front.mask.sum() == front.amodal_mask.sum() == 15 * 12
    assert behind.mask.sum() < behind.amodal_mask.sum() == 17 * 12
    assert behind.visible_fraction == pytest.approx(behind.mask.sum() / behind.amodal_mask.sum())


def test_one_name_for_two_objects_is_refused(root: Path) -> None:
    with pytest.raises(InputError, match="class_names gives 'mug' to two objects"):
        BopSource(root, SPLITS, class_names={1: "mug", 5: "mug"})


def test_projected_origin_lies_where_the_pose_says(root: Path) -> None:
    frame = BopSource(root, SPLITS).frames("train")[0]
    pose = frame.instances[0].T_cam_obj
    np.testing.assert_allclose(project_points(frame.K, pose[None, :3, 3]), [[19.5 + 50 / 8, 14.5 - 50 / 16]])


def test_boxes_without_masks_come_from_the_info_file_and_agree(root: Path) -> None:
    with_masks = BopSource(root, SPLITS).frames("train")[0].instances[0].box_xyxy
    for scene in (root / "train_pbr").iterdir():
        for folder in ("mask", "mask_visib"):
            (scene / folder).rename(scene / f"no_{folder}")
    instance = BopSource(root, SPLITS).frames("train")[0].instances[0]
    assert instance.mask is None
    np.testing.assert_array_equal(instance.box_xyxy, with_masks)


@pytest.mark.parametrize("with_masks", [True, False])
def test_amodal_boxes_are_around_the_whole_silhouette(root: Path, with_masks: bool) -> None:
    info = json.loads((root / "train_pbr/000000/scene_gt_info.json").read_text())
    info["0"][1]["bbox_visib"] = [22, 8, 7, 16]
    info["0"][0]["bbox_obj"] = [-3, 5, 24, 14]  # hangs out of the picture to the left
    (root / "train_pbr/000000/scene_gt_info.json").write_text(json.dumps(info))
    if not with_masks:
        for folder in ("mask", "mask_visib"):
            (root / "train_pbr/000000" / folder).rename(root / "train_pbr/000000" / f"no_{folder}")
    front, behind = BopSource(root, SPLITS, boxes="amodal").frames("train")[0].instances
    np.testing.assert_array_equal(behind.box_xyxy, [17.5, 7.5, 29.5, 24.5])
    np.testing.assert_array_equal(front.box_xyxy, [9.5 if with_masks else -0.5, 4.5, 21.5, 19.5])


def test_boxes_of_another_kind_are_refused(root: Path) -> None:
    with pytest.raises(InputError, match=r"data\.source\.boxes is 'full'; expected visible or amodal"):
        BopSource(root, SPLITS, boxes="full")


def test_object_that_is_not_seen_is_left_out(root: Path, readers) -> None:
    path = root / "train_pbr/000000/scene_gt_info.json"
    info = json.loads(path.read_text())
    info["0"][0].update(visib_fract=0.0, bbox_visib=[-1, -1, -1, -1])
    path.write_text(json.dumps(info))
    for folder in ("mask", "mask_visib"):
        (root / "train_pbr/000000" / folder).rename(root / "train_pbr/000000" / f"no_{folder}")
    assert [i.class_id for i in BopSource(root, SPLITS).frames("train")[0].instances] == [0]


def test_grey_images_are_found_where_there_is_no_rgb(root: Path) -> None:
    (root / "train_pbr/000000/rgb").rename(root / "train_pbr/000000/gray")
    assert len(BopSource(root, SPLITS).frames("train")) == 4


def test_targets_file_chooses_the_images(root: Path) -> None:
    targets = root / "test_targets_bop19.json"
    targets.write_text(json.dumps([{"scene_id": 1, "im_id": 0, "obj_id": 5, "inst_count": 1}]))
    source = BopSource(root, SPLITS, targets={"train": targets.name})
    assert [frame.key for frame in source.frames("train")] == ["train_pbr/000001/000000"]
    assert [
        [source.class_numbers[i.class_id] for i in frame.instances] for frame in source.frames("train")
    ] == [[5]]
    targets.write_text(json.dumps([{"scene_id": 7, "im_id": 0}]))
    with pytest.raises(InputError, match="1 target images are missing, such as 000007/000000"):
        BopSource(root, SPLITS, targets={"train": targets.name})


def test_images_without_public_ground_truth_are_read(root: Path) -> None:
    for file in root.rglob("scene_gt*.json"):
        file.unlink()
    assert BopSource(root, SPLITS, labels=False).frames("train")[0].instances == ()


def test_model_is_read_in_metres(root: Path) -> None:
    (root / "models/obj_000005.ply").write_text(
        "ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\n"
        "element face 4\nproperty list uchar int vertex_indices\nend_header\n"
        "0 0 0\n100 0 0\n0 100 0\n0 0 100\n3 0 2 1\n3 0 1 3\n3 0 3 2\n3 1 2 3\n"
    )
    np.testing.assert_allclose(BopSource(root, SPLITS).mesh(1).extents, [0.1, 0.1, 0.1])


def test_depth_may_be_a_tiff(root: Path) -> None:
    for path in (root / "train_pbr/000000/depth").iterdir():
        cv2.imwrite(str(path.with_suffix(".tif")), np.full((30, 40), 9000, np.uint16))
        path.unlink()
    np.testing.assert_allclose(BopSource(root, SPLITS).frames("train")[0].depth_m, 0.9)
