import dataclasses

import numpy as np
import pytest

from deeprob.geometry.camera import make_intrinsics
from deeprob.sim.look import draw_look
from deeprob.sim.sensor import BASELINE, disturb_depth, disturb_image, make_noise_tile
from deeprob.sim.settings import LookSettings

K = make_intrinsics(500, 500, 49.5, 49.5)
TILE = make_noise_tile()
OFF = dataclasses.replace(
    draw_look(LookSettings(blur=[0, 0], noise=[0, 0]), 1, np.random.default_rng(0)), seed=7
)


def plane(z):
    depth = np.full((100, 100), z, np.float32)
    depth[:, :10] = 0
    return depth


def test_without_a_knob_nothing_changes():
    depth, image = plane(1.0), np.arange(300, dtype=np.uint8).reshape(10, 10, 3)
    before = image.copy()
    disturb_depth(depth, K, OFF, TILE)
    disturb_image(image, OFF, TILE)
    np.testing.assert_array_equal(depth, plane(1.0))
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("z", [0.4, 1.0, 2.0])
def test_depth_noise_grows_with_the_distance_and_keeps_holes(z):
    depth = plane(z)
    disturb_depth(depth, K, dataclasses.replace(OFF, depth_noise=1.0), TILE)
    assert (depth[:, :10] == 0).all()
    assert depth[:, 10:].std() == pytest.approx(0.0012 + 0.0019 * (z - 0.4) ** 2, rel=0.05)
    assert depth[:, 10:].mean() == pytest.approx(z, abs=2e-4)


def test_disparity_comes_in_steps():
    depth = np.linspace(0.5, 3, 10000, dtype=np.float32).reshape(100, 100)
    disturb_depth(depth, K, dataclasses.replace(OFF, depth_disparity=0.125), TILE)
    steps = K[0, 0] * BASELINE / depth / 0.125
    np.testing.assert_allclose(steps, steps.round(), atol=1e-3)


def test_readings_are_lost_beside_an_edge():
    depth = plane(1.0)
    depth[:, 50:] = 1.5
    disturb_depth(depth, K, dataclasses.replace(OFF, depth_holes=2), TILE)
    assert (depth[:, 48:52] == 0).all()
    assert (depth[:, 20:45] == 1).all()
    assert (depth[:, 56:90] == 1.5).all()


def test_image_noise_has_the_deviation_asked_for():
    image = np.full((200, 200, 3), 128, np.uint8)
    disturb_image(image, dataclasses.replace(OFF, noise=5.0), TILE)
    assert image.astype(float).std() == pytest.approx(5, rel=0.03)
    assert image.mean() == pytest.approx(128, abs=0.2)


def test_saturation_0_is_grey():
    image = np.random.default_rng(0).integers(0, 255, (20, 20, 3), np.uint8)
    disturb_image(image, dataclasses.replace(OFF, saturation=0.0), TILE)
    assert np.ptp(image, axis=2).max() == 0


def test_hue_turns_colours_and_leaves_grey():
    image = np.full((4, 4, 3), 90, np.uint8)
    image[0] = (200, 40, 60)
    disturb_image(image, dataclasses.replace(OFF, hue=120.0), TILE)
    np.testing.assert_array_equal(image[0, 0], (60, 200, 40))  # a third of a turn: red is green now
    assert (image[1:] == 90).all()
