import torch

from deeprob.models.detection.boxes import area, clip, intersection, iou

SQUARE = torch.tensor([0.0, 0.0, 4.0, 4.0])


def test_area_is_width_times_height():
    assert area(torch.tensor([1.0, 2.0, 4.0, 7.0])) == 15


def test_a_box_inside_out_has_no_area():
    assert area(torch.tensor([4.0, 4.0, 0.0, 0.0])) == 0


def test_intersection_is_what_both_cover():
    assert intersection(SQUARE, torch.tensor([3.0, 1.0, 9.0, 9.0])) == 3


def test_boxes_apart_have_no_intersection():
    assert intersection(SQUARE, torch.tensor([5.0, 5.0, 9.0, 9.0])) == 0


def test_iou_of_every_pair():
    others = torch.stack([SQUARE, torch.tensor([2.0, 0.0, 6.0, 4.0]), torch.tensor([8.0, 8.0, 9.0, 9.0])])
    torch.testing.assert_close(iou(SQUARE[None, None], others[None]), torch.tensor([[1, 8 / 24, 0]]))


def test_iou_of_two_points_is_zero():
    assert iou(torch.zeros(4), torch.zeros(4)) == 0


def test_a_box_is_cut_to_the_outer_edges_of_the_pixels():
    cut = clip(torch.tensor([-9.0, -9.0, 99.0, 99.0]), height=10, width=20)
    assert cut.tolist() == [-0.5, -0.5, 19.5, 9.5]
