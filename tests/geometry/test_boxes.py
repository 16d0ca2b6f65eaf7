import numpy as np
import pytest
from pycocotools import mask as coco

from deeprob.geometry.boxes import (
    from_coco,
    from_edges,
    from_pixels,
    from_span,
    of_image,
    of_mask,
    to_coco,
    to_edges,
    to_span,
)

# The pixels of columns 3 to 7 and rows 2 to 4, as each kind of file writes them.
BOX = [2.5, 1.5, 7.5, 4.5]


@pytest.fixture
def mask() -> np.ndarray:
    mask = np.zeros((10, 12), bool)
    mask[2:5, 3:8] = True
    return mask


@pytest.mark.parametrize(
    "box",
    [
        from_edges([3, 2, 8, 5]),
        from_coco([3, 2, 5, 3]),
        from_pixels([3, 2, 7, 4]),
        from_pixels([4, 3, 8, 5], first=1),
        from_span([3, 2, 4, 2]),
    ],
)
def test_the_same_pixels_are_the_same_box_in_every_convention(box: np.ndarray, mask: np.ndarray) -> None:
    np.testing.assert_array_equal(box, BOX)
    np.testing.assert_array_equal(box, of_mask(mask))


def test_coco_boxes_are_those_of_pycocotools(mask: np.ndarray) -> None:
    runs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    np.testing.assert_array_equal(to_coco(of_mask(mask)), coco.toBbox(runs))


def test_edges_come_back() -> None:
    np.testing.assert_array_equal(to_edges(BOX), [3, 2, 8, 5])


def test_spans_come_back() -> None:
    assert to_span(BOX) == [3, 2, 4, 2]


def test_an_image_is_covered_by_its_box() -> None:
    np.testing.assert_array_equal(of_image((10, 12, 3)), [-0.5, -0.5, 11.5, 9.5])


def test_an_empty_mask_has_no_box() -> None:
    assert of_mask(np.zeros((4, 5), bool)) is None
