from pathlib import Path

import numpy as np
import pytest
import torch

from deeprob.data.batches.augment import Augmentation
from deeprob.data.batches.datamodule import PerceptionData
from deeprob.data.batches.materialise import materialise
from deeprob.data.batches.samples import Ragged, Rows
from deeprob.data.batches.store import Budget, Columns
from deeprob.data.readers.darknet import DarknetSource
from deeprob.errors import InputError
from deeprob.tasks.classification.view import ClassificationView
from deeprob.tasks.detection.view import DetectionView

TINY = 1e-7  # of a GiB: 107 bytes


def rows(count: int, start: int) -> Rows:
    images = np.arange(start, start + count * 40, dtype=np.uint8).reshape(count, 40)
    boxes = [np.full((i, 4), start + i, np.float32) for i in range(count)]
    return Rows([f"{start + i}" for i in range(count)], {"images": images}, {"boxes": boxes})


@pytest.mark.parametrize("gigabytes", [1.0, TINY, 0.0])
def test_columns_are_the_same_in_memory_and_in_a_file(gigabytes: float, tmp_path: Path) -> None:
    columns = Columns(Budget(gigabytes), tmp_path / "spill")
    parts = [rows(3, 0), rows(0, 9), rows(2, 100)]
    for part in parts:
        columns.append(part)
    done = columns.finish()
    np.testing.assert_array_equal(done["images"], np.concatenate([p.columns["images"] for p in parts]))
    assert done["boxes"].counts.tolist() == [0, 1, 2, 0, 1]
    assert done["boxes"][4].tolist() == [[101.0] * 4]
    assert (tmp_path / "spill").is_dir() == (gigabytes < 1)
    assert not list(tmp_path.rglob("*.*"))  # the file has no name


def test_a_column_of_empty_samples_is_empty(tmp_path: Path) -> None:
    columns = Columns(Budget(0.0), tmp_path)
    columns.append(Rows(["a"], {}, {"boxes": [np.zeros((0, 4), np.float32)]}))
    boxes = columns.finish()["boxes"]
    assert len(boxes) == 1
    assert boxes[0].shape == (0, 4)


def test_ragged_samples_are_taken_in_any_order() -> None:
    ragged = Ragged(torch.arange(6.0), torch.tensor([0, 1, 1, 4, 6]))
    taken = ragged.take(torch.tensor([2, 1, 3, 2]))
    assert [taken[i].tolist() for i in range(4)] == [[1, 2, 3], [], [4, 5], [1, 2, 3]]
    assert taken.counts.tolist() == [3, 0, 2, 3]


@pytest.mark.parametrize("view", [ClassificationView(size=8), DetectionView(16, 16)])
def test_batches_are_the_same_beyond_the_memory_budget(array_source, tmp_path: Path, view) -> None:
    def batches(cache: str, gigabytes: float) -> list:
        data = PerceptionData(
            array_source(),
            view,
            Augmentation(rotate=0.2),
            batch_size=4,
            cache_dir=tmp_path / cache,
            memory_budget_gb=gigabytes,
            progress=False,
        )
        return list(data.train_dataloader())

    for a, b in zip(batches("one", 1.0), batches("other", 0.0), strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.indices, b.indices)


def test_a_cache_stays_in_its_folder_whatever_the_set_is_called(darknet_root: Path, tmp_path: Path) -> None:
    source = DarknetSource(darknet_root, {"train": ["2019*"]}, name="../../elsewhere/set")
    materialise(source, "train", ClassificationView(size=8), tmp_path / "a" / "cache", progress=False)
    assert [path.name for path in tmp_path.iterdir() if path != darknet_root] == ["a"]
    (folder,) = (tmp_path / "a" / "cache").iterdir()
    assert folder.name.startswith(".._.._elsewhere_set-train-")


def test_a_cache_over_the_budget_is_mapped_and_private(array_source, tmp_path: Path) -> None:
    source = array_source()
    source.fingerprint = lambda split: "arrays"
    view = DetectionView(16, 16)
    first = materialise(source, "train", view, tmp_path, progress=False)
    source.frames = lambda split: pytest.fail("the cache was not used")
    mapped = materialise(source, "train", view, tmp_path, progress=False, memory_budget_gb=0.0)
    assert torch.equal(mapped.images, first.images)
    assert torch.equal(mapped.boxes.values, first.boxes.values)
    mapped.images.zero_()
    again = materialise(source, "train", view, tmp_path, progress=False)
    assert torch.equal(again.images, first.images)


def test_a_negative_budget_is_refused(array_source) -> None:
    with pytest.raises(InputError, match=r"data\.memory_budget_gb is -1"):
        materialise(array_source(), "train", ClassificationView(), progress=False, memory_budget_gb=-1.0)
