import numpy as np
import pytest

from deeprob.tasks.instance_segmentation.masks import from_runs, move, paste, run_lengths


def disc(x, y, radius, height=40, width=50):
    rows, columns = np.mgrid[:height, :width]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


@pytest.mark.parametrize(
    "mask", [disc(12, 20, 7), disc(0, 0, 5), np.zeros((3, 4), bool), np.ones((3, 4), bool), ~disc(49, 39, 3)]
)
def test_runs_give_the_mask_back(mask):
    runs = run_lengths(mask)
    assert runs.sum() == mask.size
    assert np.array_equal(from_runs(runs, *mask.shape), mask)


def test_runs_begin_outside():
    assert run_lengths(np.array([[False, True, True], [True, False, False]])).tolist() == [1, 3, 2]
    assert run_lengths(np.array([[True, False, False]])).tolist() == [0, 1, 2]


def test_a_mask_moves_with_its_image():
    mask = disc(12, 20, 7)
    shifted = move(mask, np.array([[1.0, 0, 5], [0, 1, -2], [0, 0, 1]]), 40, 50)
    assert np.array_equal(shifted, disc(17, 18, 7))
    mirrored = move(mask, np.array([[-1.0, 0, 49], [0, 1, 0], [0, 0, 1]]), 40, 50)
    assert np.array_equal(mirrored, mask[:, ::-1])
    assert move(mask, np.eye(3), 40, 50) is mask


def test_a_mask_that_fills_its_box_is_its_box():
    """The pixels whose middles are in it, and no others."""
    ones = np.ones((28, 28), np.float32)
    mask = paste(ones, np.array([9.6, 4.4, 20.4, 12.2]), 40, 50)
    wanted = np.zeros((40, 50), bool)
    wanted[5:13, 10:21] = True
    assert np.array_equal(mask, wanted)


@pytest.mark.parametrize("x", [20.0, 20.25, 20.5, 20.75])
def test_a_disc_lands_where_its_box_is(x):
    """Between pixels too: a pixel's shift of either would leave an IoU of 0.87."""
    cells = (np.arange(28) + 0.5) / 14 - 1
    distance = np.hypot(*np.meshgrid(cells, cells))
    soft = np.clip(0.5 + 14 * (1 - distance), 0, 1).astype(np.float32)
    mask = paste(soft, np.array([x - 8.8, 11.2, x + 8.8, 28.8]), 40, 50)
    wanted = disc(x, 20, 8.8)
    assert (mask & wanted).sum() / (mask | wanted).sum() > 0.97


def test_a_box_beyond_the_image_is_cut():
    ones = np.ones((28, 28), np.float32)
    assert paste(ones, np.array([-5.0, -5, 3.2, 2.2]), 40, 50).sum() == 4 * 3
    assert not paste(ones, np.array([60.0, 5, 70, 15]), 40, 50).any()
    assert not paste(ones, np.array([5.2, 5, 5.4, 15]), 40, 50).any()
