import math

import pytest
import torch

from deeprob.layers import concat, deltas_to_boxes, dice_loss, distances_to_boxes, split, take_rows


def test_a_box_lies_around_its_point():
    points = torch.tensor([[10.0, 20.0]], requires_grad=True)
    distances = torch.tensor([[1.0, 2.0, 3.0, 4.0]], requires_grad=True)
    boxes = distances_to_boxes(points, distances)
    assert boxes.tolist() == [[9, 18, 13, 24]]
    upstream = torch.tensor([[1.0, 10.0, 100.0, 1000.0]])
    dpoints, ddistances = torch.autograd.grad(boxes, (points, distances), upstream)
    assert dpoints.tolist() == [[101, 1010]]
    assert ddistances.tolist() == [[-1, -10, 100, 1000]]


def test_the_points_of_all_images_collect_their_gradients():
    points = torch.zeros(3, 2, requires_grad=True)
    boxes = distances_to_boxes(points, torch.ones(5, 3, 4))
    assert torch.autograd.grad(boxes.sum(), points)[0].eq(2 * 5).all()


def test_deltas_of_zero_leave_a_box_alone():
    boxes = torch.tensor([[1.0, 2.0, 5.0, 10.0]])
    assert deltas_to_boxes(boxes, torch.zeros(1, 4)).tolist() == boxes.tolist()


def test_deltas_move_in_sizes_and_grow_by_powers():
    boxes = torch.tensor([[0.0, 0.0, 4.0, 8.0]])
    deltas = torch.tensor([[0.5, -0.25, math.log(2), math.log(0.5)]])
    expected = torch.tensor([[0.0, 0.0, 8.0, 4.0]])  # centre (2, 4) to (4, 2), size (4, 8) to (8, 4)
    torch.testing.assert_close(deltas_to_boxes(boxes, deltas), expected)
    weights = (10.0, 10.0, 5.0, 5.0)
    weighted = deltas_to_boxes(boxes, deltas * torch.tensor(weights), weights)
    torch.testing.assert_close(weighted, expected)


def test_growth_is_clamped_and_has_no_gradient_there():
    boxes = torch.tensor([[0.0, 0.0, 16.0, 16.0]])
    deltas = torch.tensor([[0.0, 0.0, 80.0, 0.0]], requires_grad=True)
    grown = deltas_to_boxes(boxes, deltas)
    torch.testing.assert_close(grown, torch.tensor([[-492.0, 0.0, 508.0, 16.0]]))
    (ddeltas,) = torch.autograd.grad(grown[0, 2] + grown[0, 3], deltas)
    assert ddeltas.tolist() == [[16, 16, 0, 8]]


def test_a_proposal_has_deltas_for_each_class():
    boxes = torch.rand(6, 1, 2).repeat(1, 1, 2) + torch.tensor([0.0, 0.0, 1.0, 2.0])
    deltas = torch.randn(6, 3, 4)
    together = deltas_to_boxes(boxes, deltas)
    for c in range(3):
        torch.testing.assert_close(together[:, c], deltas_to_boxes(boxes[:, 0], deltas[:, c]))


@pytest.mark.parametrize("decode", [distances_to_boxes, deltas_to_boxes])
def test_no_boxes_are_no_error(decode):
    anchors = torch.zeros(0, 2 if decode is distances_to_boxes else 4)
    deltas = torch.zeros(0, 4, requires_grad=True)
    boxes = decode(anchors, deltas)
    assert boxes.shape == (0, 4)
    assert torch.autograd.grad(boxes.sum(), deltas)[0].shape == (0, 4)


class Head(torch.nn.Module):
    def forward(self, fine, coarse, points, positives):
        classes, distances, deltas = split(concat([fine, coarse], dim=1), [2, 4, 4], dim=2)
        boxes = deltas_to_boxes(distances_to_boxes(points, distances.exp()), deltas)
        chosen = take_rows(boxes, *positives)
        return chosen, dice_loss(classes.sigmoid(), torch.ones_like(classes))


def test_a_head_is_exported():
    inputs = torch.randn(2, 6, 10), torch.randn(2, 3, 10), torch.rand(9, 2)
    positives = torch.tensor([0, 1, 1]), torch.tensor([3, 8, 0])
    exported = torch.export.export(Head(), (*inputs, positives)).module()
    for got, expected in zip(exported(*inputs, positives), Head()(*inputs, positives), strict=True):
        torch.testing.assert_close(got, expected)
