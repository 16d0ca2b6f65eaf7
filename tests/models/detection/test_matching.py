import torch

from deeprob.models.detection import matching
from deeprob.models.detection.assignment import BACKGROUND, IGNORED, truth_of

from .conftest import nothing, pair_iou


def by_loop(anchors, boxes, low, high, keep_best):
    overlap = [[pair_iou(a, b) for b in boxes] for a in anchors]
    best_of_box = [max((row[g] for row in overlap), default=0) for g in range(len(boxes))]
    matched = []
    for row in overlap:
        best = max(row, default=-1)
        g = row.index(best) if row else -1
        told = g if best >= high else BACKGROUND if best < low else IGNORED
        if keep_best and any(row[g] == best_of_box[g] > 0 for g in range(len(boxes))):
            told = g
        matched.append(told)
    return matched


def test_matching_is_the_papers_rule_anchor_by_anchor(targets, some_boxes):
    anchors = some_boxes(200, seed=9)
    for keep_best in (False, True):
        got = matching.match(truth_of(targets), anchors, 0.2, 0.5, keep_best)
        for image, boxes in enumerate(targets.boxes):
            expected = by_loop(anchors.tolist(), boxes.tolist(), 0.2, 0.5, keep_best)
            assert got[image].tolist() == expected


def test_each_image_may_have_its_own_boxes(targets, some_boxes):
    boxes = torch.stack([some_boxes(30, seed) for seed in range(4)])
    got = matching.match(truth_of(targets), boxes, 0.3, 0.3, keep_best=False)
    for image in range(4):
        alone = matching.match(truth_of(targets), boxes[image], 0.3, 0.3, keep_best=False)
        assert torch.equal(got[image], alone[image])


def test_without_a_box_all_is_background(some_boxes):
    assert (matching.match(truth_of(nothing()), some_boxes(9, 0), 0.3, 0.7, True) == BACKGROUND).all()


def test_what_lies_half_in_a_crowd_is_not_asked():
    boxes = torch.tensor([[0.0, 0, 10, 10], [6.0, 0, 16, 10], [0.0, 0, 4, 4]])
    matched = torch.tensor([[BACKGROUND, BACKGROUND, 0]])
    got = matching.ignore_crowds(matched, boxes, [torch.tensor([[0.0, 0, 9, 10]])])
    assert got.tolist() == [[IGNORED, BACKGROUND, 0]]


def count(matched, number, share):
    drawn = matching.sample(torch.tensor(matched), number, share)
    return [
        (int((drawn.is_positive & (drawn.image == i)).sum()), int((drawn.image == i).sum()))
        for i in range(len(matched))
    ]


def test_positives_are_drawn_up_to_their_share_and_negatives_fill_up():
    many, few = [0] * 10 + [BACKGROUND] * 10, [0] * 2 + [BACKGROUND] * 18
    assert count([many, few], 8, 0.5) == [(4, 8), (2, 8)]


def test_what_is_ignored_is_not_drawn():
    assert count([[0, IGNORED, BACKGROUND, IGNORED]], 4, 0.5) == [(1, 2)]


def test_every_positive_is_drawn_about_as_often():
    torch.manual_seed(0)
    matched = torch.zeros(400, 8, dtype=torch.int64)
    drawn = matching.sample(matched, 4, 0.5)
    times = torch.bincount(drawn.row, minlength=8)
    assert times.sum() == 800
    assert (times - 100).abs().max() < 40


def test_indices_point_at_what_was_drawn():
    matched = torch.tensor([[BACKGROUND, 3, BACKGROUND, 5]])
    drawn = matching.sample(matched, 4, 0.5)
    assert torch.equal(matched[drawn.image, drawn.row] >= 0, drawn.is_positive)


def test_a_batch_where_only_crowds_are_has_nothing_to_ask():
    crowd = nothing(1)._replace(crowds=[torch.tensor([[0.0, 0, 50, 50]])])
    boxes = torch.tensor([[1.0, 1, 9, 9]])
    matched = matching.match(truth_of(crowd), boxes, 0.3, 0.7, True)
    assert len(matching.sample(matching.ignore_crowds(matched, boxes, crowd.crowds), 4, 0.5).row) == 0
