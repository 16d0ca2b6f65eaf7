import math

import pytest
import torch

from deeprob.models.detection.contract import Detections
from deeprob.models.detection.decode import (
    Decoding,
    best_candidates,
    decode,
    nms,
    nms_matrix,
    soft_nms,
    suppress,
)


def crowded(some_boxes, count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(count, generator=generator).sort(descending=True).values
    return Detections(some_boxes(count, seed, 12), scores, torch.randint(3, (count,), generator=generator))


@pytest.mark.parametrize("threshold", [0.3, 0.6])
@pytest.mark.parametrize("count", [1, 40, 300])
def test_suppression_keeps_what_the_loop_keeps(some_boxes, oracle, count, threshold):
    found = crowded(some_boxes, count)
    expected = oracle(*found, threshold)
    assert nms(found, threshold).tolist() == expected
    assert nms_matrix(found, threshold).nonzero().squeeze(1).tolist() == expected


def test_suppression_ends_when_enough_are_kept(some_boxes, oracle):
    found = crowded(some_boxes, 300)
    assert nms(found, 0.3, 7).tolist() == oracle(*found, 0.3)[:7]


def test_suppression_of_nothing_keeps_nothing():
    nothing = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    assert nms(nothing, 0.5).tolist() == []
    assert nms_matrix(nothing, 0.5).tolist() == []


def test_boxes_of_two_classes_do_not_suppress_each_other():
    boxes = torch.tensor([[0.0, 0, 10, 10]]).expand(2, 4)
    assert nms(Detections(boxes, torch.tensor([0.9, 0.8]), torch.tensor([0, 1])), 0.5).tolist() == [0, 1]


def test_what_was_suppressed_suppresses_nothing():
    """A chain: each box overlaps the next by 0.6, the one after by 0.33."""
    left = torch.tensor([0.0, 2.5, 5.0])
    boxes = torch.stack([left, torch.zeros(3), left + 10, torch.full((3,), 10.0)], 1)
    found = Detections(boxes, torch.tensor([0.9, 0.8, 0.7]), torch.zeros(3, dtype=torch.int64))
    assert nms(found, 0.5).tolist() == [0, 2]
    assert nms_matrix(found, 0.5).tolist() == [True, False, True]


def test_a_fixed_number_of_rounds_is_enough_for_chains_of_that_length(some_boxes):
    found = crowded(some_boxes, 200)
    assert nms_matrix(found, 0.5, rounds=20).tolist() == nms_matrix(found, 0.5).tolist()


def test_candidates_are_the_best_scores_over_all_classes():
    scores = torch.tensor([[0.1, 0.9], [0.8, 0.05], [0.7, 0.6]])
    boxes = torch.arange(12.0).reshape(3, 4)
    found = best_candidates(scores, boxes, threshold=0.1, most=3)
    torch.testing.assert_close(found.scores, torch.tensor([0.9, 0.8, 0.7]))
    assert found.labels.tolist() == [1, 0, 0]
    assert found.boxes[:, 0].tolist() == [0, 4, 8]


def test_scores_at_the_threshold_are_no_candidates():
    found = best_candidates(torch.tensor([[0.5], [0.25]]), torch.zeros(2, 4), threshold=0.25, most=9)
    assert found.scores.tolist() == [0.5]


def run(scores, boxes, image=(20, 20), most=100):
    return decode(torch.tensor(scores), torch.tensor(boxes), image, Decoding(0.1, 500, 0.5, most))


def test_boxes_are_cut_to_the_image():
    assert run([[0.9]], [[-5.0, 2.0, 30.0, 8.0]]).boxes.tolist() == [[-0.5, 2.0, 19.5, 8.0]]


def test_boxes_outside_the_image_are_not_found():
    assert len(run([[0.9], [0.8]], [[30.0, 2.0, 40.0, 8.0], [1.0, 1.0, 5.0, 5.0]]).scores) == 1


def test_at_most_so_many_are_found():
    apart = [[0.0, 0.0, 3.0, 3.0], [5.0, 5.0, 9.0, 9.0], [11.0, 11.0, 15.0, 15.0]]
    assert run([[0.3], [0.9], [0.8]], apart, most=2).boxes[:, 0].tolist() == [5.0, 11.0]


def test_soft_suppression_lowers_a_score_by_each_overlap_with_a_better_box():
    left = torch.tensor([0.0, 2.5, 5.0])
    boxes = torch.stack([left, torch.zeros(3), left + 10, torch.full((3,), 10.0)], 1)
    found = Detections(boxes, torch.tensor([0.9, 0.8, 0.7]), torch.zeros(3, dtype=torch.int64))
    near, far, sigma = 7.5 / 12.5, 5 / 15, 0.5
    lowered = soft_nms(found, sigma)
    third = 0.7 * math.exp(-(far**2) / sigma)
    second = 0.8 * math.exp(-(near**2) / sigma)
    assert lowered.boxes[:, 0].tolist() == [0.0, 5.0, 2.5]
    torch.testing.assert_close(
        lowered.scores, torch.tensor([0.9, third, second * math.exp(-(near**2) / sigma)])
    )


def test_soft_suppression_leaves_other_classes_alone_and_ends_at_the_threshold():
    boxes = torch.tensor([[0.0, 0, 10, 10]]).expand(3, 4)
    found = Detections(boxes, torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 1, 0]))
    kept = suppress(found, Decoding(0.2, 500, 0.5, 100, soft_nms=0.5))
    assert kept.labels.tolist() == [0, 1]
    torch.testing.assert_close(kept.scores, torch.tensor([0.9, 0.8]))
