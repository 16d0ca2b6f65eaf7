"""Pictures with boxes: where they lie and that their text is there."""

import numpy as np
import pytest

from deeprob.page.overlays import ESTIMATED, LABELLED_SIDE, TRUE, labelled_boxes

BLACK = np.zeros((60, 120, 3), np.uint8)


def of(colour, picture):
    """Rows and columns of the pixels that have a colour."""
    return np.nonzero((picture == np.array(colour)).all(-1))


def test_a_box_lies_where_its_pixels_are_in_the_larger_picture():
    picture = labelled_boxes(BLACK, [(np.array([29.5, 14.5, 59.5, 44.5]), TRUE, "")])
    assert picture.shape == (240, LABELLED_SIDE, 3)
    rows, columns = of(TRUE, picture)
    edges = [columns.min(), rows.min(), columns.max(), rows.max()]
    np.testing.assert_allclose(edges, [119.5, 59.5, 239.5, 179.5], atol=1.6)


@pytest.mark.parametrize("size", [(60, 120), (1200, 2400)])
def test_text_is_as_large_whatever_the_image(size):
    box = np.array([0.25, 0.5, 0.5, 0.75]) * [size[1], size[0], size[1], size[0]]
    image = np.zeros((*size, 3), np.uint8)
    plain, written = (labelled_boxes(image, [(box, ESTIMATED, text)]) for text in ("", "ball 0.42"))
    rows, columns = np.nonzero((plain != written).any(-1))
    assert 13 <= np.ptp(rows) <= 18
    assert 35 <= np.ptp(columns) <= 90


@pytest.mark.parametrize("corner", [(0, 0), (110, 50), (-20, -20), (119, 59)])
def test_what_is_written_stays_inside(corner):
    box = np.array([*corner, corner[0] + 30, corner[1] + 30], float)
    plain, written = (labelled_boxes(BLACK, [(box, ESTIMATED, text)]) for text in ("", "Tor 0.42"))
    rows, columns = np.nonzero((plain != written).any(-1))
    assert np.ptp(rows) >= 12
    assert np.ptp(columns) >= 35


def test_letters_outside_of_ascii_are_written():
    box = np.array([10.0, 30, 50, 50])
    letters = [labelled_boxes(BLACK, [(box, TRUE, text)]) for text in ("Ä", "?")]
    assert (letters[0] != letters[1]).any()


def test_texts_of_one_place_do_not_hide_each_other():
    box = np.array([40.0, 30, 60, 50])
    both = labelled_boxes(BLACK, [(box, TRUE, "human"), (box, ESTIMATED, "ball 0.42")])
    for colour, text in ((TRUE, "human"), (ESTIMATED, "ball 0.42")):
        alone = labelled_boxes(BLACK, [(box, colour, text)])
        outline = labelled_boxes(BLACK, [(box, colour, "")])
        ground = len(of(colour, alone)[0]) - len(of(colour, outline)[0])
        assert len(of(colour, both)[0]) >= ground > 300
