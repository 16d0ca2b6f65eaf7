from pathlib import Path

import numpy as np
import pytest

from deeprob.data.readers.folder import FolderSource
from deeprob.errors import InputError


def test_folders_are_classes_and_images_whole_boxes(readers, tmp_path: Path) -> None:
    readers["folder"].build(tmp_path / "pets")
    source = FolderSource(tmp_path / "pets", {"train": "train"})
    assert source.classes == ("cat", "dög house")
    frames = list(source.frames("train"))
    assert [f.instances[0].class_id for f in frames] == [0, 0, 0, 1, 1, 1]
    np.testing.assert_array_equal(frames[0].instances[0].box_xyxy, [-0.5, -0.5, 39.5, 29.5])
    assert frames[0].key == frames[0].group == "train/cat/0.png"


def test_subfolder_of_a_class_is_a_group(tmp_path: Path, draw) -> None:
    draw(tmp_path / "cat/day 1/a.png")
    draw(tmp_path / "cat/day 1/b.png")
    frames = FolderSource(tmp_path, {"train": "."}).frames("train")
    assert [f.group for f in frames] == ["cat/day 1"] * 2


def test_class_seen_in_one_split_only_keeps_its_index(tmp_path: Path, draw) -> None:
    for name in ("train/b/1.png", "train/c/1.png", "val/a/1.png", "val/c/1.png"):
        draw(tmp_path / name)
    source = FolderSource(tmp_path, {"train": "train", "val": "val"})
    assert [f.instances[0].class_id for f in source.frames("train")] == [1, 2]
    assert [f.instances[0].class_id for f in source.frames("val")] == [0, 2]


def test_missing_split_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="val: no folder for split 'val'"):
        FolderSource(tmp_path, {"val": "val"})
