import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from deeprob.data.frame import Frame, Instance
from deeprob.data.inspect import contact_sheet, describe
from deeprob.data.readers.bop import BopSource
from deeprob.data.readers.darknet import DarknetSource
from deeprob.data.readers.reading import read_image

SPLITS = {"train": ["2019*"], "val": ["2024*"]}


def printed(table) -> str:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_summary_counts_frames_classes_groups_and_bad_files(darknet_root: Path, tmp_path: Path) -> None:
    (darknet_root / "2019a/r1/frame_0.txt").write_text("")
    (darknet_root / "2019a/r2/frame_0.txt").unlink()
    source = DarknetSource(darknet_root, SPLITS)
    table, summaries = describe(source, progress=False)
    train = summaries["train"]
    assert (train.frames, train.empty, train.groups) == (3, 1, 2)
    assert train.classes == {"ball": 2, "robot": 2}
    assert train.sizes == {(40, 30): 3}
    assert train.boxes[1] == pytest.approx(17.5)
    assert len(train.bad) == 1
    assert "no such file" in train.bad[0]
    text = printed(table)
    assert "robots: real" in text
    assert "40 x 30" in text
    assert source.skipped == []


def test_summary_says_which_labels_there_are(readers, tmp_path: Path) -> None:
    readers["bop"].build(tmp_path / "set")
    _, summaries = describe(BopSource(tmp_path / "set", {"train": ["train_pbr/*"]}), progress=False)
    assert summaries["train"].labels == ("depth", "masks", "poses")


def test_regions_that_are_left_out_are_counted_once(readers, tmp_path: Path) -> None:
    for name in ("voc", "kitti"):
        readers[name].build(tmp_path / name)
        table, summaries = describe(readers[name].open(tmp_path / name), progress=False)
        assert summaries["train"].crowds == 4
        assert "regions left out" in list(table.columns[0].cells)


def test_what_stands_twice_or_is_turned_is_counted(readers, tmp_path: Path) -> None:
    root = tmp_path / "set"
    readers["voc"].build(root)
    names = sorted(path.stem for path in (root / "JPEGImages").iterdir())
    table, _ = describe(readers["voc"].open(root, splits={"train": "train", "val": "val"}), progress=False)
    assert not {"pictures seen already", "objects given twice", "pictures turned by EXIF"} & {
        *table.columns[0].cells
    }
    shutil.copy(root / f"JPEGImages/{names[0]}.jpg", root / f"JPEGImages/{names[5]}.jpg")
    annotation = root / f"Annotations/{names[1]}.xml"
    ball = annotation.read_text().partition("<object>")[2].partition("</object>")[0]
    annotation.write_text(annotation.read_text().replace("<object>", f"<object>{ball}</object><object>", 1))
    exif = Image.Exif()
    exif[0x0112] = 3
    path = root / f"JPEGImages/{names[4]}.jpg"
    Image.open(path).save(path, exif=exif)
    table, found = describe(
        readers["voc"].open(root, splits={"train": "train", "val": "val"}), progress=False
    )
    counts = {s: (found[s].seen_before, found[s].doubled, found[s].turned) for s in found}
    assert counts == {"train": (0, 1, 0), "val": (1, 0, 1)}
    assert "pictures seen already" in printed(table)


def test_contact_sheet_is_a_picture_of_every_split(darknet_root: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    describe(DarknetSource(darknet_root, SPLITS), sheet, per_split=4, progress=False)
    image = read_image(sheet)
    assert image.shape == (2 * (14 + 240), 4 * 320, 3)  # four training frames, two for validation


def test_box_is_drawn_around_its_object() -> None:
    image = np.zeros((30, 40, 3), np.uint8)
    frame = Frame(image, (Instance(0, np.array([9.5, 4.5, 19.5, 14.5])),), "test", "f", "g")
    tile = contact_sheet([("f", frame)], ("a",), columns=1, width=400)[14:]
    rows, columns = np.nonzero((tile == (230, 80, 60)).all(-1))
    assert (columns.min(), columns.max()) == (100, 200)
    assert rows.max() == 150


@pytest.mark.data
def test_robocup_has_the_published_counts(data_dir: Path) -> None:
    splits = {"train": ["2019*", "2022*", "2023*"], "val": ["2024*"]}
    _, summaries = describe(DarknetSource(data_dir / "robocup_msl", splits), progress=False)
    assert summaries["train"].frames + summaries["val"].frames == 948
    assert (summaries["train"].empty, summaries["val"].empty) == (1, 0)
    assert not summaries["train"].bad + summaries["val"].bad
