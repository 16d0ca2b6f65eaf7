from types import SimpleNamespace

import pytest
import torch

from deeprob.data.batches.labelled import check_share, choose_labelled, without_label
from deeprob.data.batches.samples import Ragged
from deeprob.errors import InputError


@pytest.fixture
def samples():
    labels = torch.tensor([0] * 60 + [1] * 30 + [2] * 3)
    units, groups = torch.arange(93) // 3, torch.arange(93) // 31
    return SimpleNamespace(labels=labels, units=units, groups=groups, __len__=lambda: 93)


def test_every_class_keeps_its_share_and_one_at_least(samples):
    chosen = choose_labelled(samples, 0.1, "sample", seed=0)
    assert torch.bincount(samples.labels[chosen]).tolist() == [6, 3, 1]
    assert chosen.tolist() == sorted(chosen.tolist())


def test_the_seed_decides_which(samples):
    first, again, other = (choose_labelled(samples, 0.1, "sample", seed).tolist() for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_whole_recordings(samples):
    chosen = choose_labelled(samples, 0.3, "group", seed=0)
    assert len(chosen) == 31
    assert len(samples.groups[chosen].unique()) == 1


def test_whole_frames(samples):
    chosen = choose_labelled(samples, 0.1, "frame", seed=0)
    assert len(chosen) == 9
    assert torch.bincount(samples.units[chosen])[samples.units[chosen]].tolist() == [3] * 9


def test_a_class_that_is_left_without_a_label_is_named(samples):
    assert without_label(samples, torch.tensor([0, 61]), ["a", "b", "c"]) == ["c"]


def test_the_same_of_frames_with_several_objects():
    boxes = Ragged(torch.tensor([0, 1, 1, 2]), torch.tensor([0, 2, 3, 4]))
    assert without_label(SimpleNamespace(labels=boxes), torch.tensor([0, 1]), ["a", "b", "c"]) == ["c"]


@pytest.mark.parametrize(("share", "by"), [(0.0, "sample"), (1.5, "sample"), (0.5, "crop")])
def test_what_is_no_share_is_one_line(share, by):
    with pytest.raises(InputError, match=r"data\.labelled"):
        check_share(share, by)
