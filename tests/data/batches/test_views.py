from types import SimpleNamespace

import pytest
import torch

from deeprob.data.batches.batch import map_tensors
from deeprob.data.batches.views import (
    TwoViewsCollate,
    Unlabelled,
    WithUnlabelledCollate,
    expect_unlabelled,
    inputs_of,
    same_object,
)
from deeprob.errors import InputError
from deeprob.tasks.classification.view import CropBatch


def noisy(samples, indices, generator):
    """Inputs: the sample's number plus a random one."""
    drawn = torch.rand(len(indices), 1, generator=generator)
    return CropBatch(samples[indices, None] + drawn, torch.zeros(len(indices)), indices)


def generator():
    return torch.Generator().manual_seed(0)


def with_unlabelled(same_geometry):
    pool = Unlabelled(torch.arange(10.0), torch.tensor([5, 6, 7]))
    return WithUnlabelledCollate(noisy, noisy, noisy, lambda: pool, 3, same_geometry)


def test_two_views_are_of_the_same_samples_and_differ():
    batch = TwoViewsCollate(noisy)(torch.arange(10.0), torch.tensor([2, 3]), generator())
    assert batch.inputs.floor().tolist() == batch.others.floor().tolist() == [[2], [3]]
    assert not torch.equal(batch.inputs, batch.others)
    assert batch.indices.tolist() == [2, 3]


def test_unlabelled_samples_come_from_the_pool_in_the_ratio():
    batch = with_unlabelled(False)(torch.arange(10.0), torch.tensor([0, 1]), generator())
    assert batch.labelled.indices.tolist() == batch.indices.tolist() == [0, 1]
    assert len(batch.weak.images) == len(batch.strong.images) == 6
    assert set(batch.weak.indices.tolist()) <= {5, 6, 7}
    assert torch.equal(batch.weak.indices, batch.strong.indices)
    assert not torch.equal(batch.weak.images, batch.strong.images)


def test_with_the_same_geometry_both_views_draw_the_same_numbers():
    batch = with_unlabelled(True)(torch.arange(10.0), torch.tensor([0, 1]), generator())
    assert torch.equal(batch.weak.images, batch.strong.images)


def test_a_batch_of_batches_is_changed_as_one():
    batch = with_unlabelled(True)(torch.arange(10.0), torch.tensor([0, 1]), generator())
    doubled = map_tensors(batch, lambda t: 2 * t)
    assert torch.equal(doubled.strong.images, 2 * batch.strong.images)
    assert inputs_of(doubled) is doubled.labelled.images


def test_nothing_unlabelled_is_one_line():
    with pytest.raises(InputError, match="every training sample has its label"):
        expect_unlabelled(Unlabelled(None, torch.tensor([], dtype=torch.int64)))


def test_the_other_view_shows_the_same_object_of_the_same_scene():
    units = torch.tensor([0, 0, 0, 1, 1, 1, 1])
    labels = torch.tensor([2, 0, 2, 0, 2, 0, 0])
    split = SimpleNamespace(units=units, class_ids=labels)
    indices = torch.tensor([6, 1, 0, 4, 3]).repeat(50)
    others = same_object(split, indices, generator())
    assert torch.equal(units[others], units[indices])
    assert torch.equal(labels[others], labels[indices])
    alone = (indices == 1) | (indices == 4)
    assert torch.equal(others == indices, alone)  # another one wherever there is one
    assert set(others[indices == 6].tolist()) == {3, 5}


def test_samples_without_a_class_have_no_objects():
    with pytest.raises(InputError, match="which object"):
        same_object(SimpleNamespace(class_ids=None), torch.tensor([0]), generator())
