import torch

from deeprob.models.detection.locations import locations_of


def test_locations_are_the_middles_of_the_cells_row_by_row():
    at = locations_of([(1, 2), (1, 1)], (8, 16), (8, 16), torch.zeros(()))
    assert at.points.tolist() == [[3.5, 3.5], [11.5, 3.5], [7.5, 7.5]]
    assert at.strides.tolist() == [8, 8, 16]


def test_corners_step_by_the_size_of_the_image_over_that_of_the_map():
    at = locations_of([(1, 2)], (64,), (100, 150), torch.zeros(()), corners=True)
    assert at.points.tolist() == [[-0.5, -0.5], [74.5, -0.5]]
