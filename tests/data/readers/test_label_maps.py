import json
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from fixtures.data import write_image
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


@pytest.mark.parametrize(("kept", "step"), [({1: "cup"}, 255), ({3: "cup"}, 85), ({7: "cup"}, 17)])
def test_a_map_of_few_bits_holds_the_values_it_stores(tmp_path: Path, kept: dict, step: int) -> None:
    value = next(iter(kept))
    write_image(tmp_path / "images" / "0.jpg")
    (tmp_path / "maps").mkdir()
    plane = np.zeros((30, 40), np.uint8)
    plane[5:20, 10:22] = value
    bits = {255: 1, 85: 2, 17: 4}[step]
    (tmp_path / "maps" / "0.png").write_bytes(grey_png(plane, bits))
    assert cv2.imread(str(tmp_path / "maps" / "0.png"), cv2.IMREAD_UNCHANGED).max() == value * step
    frame = LabelMapSource(tmp_path, **FOLDERS, values=kept).frames("train")[0]
    np.testing.assert_array_equal(frame.instances[0].mask, plane == value)
    assert frame.crowds == ()
    stretched = LabelMapSource(tmp_path, **FOLDERS, values={255: "cup"}, rest="background").frames("train")[0]
    assert len(stretched.instances) == (value * step == 255)


def grey_png(plane: np.ndarray, bits: int) -> bytes:
    """A grey PNG of 1, 2 or 4 bits a pixel."""
    unpacked = np.unpackbits(plane[..., None], axis=2)[..., 8 - bits :].reshape(len(plane), -1)
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in unpacked)
    head = struct.pack(">IIBBBBB", plane.shape[1], plane.shape[0], bits, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    parts = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_values_that_are_no_whole_numbers_are_refused(root: Path) -> None:
    Image.fromarray(np.full((30, 40), 3.5, np.float32)).save(root / "maps" / "0.tif")
    (root / "maps" / "0.tif").rename(root / "maps" / "0.png")
    with pytest.raises(InputError, match=r"0\.png: values of type float32; expected whole numbers"):
        LabelMapSource(root, **FOLDERS, values=VALUES).frames("train")[0]


def test_two_pictures_of_one_name_are_refused(root: Path) -> None:
    write_image(root / "images" / "0.png", seed=9)
    with pytest.raises(InputError, match=r"0\.png: another picture has the same name: 0\.jpg"):
        LabelMapSource(root, **FOLDERS, values=VALUES)


def test_a_split_without_a_folder_of_pictures_is_named(root: Path) -> None:
    with pytest.raises(InputError, match=r"data\.source\.images: no folder of pictures for split 'train'"):
        LabelMapSource(root, images={}, maps=FOLDERS["maps"], values=VALUES)


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


def test_segments_that_are_corrected_change_the_fingerprint(panoptic: Path) -> None:
    def name() -> str:
        return LabelMapSource(panoptic, **FOLDERS, panoptic={"train": "panoptic.json"}).fingerprint("train")

    before, file = name(), panoptic / "panoptic.json"
    assert name() == before
    file.write_text(
        file.read_text().replace('"id": 70000, "category_id": 1', '"id": 70000, "category_id": 2')
    )
    assert name() != before


def test_a_file_outside_the_folder_is_refused(panoptic: Path) -> None:
    file = panoptic / "panoptic.json"
    file.write_text(file.read_text().replace('"0.png"', '"../../0.png"'))
    with pytest.raises(InputError, match="file_name"):
        LabelMapSource(panoptic, **FOLDERS, panoptic={"train": "panoptic.json"})
