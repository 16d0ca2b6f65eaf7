import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from deeprob.data.batches.materialise import materialise
from deeprob.data.readers.props import CLASSES, PropsClassificationSource, PropsDetectionSource
from deeprob.data.readers.props_pose import OBJECT_IDS, PropsPoseSource
from deeprob.errors import InputError
from deeprob.tasks.classification.view import ClassificationView


@pytest.fixture
def crops(readers, tmp_path: Path) -> Path:
    readers["props_classification"].build(tmp_path / "crops")
    return tmp_path / "crops"


@pytest.fixture
def poses(readers, tmp_path: Path) -> Path:
    readers["props_pose"].build(tmp_path / "poses")
    return tmp_path / "poses"


def test_crops_are_split_by_held_out_instance(crops: Path) -> None:
    source = PropsClassificationSource(crops)
    assert [f.key for f in source.frames("test")] == [f"mug_2.pkl {i}" for i in range(3)]
    frame = source.frames("train")[4]
    assert frame.group == "sugar_box_1"
    assert frame.instances[0].class_id == CLASSES.index("sugar_box") == 2
    expected = np.random.default_rng(2).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)[1]
    np.testing.assert_array_equal(frame.image, expected)


def test_crops_pass_the_view_unchanged_and_count_as_one_unit_an_instance(crops: Path) -> None:
    source = PropsClassificationSource(crops)
    split = materialise(source, "train", ClassificationView(size=32), progress=False)
    assert split.images.shape == (6, 32, 32, 3)
    np.testing.assert_array_equal(split.images[4], source.frames("train")[4].image)
    assert split.units.tolist() == [0, 0, 0, 1, 1, 1]


def test_pickles_of_python_2_are_read(crops: Path) -> None:
    # As protocol 2 of Python 2 writes it: the bytes of an array are a str.
    text = (
        b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04"
        b"K\x00\x85U\x01b\x87Rq\x05(K\x01(K\x01K K K\x03tcnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87R"
        b"q\x07(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T"
    )
    text += (3072).to_bytes(4, "little") + bytes([200]) * 3072 + b"tbU\x06labelsq\x08]q\tK\x08au."
    (crops / "mug_1.pkl").write_bytes(text)
    frame = PropsClassificationSource(crops).frames("train")[0]
    assert (frame.image == 200).all()
    assert frame.instances[0].class_id == 8


def test_every_file_is_held_to_its_md5(crops: Path) -> None:
    rows = [f"{p.name}\t{hashlib.md5(p.read_bytes()).hexdigest()}" for p in sorted(crops.glob("*.pkl"))]
    (crops / "md5.tsv").write_text("file\tmd5\n" + "\n".join(rows))
    assert len(PropsClassificationSource(crops, md5_file="md5.tsv").frames("train")) == 6
    content = bytearray((crops / "mug_1.pkl").read_bytes())
    content[-40] ^= 1
    (crops / "mug_1.pkl").write_bytes(content)
    with pytest.raises(InputError, match=r"mug_1\.pkl: MD5 .* expected .* fetch the file again"):
        PropsClassificationSource(crops, md5_file="md5.tsv").frames("train")


@pytest.mark.data
def test_published_md5_table_is_read(crops: Path, data_dir: Path) -> None:
    table = data_dir / "props/classification_md5.tsv"
    with pytest.raises(InputError, match=r"meta\.pkl: MD5"):
        PropsClassificationSource(crops, md5_file=str(table))


def test_detection_frame_holds_named_boxes(readers, tmp_path: Path) -> None:
    readers["props_detection"].build(tmp_path / "set")
    frame = PropsDetectionSource(tmp_path / "set").frames("val")[1]
    assert frame.key == "PROPS-Detection/val_1.png"
    assert [CLASSES[i.class_id] for i in frame.instances] == ["mug", "sugar_box"]
    np.testing.assert_array_equal(frame.instances[0].box_xyxy, [9.5, 4.5, 21.5, 19.5])


def test_detection_that_is_not_unpacked_says_so(readers, tmp_path: Path) -> None:
    (tmp_path / "PROPS-Detection.tar.gz").write_bytes(b"x")
    with pytest.raises(InputError, match="not unpacked; run: deeprob fetch props_detection"):
        PropsDetectionSource(tmp_path)


def test_stored_transforms_are_inverted(poses: Path) -> None:
    frame = PropsPoseSource(poses).frames("train")[0]
    mug = frame.instances[0]
    assert (CLASSES[mug.class_id], OBJECT_IDS[mug.class_id]) == ("mug", 14)
    np.testing.assert_allclose(mug.T_cam_obj[:3, 3], [0.1, -0.05, 0.8], atol=1e-12)
    np.testing.assert_allclose(frame.depth_m, 0.9)
    assert mug.mask.sum() == 180


@pytest.mark.parametrize(
    ("options", "fix"),
    [({"depth_scale": 1e-3}, "depth_scale=0.0001"), ({"depth_scale": 4e-5}, "depth_scale=0.0001")],
)
def test_mistaken_unit_is_noticed_and_the_likely_one_named(poses: Path, options: dict, fix: str) -> None:
    with pytest.raises(InputError, match=rf"train: depth .* but pose at .*{fix}"):
        PropsPoseSource(poses, **options).frames("train")
    assert len(PropsPoseSource(poses, check=False, **options).frames("train")) == 3


def test_object_without_visible_box_is_left_out(poses: Path) -> None:
    path = poses / "train/train_gt_info.json"
    info = json.loads(path.read_text())
    info["0"][0]["bbox_visib"] = []
    path.write_text(json.dumps(info))
    frames = PropsPoseSource(poses).frames("train")
    assert [CLASSES[i.class_id] for i in frames[0].instances] == ["sugar_box"]
    assert len(frames[1].instances) == 2


def test_intrinsics_follow_the_size_of_the_frame(poses: Path, draw) -> None:
    # The fixture's frames are 40 x 30, a sixteenth: the picture's middle stays where it was.
    K = PropsPoseSource(poses).frames("train")[0].K
    np.testing.assert_allclose(K[0], [902.19 / 16, 0, (342.35 + 0.5) / 16 - 0.5])
    np.testing.assert_allclose(K[1], [0, 902.39 / 16, (252.23 + 0.5) / 16 - 0.5])
    np.testing.assert_array_equal(K[2], [0, 0, 1])
    draw(poses / "train/rgb/000001.png", width=30)
    with pytest.raises(InputError, match=r"000001\.png: image of 40 x 30|image of 30 x 30"):
        PropsPoseSource(poses).frames("train")[1]


def test_a_rendered_set_is_known_as_simulated(poses: Path) -> None:
    assert PropsPoseSource(poses).real
    (poses / "render.json").write_text("{}")
    assert not PropsPoseSource(poses).real
