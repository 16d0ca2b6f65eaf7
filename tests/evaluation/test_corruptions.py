import numpy as np
import pytest

from deeprob.evaluation.corruptions import CORRUPTIONS, NUM_SEVERITIES, corrupt


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Smooth pictures with detail, such as a blur or a compression can spoil."""
    y, x = np.mgrid[:24, :32]
    rng = np.random.default_rng(0)
    base = 120 + 50 * np.sin(x / 3 + rng.uniform(0, 6, (6, 1, 1))) + 30 * np.cos(y / 2)
    return np.clip(base[..., None] + rng.normal(0, 8, (6, 24, 32, 3)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_each_severity_is_farther_from_the_picture(images, name):
    distances = [
        np.abs(corrupt(images, name, severity).astype(float) - images).mean()
        for severity in range(1, NUM_SEVERITIES + 1)
    ]
    assert distances == sorted(distances)
    assert distances[0] > 0


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_shape_type_and_the_original_are_kept(images, name):
    before = images.copy()
    spoilt = corrupt(images, name, 3)
    assert (spoilt.shape, spoilt.dtype) == (images.shape, np.uint8)
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_same_arguments_give_the_same_images(images, name):
    np.testing.assert_array_equal(corrupt(images, name, 2, seed=1), corrupt(images, name, 2, seed=1))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_no_images_are_no_problem(images, name):
    assert corrupt(images[:0], name, 1).shape == (0, 24, 32, 3)


def test_noise_has_the_strength_it_says():
    grey = np.full((50, 16, 16, 3), 128, np.uint8)
    assert corrupt(grey, "gaussian_noise", 2).std() == pytest.approx(0.08 * 255, rel=0.03)


def test_occlusion_covers_the_area_it_says(images):
    covered = (corrupt(np.zeros((4, 40, 40, 3), np.uint8), "occlusion", 3) == 128).all(axis=-1)
    np.testing.assert_allclose(covered.mean(axis=(1, 2)), 0.2, atol=0.02)


def test_light_scales_and_shifts():
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    np.testing.assert_allclose(corrupt(ramp, "darker", 3), 0.5 * ramp, atol=0.5)
    np.testing.assert_allclose(corrupt(ramp, "brighter", 1), np.minimum(ramp + 25.5, 255), atol=0.5)


def test_jpeg_keeps_colours_in_their_channels():
    red = np.zeros((1, 16, 16, 3), np.uint8)
    red[..., 0] = 200
    np.testing.assert_allclose(corrupt(red, "jpeg", 1).mean(axis=(0, 1, 2)), [200, 0, 0], atol=6)
