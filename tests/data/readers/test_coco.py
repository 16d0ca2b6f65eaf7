from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco

from deeprob.data.readers.coco import CocoSource, decode_mask
from deeprob.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # from pycocotools


@pytest.fixture
def source(readers, tmp_path: Path) -> CocoSource:
    readers["coco"].build(tmp_path / "set")
    return readers["coco"].open(tmp_path / "set")


def test_frame_holds_boxes_and_masks(source: CocoSource) -> None:
    assert source.classes == ("ball", "robot")
    frame = source.frames("train")[0]
    assert frame.key == "images/bild 0ä.png"
    robot, ball = frame.instances
    assert (robot.class_id, ball.class_id) == (1, 0)
    np.testing.assert_array_equal(robot.box_xyxy, [9.5, 4.5, 21.5, 19.5])
    expected = np.zeros((30, 40), bool)
    expected[5:20, 10:22] = True
    np.testing.assert_array_equal(robot.mask, expected)
    assert ball.mask[:, :2].all()
    assert ball.mask.sum() == 60


def test_compressed_run_lengths_come_back_exactly() -> None:
    mask = np.random.default_rng(0).random((30, 40)) > 0.5
    runs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    text = {"size": runs["size"], "counts": runs["counts"].decode()}
    np.testing.assert_array_equal(decode_mask(text, (30, 40), "here"), mask)


def test_crowds_are_no_objects(source: CocoSource) -> None:
    item = source.items("train")[0]
    item.annotations[0][1]["iscrowd"] = 1
    frame = source.read(item)
    assert [i.class_id for i in frame.instances] == [0]
    assert [i.class_id for i in frame.crowds] == [1]
    assert frame.crowds[0].mask.any()


def test_annotation_without_segmentation_has_no_mask(source: CocoSource) -> None:
    item = source.items("train")[0]
    item.annotations[0][1]["segmentation"] = []
    assert source.read(item).instances[0].mask is None


@pytest.mark.parametrize("seed", range(5))
def test_random_compressed_text_never_breaks_the_decoder(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(50):
        text = "".join(chr(48 + int(c)) for c in rng.integers(0, 64, rng.integers(1, 30)))
        try:
            mask = decode_mask({"size": [30, 40], "counts": text}, (30, 40), "here")
        except InputError:
            continue
        assert mask.shape == (30, 40)


@pytest.mark.parametrize(("said", "expected"), [({"area": 12.5}, 12.5), ({}, 180), ({"area": None}, 180)])
def test_an_objects_size_is_the_annotations_area_or_else_the_masks_pixels(source, said, expected) -> None:
    item = source.items("train")[0]
    entry = item.annotations[0][1]
    entry.pop("area", None)
    entry.update(said)
    assert source.read(item).instances[0].size_in_pixels == expected


def test_without_area_and_mask_the_box_is_the_size(source: CocoSource) -> None:
    item = source.items("train")[0]
    item.annotations[0][1].update(area=None, segmentation=[], bbox=[1, 2, 10, 4])
    assert source.read(item).instances[0].size_in_pixels == 40


@pytest.mark.parametrize("area", [-1, "wide", [3]])
def test_an_area_that_is_none_is_one_line(source: CocoSource, area: object) -> None:
    item = source.items("train")[0]
    item.annotations[0][1]["area"] = area
    with pytest.raises(InputError, match="annotation 0: area"):
        source.read(item)
