from pathlib import Path

import pytest
import torch

from deeprob.data.batches.divide import assign_folds, class_counts, divide_by_group
from deeprob.data.batches.materialise import materialise
from deeprob.data.readers.darknet import DarknetSource
from deeprob.errors import InputError
from deeprob.tasks.classification.view import ClassificationView

SPLITS = {"train": ["2019*"], "val": ["2024*"]}
VIEW = ClassificationView(size=8)


def test_split_holds_crops_in_order_with_units_and_groups(darknet_root: Path) -> None:
    split = materialise(DarknetSource(darknet_root, SPLITS), "train", VIEW, progress=False)
    assert split.images.shape == (8, 8, 8, 3)
    assert split.images.dtype == torch.uint8
    assert split.labels.tolist() == [0, 1] * 4
    assert split.units.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert split.groups.tolist() == [0] * 4 + [1] * 4
    assert split.group_names == ("2019a/r1", "2019a/r2")
    assert split.keys[3] == "2019a/r1/frame_1.jpg box 1"


def test_a_simulated_scene_is_one_unit(array_source) -> None:
    source = array_source()
    source.real = False
    split = materialise(source, "train", VIEW, progress=False)
    assert split.units.tolist() == split.groups.tolist() == [i // 5 for i in range(20)]


def test_cache_gives_back_the_same_without_reading_the_files(
    darknet_root: Path, tmp_path: Path, monkeypatch
) -> None:
    source = DarknetSource(darknet_root, SPLITS)
    first = materialise(source, "train", VIEW, tmp_path / "cache", progress=False)
    monkeypatch.setattr(source, "frames", lambda split: pytest.fail("the cache was not used"))
    second = materialise(source, "train", VIEW, tmp_path / "cache", progress=False)
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.units, second.units)
    assert first.keys == second.keys
    assert first.group_names == second.group_names


def test_cache_remembers_what_was_skipped(darknet_root: Path, tmp_path: Path) -> None:
    (darknet_root / "2019a/r1/frame_0.txt").unlink()
    for _ in range(2):
        source = DarknetSource(darknet_root, SPLITS, on_bad_sample="skip")
        split = materialise(source, "train", VIEW, tmp_path / "cache", progress=False)
        assert len(split) == 6
        assert len(split.skipped) == 1


def test_changed_label_file_or_view_makes_a_new_cache(darknet_root: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    materialise(DarknetSource(darknet_root, SPLITS), "train", VIEW, cache, progress=False)
    (darknet_root / "2019a/r1/frame_0.txt").write_text("1 0.5 0.5 0.5 0.5")
    split = materialise(DarknetSource(darknet_root, SPLITS), "train", VIEW, cache, progress=False)
    assert len(split) == 7
    other = materialise(
        DarknetSource(darknet_root, SPLITS), "train", ClassificationView(size=9), cache, progress=False
    )
    assert other.images.shape[1] == 9


@pytest.mark.parametrize("file", ["split.json", "images.npy", "labels.npy"])
def test_broken_cache_is_written_anew(darknet_root: Path, tmp_path: Path, file: str) -> None:
    source = DarknetSource(darknet_root, SPLITS)
    whole = materialise(source, "train", VIEW, tmp_path / "cache", progress=False)
    (folder,) = (tmp_path / "cache").iterdir()
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[: len(content) // 2])
    again = materialise(source, "train", VIEW, tmp_path / "cache", progress=False)
    assert torch.equal(again.images, whole.images)
    assert (folder / file).read_bytes() == content


def test_split_without_crops_is_an_error(darknet_root: Path) -> None:
    with pytest.raises(InputError, match="split 'val' has no crops"):
        materialise(
            DarknetSource(darknet_root, SPLITS), "val", ClassificationView(min_pixels=100), progress=False
        )


def test_division_never_parts_a_group_and_is_near_the_fraction() -> None:
    groups = torch.arange(20).repeat_interleave(5)
    rest, chosen = divide_by_group(groups, 0.2, seed=3)
    assert len(chosen) == 20
    assert not set(groups[rest].tolist()) & set(groups[chosen].tolist())
    assert sorted([*rest.tolist(), *chosen.tolist()]) == list(range(100))


def test_division_follows_from_the_seed() -> None:
    groups = torch.arange(20).repeat_interleave(5)
    first, same, other = (divide_by_group(groups, 0.2, seed)[1].tolist() for seed in (0, 0, 1))
    assert first == same
    assert first != other


def test_both_sides_of_a_division_get_something() -> None:
    rest, chosen = divide_by_group(torch.tensor([0, 0, 0, 0, 1]), 0.01, seed=0)
    assert len(rest) > 0
    assert len(chosen) > 0


def test_one_group_cannot_be_divided() -> None:
    with pytest.raises(InputError, match="1 group"):
        divide_by_group(torch.zeros(9, dtype=torch.int64), 0.5, seed=0)


def test_classes_without_samples_are_counted_too() -> None:
    assert class_counts(torch.tensor([0, 2, 2]), ("a", "b", "c", "d")) == {"a": 1, "b": 0, "c": 2, "d": 0}


def test_folds_hold_whole_groups_and_are_about_equal() -> None:
    groups = torch.arange(12).repeat_interleave(torch.arange(1, 13))
    folds = assign_folds(groups, 4, seed=0)
    for group in range(12):
        assert len(folds[groups == group].unique()) == 1
    sizes = torch.bincount(folds)
    assert sizes.sum() == 78
    assert sizes.max() <= 1.1 * 78 / 4


def test_folds_follow_from_the_seed() -> None:
    groups = torch.arange(20).repeat_interleave(5)
    first, same, other = (assign_folds(groups, 4, seed).tolist() for seed in (0, 0, 1))
    assert first == same
    assert first != other


@pytest.mark.parametrize("num_folds", [1, 4])
def test_impossible_number_of_folds_is_refused(num_folds: int) -> None:
    with pytest.raises(InputError, match=f"{num_folds} folds of 3 groups"):
        assign_folds(torch.tensor([0, 1, 2]), num_folds, seed=0)
