import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from deeprob.data.readers.label_maps import LabelMapSource
from deeprob.errors import InputError
from deeprob.tasks.segmentation.labels import IGNORED, label_map_of

FOLDERS = {"images": {"train": "images"}, "maps": {"train": "maps"}}
VALUES = {3: "cup", 7: "tin"}


@pytest.fixture
def root(readers, tmp_path: Path) -> Path:
    readers["label_maps"].build(tmp_path)
    return tmp_path


def labels_of(source: LabelMapSource) -> np.ndarray:
    return label_map_of(source.frames("train")[0])


def test_values_become_classes_in_their_order(root: Path) -> None:
    source = LabelMapSource(root, **FOLDERS, values=VALUES)
    plane = cv2.imread(str(root / "maps" / "0.png"), cv2.IMREAD_UNCHANGED)
    assert source.classes == ("cup", "tin")
    np.testing.assert_array_equal(
        labels_of(source), np.select([plane == 3, plane == 7, plane == 255], [1, 2, 255])
    )


def test_a_palette_is_read_by_its_indices(root: Path) -> None:
    before = labels_of(LabelMapSource(root, **FOLDERS, values=VALUES))
    path = root / "maps" / "0.png"
    image = Image.fromarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)).convert("P")
    image.putpalette([i * 37 % 256 for i in range(768)])
    image.save(path)
    np.testing.assert_array_equal(labels_of(LabelMapSource(root, **FOLDERS, values=VALUES)), before)


@pytest.mark.parametrize(("rest", "found"), [("ignore", IGNORED), ("background", 0)])
def test_other_values_are_what_rest_says(root: Path, rest: str, found: int) -> None:
    labels = labels_of(LabelMapSource(root, **FOLDERS, values={3: "cup"}, rest=rest))
    assert set(np.unique(labels)) == {0, 1, IGNORED}
    assert labels[22, 20] == found


def test_another_value_is_named_with_its_file(root: Path) -> None:
    source = LabelMapSource(root, **FOLDERS, values={3: "cup"})
    with pytest.raises(InputError, match=r"0\.png: value 7; expected one of \[0, 3, 255\]"):
        source.frames("train")[0]


def test_names_of_cityscapes_files_belong_together(root: Path) -> None:
    (root / "images" / "0.jpg").rename(root / "images" / "a_leftImg8bit.jpg")
    (root / "maps" / "0.png").rename(root / "maps" / "a_gtFine_labelIds.png")
    suffixes = {"image_suffix": "_leftImg8bit", "map_suffix": "_gtFine_labelIds"}
    assert len(LabelMapSource(root, **FOLDERS, values=VALUES, **suffixes).frames("train")) == 1


def test_a_picture_without_a_map_is_named(root: Path) -> None:
    (root / "maps" / "1.png").unlink()
    with pytest.raises(InputError, match=r"images/1\.jpg: a picture without a label map"):
        LabelMapSource(root, **FOLDERS, values=VALUES)
    assert len(LabelMapSource(root, **FOLDERS, values=VALUES, missing_maps="skip").frames("train")) == 2


@pytest.fixture
def panoptic(root: Path) -> Path:
    """Segment 70,000 is a cup, 300 a crowd of tins; the rest has no label."""
    plane = np.zeros((30, 40), np.int64)
    plane[5:20, 10:22], plane[22:, :9] = 70_000, 300
    colour = np.stack([plane % 256, plane // 256 % 256, plane // 65536], 2).astype(np.uint8)
    (root / "maps" / "0.png").write_bytes(cv2.imencode(".png", colour[..., ::-1])[1].tobytes())
    content = {
        "images": [{"id": 5, "file_name": "0.jpg"}],
        "categories": [{"id": 2, "name": "tin"}, {"id": 1, "name": "cup"}],
        "annotations": [
            {
                "image_id": 5,
                "file_name": "0.png",
                "segments_info": [
                    {"id": 70_000, "category_id": 1},
                    {"id": 300, "category_id": 2, "iscrowd": 1},
                ],
            }
        ],
    }
    (root / "panoptic.json").write_text(json.dumps(content))
    return root


def test_panoptic_segments_are_instances_and_crowds(panoptic: Path) -> None:
    source = LabelMapSource(panoptic, **FOLDERS, panoptic={"train": "panoptic.json"})
    frame = source.frames("train")[0]
    assert source.classes == ("cup", "tin")
    assert [(i.class_id, int(i.mask.sum())) for i in frame.instances] == [(0, 15 * 12)]
    assert [int(c.mask.sum()) for c in frame.crowds] == [8 * 9, 30 * 40 - 15 * 12 - 8 * 9]


def test_a_file_outside_the_folder_is_refused(panoptic: Path) -> None:
    file = panoptic / "panoptic.json"
    file.write_text(file.read_text().replace('"0.png"', '"../../0.png"'))
    with pytest.raises(InputError, match="file_name"):
        LabelMapSource(panoptic, **FOLDERS, panoptic={"train": "panoptic.json"})
