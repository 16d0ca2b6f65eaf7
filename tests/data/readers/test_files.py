"""What every reader of files has in common."""

import os
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

import deeprob
from deeprob.data.readers.bop import BopSource
from deeprob.data.readers.coco import CocoSource
from deeprob.data.readers.darknet import DarknetSource
from deeprob.data.readers.files import FileSource
from deeprob.data.readers.folder import FolderSource
from deeprob.data.readers.kitti import KittiSource
from deeprob.data.readers.voc import VocSource
from deeprob.errors import InputError

ONLY_A_LIST = (
    "models_info.json",
    "meta.pkl",
    "obj.names",
    "train.txt",
)  # these say what there is, and so do the items

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # from pycocotools


def test_whatever_is_read_is_part_of_the_fingerprint(reader, tmp_path: Path, monkeypatch) -> None:
    reader.build(tmp_path / "set")
    opened: set[Path] = set()
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: (opened.add(path), read(path))[1])
    for _ in reader.open(tmp_path / "set").frames(reader.split):
        pass
    of_val = ("val", "000004", "000005", "2007_000004", "2007_000005")
    others = (*ONLY_A_LIST, *(path.name for path in opened if path.name.startswith(of_val)))
    found = sorted(path for path in opened if path.name not in others)
    before = reader.open(tmp_path / "set").fingerprint(reader.split)
    unnoticed = []
    for path in found:
        stat = path.stat()
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))
        after = reader.open(tmp_path / "set").fingerprint(reader.split)
        unnoticed += [path.name] if after == before else []
        before = after
    assert len(found) >= 2
    assert unnoticed == []


def test_a_fingerprint_stays_while_nothing_changes(reader, tmp_path: Path) -> None:
    reader.build(tmp_path / "set")
    first, second = (reader.open(tmp_path / "set").fingerprint(reader.split) for _ in range(2))
    assert first == second


def test_reading_without_labels_has_another_fingerprint(readers, tmp_path: Path) -> None:
    readers["bop"].build(tmp_path / "set")
    splits = {"train": ["train_pbr/*"]}
    with_labels, without = (BopSource(tmp_path / "set", splits, labels=on) for on in (True, False))
    assert with_labels.fingerprint("train") != without.fingerprint("train")


@pytest.mark.parametrize(
    ("name", "kind", "key"),
    [
        ("darknet", DarknetSource, "splits"),
        ("coco", CocoSource, "annotations"),
        ("bop", BopSource, "splits"),
        ("ycbv", BopSource, "splits"),
        ("folder", FolderSource, "splits"),
        ("voc", VocSource, "splits"),
        ("kitti", KittiSource, "splits"),
    ],
)
def test_the_splits_of_the_configs_are_known_as_defaults(name: str, kind: type[FileSource], key: str) -> None:
    config = OmegaConf.load(Path(deeprob.__file__).parents[1] / "configs" / "data" / f"{name}.yaml")
    for split, value in OmegaConf.to_container(config.source[key]).items():
        assert value in kind.default_splits[split]


def test_a_default_split_that_is_not_there_is_left_out(readers, tmp_path: Path) -> None:
    readers["folder"].build(tmp_path)
    source = FolderSource(tmp_path, {"train": "train", "val": "val"})
    assert source.splits == ("train",)
    with pytest.raises(InputError, match="no split 'val'; expected train"):
        source.frames("val")


def test_a_split_that_is_asked_for_must_be_there(readers, tmp_path: Path) -> None:
    readers["folder"].build(tmp_path)
    with pytest.raises(InputError, match="no folder for split 'val'"):
        FolderSource(tmp_path, {"train": "train", "val": "validation"})


def test_of_default_splits_one_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder for split 'train'"):
        FolderSource(tmp_path, {"train": "train", "val": "val"})


def test_one_split_of_each_format_just_works(readers, tmp_path: Path) -> None:
    for name in ("darknet", "coco", "bop"):
        readers[name].build(tmp_path / name)
    (tmp_path / "darknet/2019a").rename(tmp_path / "darknet/train")
    (tmp_path / "coco/annotations").mkdir()
    (tmp_path / "coco/train.json").rename(tmp_path / "coco/annotations/instances_train.json")
    patterns = {split: [f"{split}*", f"images/{split}*"] for split in ("train", "val")}
    files = {split: f"annotations/instances_{split}.json" for split in ("train", "val")}
    for source in (
        DarknetSource(tmp_path / "darknet", patterns),
        CocoSource(tmp_path / "coco", files, {"train": "images"}),
        BopSource(
            tmp_path / "bop",
            {"train": ["train_pbr/*"], "test": ["test/*"]},
            {"test": "test_targets_bop19.json"},
        ),
    ):
        assert source.splits == ("train",)
        assert len(source.frames("train")) == 4


def test_pictures_of_other_kinds_are_counted(readers, tmp_path: Path) -> None:
    for name, folder in (("folder", "train/cat"), ("darknet", "2019a/r1")):
        readers[name].build(tmp_path / name)
        for file in ("b.gif", "c.HEIC"):
            (tmp_path / name / folder / file).write_bytes(b"")
        (line,) = readers[name].open(tmp_path / name).passed_over
        assert line.startswith("2 pictures of kinds that are not read (.gif, .heic), such as ")


def test_text_files_may_be_those_of_windows(reader, tmp_path: Path) -> None:
    """A byte order mark in front, and two characters at the end of each line."""
    reader.build(tmp_path / "set")
    before = list(reader.open(tmp_path / "set").frames(reader.split))
    texts = [p for p in tmp_path.rglob("*") if p.suffix in (".txt", ".names", ".json", ".xml")]
    assert texts or reader.name in ("folder", "label_maps", "props_classification")
    for path in texts:
        text = path.read_text(encoding="utf-8").replace("}, ", "},\n").replace("\n", "\r\n")
        path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    after = list(reader.open(tmp_path / "set").frames(reader.split))
    assert [frame.key for frame in after] == [frame.key for frame in before]
    for a, b in zip(after, before, strict=True):
        assert [i.class_id for i in a.instances] == [i.class_id for i in b.instances]
        np.testing.assert_array_equal([i.box_xyxy for i in a.instances], [i.box_xyxy for i in b.instances])
