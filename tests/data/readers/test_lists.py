from pathlib import Path

import pytest

from deeprob.data.readers.files import NoSplitError
from deeprob.data.readers.lists import Lists
from deeprob.errors import InputError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(20):
        for folder in ("", "night/"):
            path = tmp_path / "images" / f"{folder}{number:02d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
    (tmp_path / "lists").mkdir()
    return tmp_path


def lists(root: Path, splits) -> Lists:
    return Lists(root / "images", root / "lists", splits, [])


@pytest.mark.parametrize(
    "text",
    ["03\nnight/04\n", "03.jpg\nnight/04.jpg", " 03 1\n\nnight/04 -1\n", "images/03.jpg\nnight/04.jpg"],
)
def test_a_list_names_its_images(root: Path, text: str) -> None:
    (root / "lists/train.txt").write_text(text)
    assert lists(root, {"train": "train"}).of("train") == ["03", "night/04"]


def test_a_folder_may_stand_for_a_list(root: Path) -> None:
    assert lists(root, {"val": "night"}).of("val") == [f"night/{n:02d}" for n in range(20)]


def test_shares_deal_all_images_out_the_same_every_time(root: Path) -> None:
    splits = {"train": 0.7, "val": "0.2", "test": 0.1}
    dealt = {split: lists(root, splits).of(split) for split in splits}
    assert [len(names) for names in dealt.values()] == [28, 8, 4]
    assert len({name for names in dealt.values() for name in names}) == 40
    assert dealt["val"] == lists(root, splits).of("val")
    assert dealt["train"] != sorted(lists(root, splits).names)[:28]  # not the first ones


@pytest.mark.parametrize(
    "splits", [{"a": 0.8, "b": 0.3}, {"a": 0.5, "b": "b"}, {"a": 0}, {"a": -0.5}, {"a": "nan"}]
)
def test_shares_that_cannot_be_are_refused(root: Path, splits) -> None:
    with pytest.raises(InputError, match=r"data\.source\.splits is"):
        lists(root, splits)


def test_lists_of_other_names_are_shown(root: Path) -> None:
    (root / "lists/default.txt").write_text("03\n")
    with pytest.raises(NoSplitError, match=r"train\.txt: no such file; .*there are lists default"):
        lists(root, {"train": "train"}).of("train")


def test_a_missing_list_says_what_will_do(root: Path) -> None:
    with pytest.raises(NoSplitError, match=r"train\.txt: no such file; .*splits=\{train: 0\.8, val: 0\.2\}"):
        lists(root, {"train": "train"}).of("train")


@pytest.mark.parametrize(
    ("text", "message"),
    [("03\n03\n", "line 2: 03 is named twice"), ("../x", "leads outside"), ("/x", "leads outside")],
)
def test_a_bad_line_is_named(root: Path, text: str, message: str) -> None:
    (root / "lists/train.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        lists(root, {"train": "train"}).of("train")


def test_one_image_in_two_splits_is_refused(root: Path) -> None:
    for split in ("train", "val"):
        (root / f"lists/{split}.txt").write_text("03\n")
    both = lists(root, {"train": "train", "val": "val"})
    both.of("train")
    with pytest.raises(InputError, match="image 03 is in the splits train and val"):
        both.of("val")


def test_two_images_of_one_name_are_refused(root: Path) -> None:
    (root / "images/03.png").write_bytes(b"")
    with pytest.raises(InputError, match="another image has the same name"):
        lists(root, {"train": "train"})
