"""Facts of a data set: counts, and what leaks from one split into another."""

import shutil

import cv2
import pytest

from deeprob.studies.card.data import data_facts, folder_bytes, write_sheet
from deeprob.training.sources import make_data


@pytest.fixture
def facts_of(squares_config):
    return lambda *overrides: data_facts(make_data(squares_config(*overrides)))


def test_samples_are_counted_by_split_and_class(facts_of):
    facts = facts_of()
    assert facts.splits["train"].samples == 72
    assert facts.splits["val"].classes == {"red": 12, "green": 12, "blue": 12}
    assert facts.splits["train"].groups == 1
    assert facts.real


def test_splits_of_their_own_are_clean(facts_of):
    facts = facts_of()
    assert facts.clean
    assert [leak.splits for leak in facts.leaks] == [("train", "val")]


def test_an_image_that_lies_in_two_splits_is_found(facts_of, squares):
    for suffix in (".png", ".txt"):
        shutil.copy(squares / "train" / f"1-03{suffix}", squares / "val" / f"copy{suffix}")
    facts = facts_of()
    assert not facts.clean
    assert facts.leaks[0].duplicates == [("train/1-03.png box 0", "val/copy.png box 0")]


def test_a_recording_that_lies_in_two_splits_is_found(facts_of, squares, monkeypatch):
    from deeprob.data.readers.darknet import DarknetSource

    read = DarknetSource.read

    def in_one_group(self, item):
        import dataclasses

        return dataclasses.replace(read(self, item), group="monday")

    monkeypatch.setattr(DarknetSource, "read", in_one_group)
    facts = facts_of()
    assert facts.leaks[0].groups == ["monday"]


def test_the_contact_sheet_shows_every_split(squares_config, tmp_path):
    data = make_data(squares_config())
    assert write_sheet(data, tmp_path / "sheet.jpg", per_split=2)
    sheet = cv2.imread(str(tmp_path / "sheet.jpg"))
    assert sheet.shape[1] == 4 * 320


def test_a_folder_is_as_large_as_its_files(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"12345")
    (tmp_path / "y").write_bytes(b"123")
    assert folder_bytes(tmp_path) == 8
