import torch

from deeprob.models.detection.anchors import anchors_of, shapes_of


def test_every_ratio_has_the_same_area_and_its_height_over_width():
    sides = 2 * shapes_of(8, (0.5, 2.0), rounded=False)
    torch.testing.assert_close(sides.prod(1), torch.tensor([64.0, 64.0]))
    torch.testing.assert_close(sides[:, 1] / sides[:, 0], torch.tensor([0.5, 2.0]))


def test_published_anchors_are_of_whole_half_pixels():
    assert shapes_of(32, (0.5, 1.0, 2.0), rounded=True).tolist() == [[23, 11], [16, 16], [11, 23]]


def test_anchors_lie_about_the_middles_of_the_cells_cell_by_cell():
    (level,) = anchors_of([(1, 2)], [8], (8, 16), torch.zeros(()), [4], (1.0, 4.0))
    assert level.tolist() == [
        [1.5, 1.5, 5.5, 5.5],
        [2.5, -0.5, 4.5, 7.5],
        [9.5, 1.5, 13.5, 5.5],
        [10.5, -0.5, 12.5, 7.5],
    ]
