"""Pasted objects: pixels, masks and boxes agree, and what is covered is taken off."""

import pytest
import torch

from deeprob.data.settings import DetectionAugmentation
from deeprob.errors import InputError
from deeprob.geometry.boxes import of_mask
from deeprob.tasks.detection.view import DetectionCollate
from deeprob.tasks.instance_segmentation.batch import InstanceBatch
from deeprob.tasks.instance_segmentation.copy_paste import copy_paste


def rectangle(left, top, right, bottom, size=16):
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[top:bottom, left:right] = True
    return mask


def batch_of(*objects, size=16):
    """Images of one value each, 0 and 1 and so on; objects: for each the rectangles of its masks."""
    masks = [torch.stack([rectangle(*o, size) for o in of_image]) for of_image in objects]
    count = len(objects)
    images = torch.arange(count).float().view(-1, 1, 1, 1).expand(-1, 3, size, size).clone()
    labels = [torch.full((len(m),), k) for k, m in enumerate(masks)]
    nothing = [torch.zeros(0, 4)] * count
    matrices = torch.eye(3, dtype=torch.float64).expand(count, 3, 3)
    sizes = torch.full((count, 2), size)
    boxes = [torch.tensor(of_image) - 0.5 for of_image in objects]
    return InstanceBatch(images, boxes, labels, nothing, matrices, torch.arange(count), masks, sizes)


def test_pasted_pixels_are_those_of_the_masks_and_boxes_are_around_what_is_seen():
    given = batch_of([(1, 1, 9, 9)], [(5, 5, 13, 9)])
    pasted = []
    for seed in range(8):
        seen = copy_paste(given, 1.0, 0.1, torch.Generator().manual_seed(seed))
        for k in range(2):
            other = seen.images[k, 0] != k
            of_others = seen.masks[k][seen.labels[k] != k]
            assert torch.equal(other, of_others.any(0))
            assert (seen.masks[k].sum(0) <= 1).all()
            for mask, box in zip(seen.masks[k], seen.boxes[k], strict=True):
                assert box.tolist() == of_mask(mask.numpy()).tolist()
            pasted.append(len(of_others))
    assert {0, 1} == set(pasted)
    assert torch.equal(given.images[0], torch.zeros(3, 16, 16))  # what was given stays as it was


def test_an_object_that_is_nearly_covered_becomes_a_region_to_ignore():
    given = batch_of([(2, 2, 10, 10)], [(2, 2, 10, 9)])
    for seed in range(20):
        seen = copy_paste(given, 1.0, 0.25, torch.Generator().manual_seed(seed))
        if len(seen.masks[0]) and seen.labels[0][0] == 1:
            break
    assert seen.labels[0].tolist() == [1]
    assert seen.crowds[0].tolist() == given.boxes[0].tolist()


def test_without_another_image_or_its_turn_nothing_changes():
    alone = batch_of([(2, 2, 10, 10)])
    assert copy_paste(alone, 1.0, 0.25, torch.Generator()) is alone
    two = batch_of([(2, 2, 10, 10)], [(0, 0, 3, 3)])
    seen = copy_paste(two, 0.0, 0.25, torch.Generator())
    assert torch.equal(seen.images, two.images)
    assert [len(m) for m in seen.masks] == [1, 1]


def test_boxes_without_masks_refuse_it_in_a_line():
    with pytest.raises(InputError, match=r"copy_paste is 0\.5, but boxes have no masks.*view=instances"):
        DetectionCollate((0.5,) * 3, (0.2,) * 3, DetectionAugmentation(copy_paste=0.5), 2)
