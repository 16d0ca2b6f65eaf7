from pathlib import Path

import numpy as np
import pytest
from fixtures.data import KITTI_LINE

from deeprob.data.readers.kitti import CLASSES, KittiSource
from deeprob.errors import InputError

SPLITS = {"train": "train", "val": "val"}


@pytest.fixture
def root(readers, tmp_path: Path) -> Path:
    readers["kitti"].build(tmp_path / "kitti")
    return tmp_path / "kitti"


def label(root: Path) -> Path:
    return root / "training/label_2/000000.txt"


def test_boxes_count_from_pixel_centres_and_dont_care_is_a_crowd_of_every_class(root: Path) -> None:
    source = KittiSource(root, SPLITS)
    assert source.classes == CLASSES
    assert [len(source.frames(split)) for split in source.splits] == [4, 2]
    frame = source.frames("train")[0]
    assert frame.key == "training/image_2/000000.png"
    (car,) = frame.instances
    assert car.class_id == 0
    np.testing.assert_array_equal(car.box_xyxy, [9.5, 4.5, 21.5, 19.5])
    assert [crowd.class_id for crowd in frame.crowds] == list(range(8))
    for crowd in frame.crowds:
        np.testing.assert_array_equal(crowd.box_xyxy, [30, 0, 39, 29])


def test_the_training_folder_itself_will_do(root: Path) -> None:
    assert len(KittiSource(root / "training", {"train": 0.5}).frames("train")) == 3


def test_types_of_another_set_are_named(root: Path) -> None:
    label(root).write_text(KITTI_LINE.format("Robot", 1, 2, 3, 4))
    with pytest.raises(InputError, match=r"line 1: type Robot; expected Car, .*data\.source\.names="):
        KittiSource(root, SPLITS).frames("train")[0]
    frame = KittiSource(root, SPLITS, names=["Ball", "Robot"]).frames("train")[0]
    assert [i.class_id for i in frame.instances] == [1]


@pytest.mark.parametrize("names", [["Car", "Car"], ["Car", "DontCare"]])
def test_names_that_cannot_be_are_refused(root: Path, names: list[str]) -> None:
    with pytest.raises(InputError, match=r"data\.source\.names is"):
        KittiSource(root, SPLITS, names=names)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Car 0 0 0 1 2 3 4", "8 fields; expected 15"),
        (KITTI_LINE.format("Car", 1, 2, 3, 4).strip() + " 0.9", "16 are those of a file of results"),
        (KITTI_LINE.format("Car", 1, "x", 3, 4), "top is x"),
        (KITTI_LINE.format("Car", 1, 2, "nan", 4), "right is nan"),
        (KITTI_LINE.format("Car", 3, 2, 3, 4), "has no area"),
        (KITTI_LINE.format("Car", 3, 2, 60, 4), "lies outside the image"),
    ],
)
def test_a_bad_line_is_named_with_its_field(root: Path, line: str, message: str) -> None:
    label(root).write_text(f"\n{line}\n")
    with pytest.raises(InputError) as caught:
        KittiSource(root, SPLITS).frames("train")[0]
    assert f"{label(root)} line 2: " in str(caught.value)
    assert message in str(caught.value)


def test_boxes_over_the_border_and_missing_labels_by_option(root: Path) -> None:
    label(root).write_text(KITTI_LINE.format("Car", 3, 2, 60, 4))
    frame = KittiSource(root, SPLITS, clip_boxes=True).frames("train")[0]
    np.testing.assert_array_equal(frame.instances[0].box_xyxy, [3, 2, 39.5, 4])
    label(root).unlink()
    assert KittiSource(root, SPLITS, missing_labels="empty").frames("train")[0].instances == ()


def test_a_folder_without_images_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="image_2: no such folder"):
        KittiSource(tmp_path, SPLITS)
