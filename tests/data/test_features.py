"""Features by rule, against loops that follow the papers pixel by pixel, and what they are good for."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from deeprob.data.features import colour_histogram, hog, pixels, polar


def random_images(count=3, channels=3, height=16, width=12, seed=0):
    return torch.randn(count, channels, height, width, generator=torch.Generator().manual_seed(seed))


def hog_by_definition(image, cell):
    """One image (C, H, W), a pixel, a direction and a cell at a time."""
    image = image.double().numpy()
    channels, height, width = image.shape
    rows, columns = height // cell, width // cell
    height, width = rows * cell, columns * cell
    cells = np.zeros((rows, columns, 9))
    for y in range(height):
        for x in range(width):
            gradients = []
            for c in range(channels):
                dx = image[c, y, min(x + 1, width - 1)] - image[c, y, max(x - 1, 0)]
                dy = image[c, min(y + 1, height - 1), x] - image[c, max(y - 1, 0), x]
                gradients.append((math.hypot(dx, dy), math.atan2(dy, dx) % math.pi))
            length, angle = max(gradients, key=lambda g: g[0])
            for orientation in range(9):
                apart = abs(angle / math.pi * 9 - 0.5 - orientation)
                share_of_angle = max(0.0, 1 - min(apart, 9 - apart))
                for i in range(rows):
                    for j in range(columns):
                        down = max(0.0, 1 - abs((y + 0.5) / cell - i - 0.5))
                        across = max(0.0, 1 - abs((x + 0.5) / cell - j - 0.5))
                        cells[i, j, orientation] += length * share_of_angle * down * across
    blocks = []
    for i in range(rows - 1):
        for j in range(columns - 1):
            v = np.concatenate([cells[i + a, j + b] for a in (0, 1) for b in (0, 1)])
            v = np.minimum(v / math.sqrt((v**2).sum() + 1e-6), 0.2)
            blocks.append(v / math.sqrt((v**2).sum() + 1e-6))
    return np.concatenate(blocks)


@pytest.mark.parametrize(("channels", "height", "width", "cell"), [(3, 12, 16, 4), (1, 13, 10, 3)])
def test_hog_equals_its_definition(channels, height, width, cell):
    images = random_images(2, channels, height, width).double()
    expected = np.stack([hog_by_definition(image, cell) for image in images])
    np.testing.assert_allclose(hog(images, cell), expected, atol=1e-12)


def test_hog_does_not_see_brightness_and_hardly_contrast():
    images = random_images()
    torch.testing.assert_close(hog(images + 3.0), hog(images), atol=1e-5, rtol=0)
    torch.testing.assert_close(hog(images * 2), hog(images), atol=1e-4, rtol=0)


def test_a_gradient_and_its_opposite_are_one_direction():
    images = random_images()
    torch.testing.assert_close(hog(-images), hog(images), atol=1e-5, rtol=0)


def test_hog_of_a_flat_image_is_zero():
    assert hog(torch.ones(1, 3, 8, 8)).abs().max() == 0


def test_hog_has_nine_directions_in_four_cells_of_every_block():
    assert hog(torch.zeros(2, 3, 32, 32), 4).shape == (2, 7 * 7 * 4 * 9)
    assert hog(torch.zeros(0, 3, 32, 32), 4).shape == (0, 7 * 7 * 4 * 9)


def test_an_image_too_small_for_a_block_is_refused():
    with pytest.raises(ValueError, match="less than 2 x 2 cells of 4 pixels"):
        hog(torch.zeros(1, 3, 7, 32), 4)


def test_a_colour_histogram_equals_counting():
    images = random_images()
    inside = np.clip(images.numpy(), -1.9999, 1.9999).transpose(0, 2, 3, 1).reshape(len(images), -1, 3)
    for found, points in zip(colour_histogram(images, bins=4), inside, strict=True):
        expected, _ = np.histogramdd(points, bins=4, range=[(-2, 2)] * 3)
        np.testing.assert_allclose(found, expected.ravel() / len(points), atol=1e-6)


def test_a_colour_histogram_does_not_see_where():
    images = random_images()
    torch.testing.assert_close(colour_histogram(images.flip(3)), colour_histogram(images))


def test_pixels_are_the_image_flattened():
    assert torch.equal(pixels(random_images()), random_images().reshape(3, -1))


def two_rings(count):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 2
    radius = 1 + labels + 0.1 * torch.randn(count, generator=generator)
    angle = 2 * math.pi * torch.rand(count, generator=generator)
    return torch.stack([radius * angle.cos(), radius * angle.sin()], 1), labels


def test_two_rings_are_linear_in_polar_coordinates_only():
    points, labels = two_rings(600)

    def accuracy(x):
        x = x.numpy()
        return LogisticRegression().fit(x[:400], labels[:400]).score(x[400:], labels[400:])

    assert accuracy(points) < 0.7
    assert accuracy(polar(points)) > 0.99


def test_polar_coordinates_lead_back_to_the_points():
    points, _ = two_rings(50)
    radius, angle = polar(points).unbind(1)
    torch.testing.assert_close(torch.stack([radius * angle.cos(), radius * angle.sin()], 1), points)
