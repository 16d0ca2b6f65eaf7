import json
from pathlib import Path

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


def test_symmetries_combine_discrete_and_continuous_ones(root: Path) -> None:
    path = root / "models/models_info.json"
    info = json.loads(path.read_text())
    upside_down = [1, 0, 0, 0, 0, -1, 0, 0, 0, 0, -1, 20, 0, 0, 0, 1]
    info["5"]["symmetries_discrete"] = [upside_down]
    info["5"]["symmetries_continuous"] = [{"axis": [0, 0, 1], "offset": [10, 0, 0]}]
    path.write_text(json.dumps(info))
    source = BopSource(root, SPLITS)
    assert source.symmetries(0).tolist() == [np.eye(4).tolist()]
    found = source.symmetries(1, steps=12)
    assert found.shape == (24, 4, 4)
    np.testing.assert_array_equal(found[0], np.eye(4))
    # A point turns about the axis through x = 10 mm: its distance to it stays.
    points = found[:12] @ [0.03, 0, 0, 1]
    np.testing.assert_allclose(np.hypot(points[:, 0] - 0.01, points[:, 1]), 0.02)
    np.testing.assert_allclose(found[12] @ [0, 0, 0, 1], [0, 0, 0.02, 1], atol=1e-12)


def test_symmetry_that_is_no_rotation_is_refused(root: Path) -> None:
    path = root / "models/models_info.json"
    path.write_text(json.dumps({"1": {"symmetries_discrete": [[2.0] * 16]}, "5": {}}))
    with pytest.raises(InputError, match=r"object 1 symmetries_discrete: .* is no rotation"):
        BopSource(root, SPLITS).symmetries(0)
