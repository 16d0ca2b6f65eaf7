import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeprob.data.batches.images import resize
from deeprob.data.frame import Frame, Instance
from deeprob.errors import InputError
from deeprob.tasks.classification.view import ClassificationView, pixel_range


def frame(*instances: Instance) -> Frame:
    image = np.zeros((20, 30, 3), np.uint8)
    image[..., 0] = np.arange(20)[:, None]
    image[..., 1] = np.arange(30)[None, :]
    return Frame(image, instances, "test", "f.png", "0")


def instance(left: float, top: float, right: float, bottom: float, **labels) -> Instance:
    return Instance(1, np.array([left, top, right, bottom], float), **labels)


def test_crop_of_its_own_size_holds_exactly_the_boxes_pixels() -> None:
    crops, labels, keys = ClassificationView(size=8).crops(frame(instance(3.5, 5.5, 11.5, 13.5)))
    np.testing.assert_array_equal(crops[0], frame().image[6:14, 4:12])
    assert labels.tolist() == [1]
    assert keys == ["f.png box 0"]


def test_box_of_the_whole_image_is_the_whole_image() -> None:
    assert pixel_range(np.array([-0.5, -0.5, 29.5, 19.5]), 30, 20) == (0, 0, 30, 20)


@settings(max_examples=100, deadline=None)
@given(left=st.integers(0, 20), size=st.integers(1, 9), digits=st.integers(8, 12))
def test_pixel_range_survives_the_rounding_of_a_text_file(left: int, size: int, digits: int) -> None:
    centre, width = round((left + size / 2) / 30, digits), round(size / 30, digits)
    box = np.array([(centre - width / 2) * 30 - 0.5, -0.5, (centre + width / 2) * 30 - 0.5, 1.5])
    assert pixel_range(box, 30, 20) == (left, 0, left + size, 2)


def test_boxes_too_small_or_too_hidden_are_left_out() -> None:
    view = ClassificationView(size=4, min_pixels=6, min_visible_fraction=0.5)
    crops, _, keys = view.crops(
        frame(
            instance(0, 0, 4.9, 15),  # five pixels wide
            instance(0.5, 0.5, 6.5, 6.5),
            instance(0, 0, 10, 10, visible_fraction=0.4),
            instance(0, 0, 10, 10, visible_fraction=0.6),
        )
    )
    assert keys == ["f.png box 1", "f.png box 3"]
    assert crops.shape == (2, 4, 4, 3)


def test_frame_without_boxes_gives_no_crops() -> None:
    crops, labels, keys = ClassificationView(size=5).crops(frame())
    assert crops.shape == (0, 5, 5, 3)
    assert len(labels) == len(keys) == 0
    assert ClassificationView().rows(frame(), "train").columns["windows"].shape == (0, 4)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, (0, 5, 6, 20)),
        ({"margin": 0.5}, (-3, -3, 9, 28)),  # beyond the frame's edges
        ({"square": True}, (-4, 5, 11, 20)),
    ],
)
def test_a_crops_window_is_what_it_shows_of_the_frame(settings: dict, expected: tuple) -> None:
    seen = ClassificationView(size=8, **settings).rows(frame(instance(-0.5, 4.5, 5.5, 19.5)), "train")
    left, top, right, bottom = expected
    wanted = [2 * left / 30 - 1, 2 * top / 20 - 1, 2 * right / 30 - 1, 2 * bottom / 20 - 1]
    np.testing.assert_allclose(seen.columns["windows"], [wanted], rtol=1e-6)


def test_margin_adds_context_and_repeats_the_border_outside() -> None:
    crops, _, _ = ClassificationView(size=12, margin=0.25).crops(frame(instance(-0.5, -0.5, 7.5, 7.5)))
    assert crops[0, 0, :, 1].tolist() == [0, 0, *range(10)]
    assert crops[0, :, 0, 0].tolist() == [0, 0, *range(10)]


def test_square_view_keeps_the_shape_and_the_centre() -> None:
    crops, _, _ = ClassificationView(size=8, square=True).crops(frame(instance(9.5, 3.5, 11.5, 11.5)))
    assert crops.shape == (0, 8, 8, 3)  # two pixels wide: under the minimum before it is made square
    view = ClassificationView(size=8, square=True, min_pixels=2)
    crops, _, _ = view.crops(frame(instance(9.5, 3.5, 11.5, 11.5)))
    assert crops[0, 0, :, 1].tolist() == list(range(7, 15))


@settings(max_examples=60, deadline=None)
@given(
    left=st.floats(-0.5, 20),
    top=st.floats(-0.5, 12),
    width=st.floats(1, 40),
    height=st.floats(1, 40),
    margin=st.floats(0, 3),
    square=st.booleans(),
)
def test_every_box_gives_a_crop_of_the_right_size(left, top, width, height, margin, square) -> None:
    box = instance(left, top, min(left + width, 29.5), min(top + height, 19.5))
    crops, _, _ = ClassificationView(size=7, margin=margin, min_pixels=1, square=square).crops(frame(box))
    assert crops.shape[1:] == (7, 7, 3)
    assert len(crops) <= 1


def test_shrinking_averages_the_area() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    image[::2, ::2] = 200
    np.testing.assert_array_equal(resize(image, 2, 2), np.full((2, 2, 3), 50))


@pytest.mark.parametrize(
    "setting",
    [{"size": 0}, {"margin": -0.1}, {"margin": float("nan")}, {"min_visible_fraction": 2}, {"channels": 4}],
)
def test_impossible_settings_are_refused_by_name(setting: dict) -> None:
    with pytest.raises(InputError, match=f"view.{next(iter(setting))}"):
        ClassificationView(**setting)
