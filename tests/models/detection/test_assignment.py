import math

import pytest
import torch

from deeprob.models.detection import assignment
from deeprob.models.detection.assignment import BACKGROUND, IGNORED, LEAST
from deeprob.models.detection.contract import Targets

from .conftest import nothing, pair_iou


def gaps(point, box, stride):
    """Distances to the middle, and half the sides, of a box widened to `LEAST` cells."""
    half = [max(box[2 + i] - box[i], LEAST * stride) / 2 for i in range(2)]
    return [abs(point[i] - (box[i] + box[2 + i]) / 2) for i in range(2)], half


def centre_ness(point, box, stride):
    distance, half = gaps(point, box, stride)
    return math.sqrt(math.prod((h - d) / (h + d) for d, h in zip(distance, half, strict=True)))


def is_inside(point, box, stride):
    return all(d <= h for d, h in zip(*gaps(point, box, stride), strict=True))


def sides(box):
    return box[2] - box[0], box[3] - box[1]


def by_loop(boxes, labels, at, cost_of, quality_of):
    """Give each location the cheapest box for which cost_of(n, g) is not None: labels, boxes, quality."""
    points, strides = at.points.tolist(), at.strides.tolist()
    result = []
    for n in range(len(points)):
        costs = [(cost_of(n, g), g) for g in range(len(boxes)) if cost_of(n, g) is not None]
        if not costs:
            result.append((BACKGROUND, None, 0.0))
            continue
        g = min(costs)[1]
        quality = quality_of(n, g) if quality_of else centre_ness(points[n], boxes[g], strides[n])
        result.append((labels[g], boxes[g], quality))
    return result


def compare(got, image, expected):
    labels = [label for label, _, _ in expected]
    assert got.labels[image].tolist() == labels
    for n, (label, box, quality) in enumerate(expected):
        if label >= 0:
            torch.testing.assert_close(got.boxes[image, n], torch.tensor(box))
        assert got.quality[image, n].item() == pytest.approx(quality, abs=1e-5)


def test_centre_is_the_papers_rule_box_by_box(targets, at):
    got = assignment.centre(assignment.truth_of(targets), at)
    points, strides = at.points.tolist(), at.strides.tolist()
    for image in range(4):
        boxes, labels = targets.boxes[image].tolist(), targets.labels[image].tolist()

        def cost(n, g, boxes=boxes):
            stride, (width, height) = strides[n], sides(boxes[g])
            level = 8 if max(width, height) < 64 else 16
            near = all(d <= 1.5 * stride for d in gaps(points[n], boxes[g], stride)[0])
            fits = near and stride == level and is_inside(points[n], boxes[g], stride)
            return width * height if fits else None

        expected = by_loop(boxes, labels, at, cost, None)
        compare(got, image, expected)
    assert (got.labels >= 0).sum(1).tolist()[1] == 0


def test_longer_boxes_go_to_coarser_levels(at):
    boxes = torch.tensor([[0.0, 0.0, 63.0, 9.0], [0.0, 30.0, 70.0, 60.0], [-30.0, -30.0, 110.0, 90.0]])
    for i, stride in enumerate((8, 16, 32)):
        one = Targets([boxes[i : i + 1]], [torch.tensor([0])], [torch.zeros(0, 4)])
        got = assignment.centre(assignment.truth_of(one), at)
        assert at.strides[got.labels[0] >= 0].unique().tolist() == [stride]


@pytest.mark.parametrize("seed", range(5))
def test_every_box_alone_has_a_location_however_small_or_thin(at, seed, some_boxes):
    for box in torch.cat([some_boxes(40, seed, 0.5, 8.0), some_boxes(40, seed, 1.0, 60.0)]):
        one = Targets([box[None]], [torch.tensor([2])], [torch.zeros(0, 4)])
        assert (assignment.centre(assignment.truth_of(one), at).labels == 2).any()


def test_of_two_boxes_the_smaller_has_the_location(at):
    boxes = torch.tensor([[0.0, 0.0, 60.0, 60.0], [25.0, 25.0, 36.0, 36.0]])
    one = Targets([boxes], [torch.tensor([0, 1])], [torch.zeros(0, 4)])
    got = assignment.centre(assignment.truth_of(one), at)
    inside = ((at.points - 30.5).abs() <= 5.5).all(1) & (at.strides == 8)
    assert (got.labels[0, inside] == 1).all()


