import itertools
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from deeprob.data.batches.augment import Augmentation, normalise
from deeprob.data.batches.loader import BatchLoader, repeat_factors
from deeprob.data.batches.samples import ImageSamples, Ragged
from deeprob.errors import InputError
from deeprob.tasks.classification.view import CropBatch, CropCollate, CropSamples

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
STRONG = Augmentation(flip=0.5, rotate=0.2, brightness=0.3, noise=0.1)


def split(size: int = 23) -> CropSamples:
    images = torch.randint(
        0, 256, (size, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    zeros = torch.zeros(size, dtype=torch.int64)
    labels = (torch.arange(size) % 7 == 0).long()
    return CropSamples(
        images, labels, units=zeros, groups=zeros, group_names=("all",), keys=tuple(map(str, range(size)))
    )


def training(size: int = 23, **options) -> BatchLoader:
    cut = CropCollate(MEAN, STD, STRONG)
    return BatchLoader(split(size), 5, cut, **{"shuffle": True} | options)


def same(first: list[CropBatch], second: list[CropBatch]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(x, y) for a, b in zip(first, second, strict=True) for x, y in zip(a, b, strict=True)
    )


def test_evaluation_goes_through_the_split_in_order_as_it_is() -> None:
    data = split()
    batches = list(BatchLoader(data, 5, CropCollate(MEAN, STD)))
    assert [len(b.labels) for b in batches] == [5, 5, 5, 5, 3]
    assert torch.cat([b.indices for b in batches]).tolist() == list(range(23))
    assert torch.equal(torch.cat([b.labels for b in batches]), data.labels)
    assert torch.equal(torch.cat([b.images for b in batches]), normalise(data.images, MEAN, STD))


def test_shuffling_gives_each_sample_once_in_another_order_each_epoch() -> None:
    loader = training()
    orders = [torch.cat([b.indices for b in loader]).tolist() for _ in range(3)]
    assert all(sorted(order) == list(range(23)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3


def test_labels_and_images_belong_to_the_indices() -> None:
    data = split()
    batch = next(iter(BatchLoader(data, 5, CropCollate(MEAN, STD), shuffle=True)))
    assert torch.equal(batch.labels, data.labels[batch.indices])
    assert torch.equal(batch.images, normalise(data.images[batch.indices], MEAN, STD))


@pytest.mark.parametrize(("size", "length"), [(23, 4), (25, 5), (3, 1)])
def test_dropping_the_last_keeps_full_batches_or_the_only_one(size: int, length: int) -> None:
    loader = training(size, drop_last=True)
    assert len(loader) == len(list(loader)) == length


def test_same_seed_same_batches_other_seed_others() -> None:
    first, again, other = (list(training(seed=s)) for s in (0, 0, 1))
    assert same(first, again)
    assert not same(first, other)


def test_epochs_augment_the_same_sample_differently() -> None:
    loader = training(shuffle=False)
    assert not same(list(loader), list(loader))


@pytest.mark.parametrize("num_workers", [1, 2])
def test_number_of_workers_does_not_change_a_bit(num_workers: int) -> None:
    alone, together = training(), training(num_workers=num_workers)
    for _ in range(2):
        assert same(list(alone), list(together))


def test_workers_survive_an_iteration_that_is_left_early() -> None:
    alone, together = training(), training(num_workers=2)
    next(iter(together))
    together.set_epoch(1)
    alone.set_epoch(1)
    assert same(list(alone), list(together))


def test_threads_end_with_their_iteration() -> None:
    loader = training(num_workers=2)
    list(loader)
    unfinished = iter(loader)
    next(unfinished)
    del unfinished
    for thread in threading.enumerate():
        if thread.name.startswith("batches"):
            thread.join(timeout=10)
            assert not thread.is_alive()


def test_error_in_a_worker_comes_through() -> None:
    loader = training(num_workers=2)
    loader.batches._order = 0, torch.arange(100, 123)
    with pytest.raises(IndexError):
        list(loader)


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("given", [0, 1, 3, 5])
def test_resume_goes_on_with_the_next_batch(given: int, num_workers: int) -> None:
    whole = training()
    expected = list(whole) + list(whole)
    interrupted = training()
    list(itertools.islice(iter(interrupted), given))
    resumed = training(num_workers=num_workers)
    resumed.load_state_dict(interrupted.state_dict())
    rest = list(resumed)
    if given == 5:
        assert same(rest, expected[5:])
    else:
        assert same(rest + list(resumed), expected[given:])


def test_each_iteration_is_a_new_epoch_also_after_one_left_early() -> None:
    left, whole = training(), training()
    next(iter(left))
    list(whole)
    assert same(list(left), list(whole))


def test_setting_an_epoch_starts_it_anew() -> None:
    loader = training()
    first = list(loader)
    loader.set_epoch(0)
    assert same(list(loader), first)


def test_setting_the_same_epoch_keeps_a_resumed_position_and_another_drops_it() -> None:
    loader = training()
    state = {"epoch": 2, "batches_given": 3, "num_samples": 23, "batch_size": 5}
    loader.load_state_dict(state)
    loader.set_epoch(2)
    assert len(list(loader)) == 2
    loader.load_state_dict(state)
    loader.set_epoch(4)
    assert len(list(loader)) == 5


def test_resume_inside_an_epoch_over_other_data_is_refused() -> None:
    interrupted = training()
    next(iter(interrupted))
    with pytest.raises(InputError, match="num_samples 23, not 24"):
        training(24).load_state_dict(interrupted.state_dict())


def test_balanced_batches_hold_each_class_about_equally_often() -> None:
    labels = torch.cat([b.labels for b in training(700, balanced=True)])
    assert len(labels) == 700
    assert 280 < labels.sum() < 420  # 100 of the 700 samples are of this class


@pytest.mark.parametrize(("option", "value"), [("num_workers", -1), ("seed", -1)])
def test_impossible_options_are_refused_by_name(option: str, value: int) -> None:
    with pytest.raises(InputError, match=option):
        training(**{option: value})


def test_batch_size_of_zero_is_refused() -> None:
    with pytest.raises(InputError, match="batch_size is 0"):
        BatchLoader(split(), 0, CropCollate(MEAN, STD))


def test_processes_that_train_together_share_each_epoch_without_overlap() -> None:
    parts = [training(48, drop_last=True, rank=rank, num_replicas=2) for rank in (0, 1)]
    batches = [list(part) for part in parts]
    assert [len(part) for part in batches] == [4, 4]
    seen = [torch.cat([b.indices for b in part]).tolist() for part in batches]
    assert len({*seen[0], *seen[1]}) == 40


def test_more_processes_than_samples_is_refused() -> None:
    with pytest.raises(InputError, match="3 samples for 4 processes"):
        training(3, num_replicas=4)


@pytest.mark.parametrize(("balanced", "column"), [("frame", "units"), ("group", "groups"), (True, "labels")])
def test_whatever_is_balanced_comes_equally_often(balanced: str | bool, column: str) -> None:
    whole = split(600)
    rare = (torch.arange(600) % 10 == 0).long()
    data = replace(whole, **{column: rare})
    loader = BatchLoader(data, 50, CropCollate(MEAN, STD), shuffle=True, balanced=balanced)
    share = torch.cat([rare[b.indices] for b in loader]).float().mean()
    assert 0.4 < share < 0.6


def test_unknown_balance_is_refused() -> None:
    with pytest.raises(InputError, match="balanced is 'size'; expected none or class or frame or group"):
        training(balanced="size")


def test_balance_by_class_needs_samples_of_one_class() -> None:
    crops = split()
    shared = {name: getattr(crops, name) for name in ("images", "units", "groups", "group_names", "keys")}
    data = ImageSamples(**shared)
    loader = BatchLoader(data, 5, CropCollate(MEAN, STD), shuffle=True, balanced="class")
    with pytest.raises(InputError, match="no class of its own; expected none, frame or group"):
        list(loader)


def test_frames_repeat_by_the_root_of_how_rare_their_rarest_class_is() -> None:
    """Class 0 is in four frames, class 1 in one, class 2 in none, class 3 in two."""
    labels = Ragged(torch.tensor([0, 0, 0, 1, 0, 3, 0, 3]), torch.tensor([0, 2, 4, 6, 6, 7, 8]))
    assert repeat_factors(labels).tolist() == pytest.approx([1, 2, 2**0.5, 1, 1, 2**0.5])
    nothing = Ragged(torch.zeros(0, dtype=torch.int64), torch.zeros(3, dtype=torch.int64))
    assert repeat_factors(nothing).tolist() == [1, 1]
    with pytest.raises(InputError, match="'repeat', but a sample here has no list of objects"):
        repeat_factors(torch.zeros(4, dtype=torch.int64))


def test_chosen_samples_are_repeated_until_an_epoch_is_as_long_as_with_all():
    def indices(split, chosen, generator):
        return SimpleNamespace(indices=chosen)

    loader = BatchLoader(range(10), 2, indices, shuffle=True, chosen=torch.tensor([3, 8, 9]))
    epoch = torch.cat([batch.indices for batch in loader])
    assert len(loader) == 5
    assert sorted(torch.bincount(epoch, minlength=10).unique().tolist()) == [0, 3, 4]
    assert sorted(epoch[:3].tolist()) == [3, 8, 9]
