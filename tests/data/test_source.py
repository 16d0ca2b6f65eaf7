"""What every reader of files has in common."""

import os
from pathlib import Path

import pytest

from deeprob.data.bop import BopSource

ONLY_A_LIST = ("models_info.json", "meta.pkl", "obj.names")  # these say what there is, and so do the items

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # from pycocotools


def test_whatever_is_read_is_part_of_the_fingerprint(reader, tmp_path: Path, monkeypatch) -> None:
    reader.build(tmp_path / "set")
    opened: set[Path] = set()
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: (opened.add(path), read(path))[1])
    for _ in reader.open(tmp_path / "set").frames(reader.split):
        pass
    others = (*ONLY_A_LIST, *(path.name for path in opened if path.name.startswith("val")))
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