def test_quality_is_one_at_the_middle(at):
    box = torch.tensor([[11.5 - 9, 11.5 - 20, 11.5 + 9, 11.5 + 20]])
    got = assignment.centre(assignment.truth_of(Targets([box], [torch.tensor([0])], [torch.zeros(0, 4)])), at)
    middle = (at.points == 11.5).all(1) & (at.strides == 8)
    assert got.quality[0, middle].item() == 1


def test_atss_is_the_papers_rule_box_by_box(targets, at):
    got = assignment.atss(assignment.truth_of(targets), at)
    points, strides = at.points.tolist(), at.strides.tolist()
    anchors = [
        [p[0] - 4 * s, p[1] - 4 * s, p[0] + 4 * s, p[1] + 4 * s] for p, s in zip(points, strides, strict=True)
    ]
    for image in range(4):
        boxes, labels = targets.boxes[image].tolist(), targets.labels[image].tolist()
        limits, chosen = [], []
        for box in boxes:
            near = []
            for stride in (8, 16, 32):
                level = [n for n in range(len(points)) if strides[n] == stride]
                near += sorted(level, key=lambda n, b=box: math.hypot(*gaps(points[n], b, 0)[0]))[:9]
            overlaps = torch.tensor([pair_iou(anchors[n], box) for n in near])
            limits.append(float(overlaps.mean() + overlaps.std()))
            chosen.append(near)

        def cost(n, g, boxes=boxes, limits=limits, chosen=chosen):
            overlap = pair_iou(anchors[n], boxes[g])
            fits = n in chosen[g] and overlap >= limits[g] and is_inside(points[n], boxes[g], strides[n])
            return -overlap if fits else None

        compare(got, image, by_loop(boxes, labels, at, cost, None))


def test_tal_is_the_papers_rule_box_by_box(targets, at, some_boxes):
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(4, len(at.points), 3, generator=generator)
    reach = torch.rand(4, len(at.points), 4, generator=generator) * 2 * at.strides[:, None]
    predicted = torch.cat([at.points - reach[..., :2], at.points + reach[..., 2:]], 2)
    got = assignment.tal(assignment.truth_of(targets), at, logits, predicted)
    points, strides = at.points.tolist(), at.strides.tolist()
    for image in range(4):
        boxes, labels = targets.boxes[image].tolist(), targets.labels[image].tolist()
        overlap = [[pair_iou(p, box) for p in predicted[image].tolist()] for box in boxes]
        score = logits[image].sigmoid().tolist()
        aligned = [
            [score[n][labels[g]] * overlap[g][n] ** 6 for n in range(len(points))] for g in range(len(boxes))
        ]
        ranked = []
        for g, box in enumerate(boxes):
            inside = [n for n in range(len(points)) if is_inside(points[n], box, strides[n])]
            ranked.append(sorted(inside, key=lambda n, g=g: -aligned[g][n])[:10])

        def cost(n, g, overlap=overlap, ranked=ranked):
            return -overlap[g][n] if n in ranked[g] else None

        owner = [
            min(((cost(n, g), g) for g in range(len(boxes)) if n in ranked[g]), default=(0, -1))[1]
            for n in range(len(points))
        ]

        def quality(n, g, owner=owner, aligned=aligned, overlap=overlap):
            own = [m for m in range(len(points)) if owner[m] == g]
            best = max(aligned[g][m] for m in own)
            return aligned[g][n] / max(best, 1e-9) * max(overlap[g][m] for m in own)

        compare(got, image, by_loop(boxes, labels, at, cost, quality))


def test_nothing_is_asked_of_the_background_in_a_crowd(targets, at):
    before = assignment.centre(assignment.truth_of(targets), at)
    after = assignment.ignore_crowds(before, at, targets.crowds)
    x, y = at.points.unbind(1)
    inside = (x >= 10) & (x <= 50) & (y >= 10) & (y <= 40)
    assert (after.labels[1] == IGNORED).tolist() == inside.tolist()
    assert torch.equal(after.labels[2] >= 0, before.labels[2] >= 0)
    assert torch.equal(after.labels[0], before.labels[0])


def test_a_batch_without_a_box_is_background(at):
    truth, zeros = assignment.truth_of(nothing()), torch.zeros(2, len(at.points), 4)
    for got in (
        assignment.centre(truth, at),
        assignment.atss(truth, at),
        assignment.tal(truth, at, zeros, zeros),
    ):
        assert (got.labels == BACKGROUND).all()
        assert not got.quality.any()
