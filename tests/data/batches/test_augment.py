import math
from dataclasses import fields

import numpy as np
import pytest
import torch

from deeprob.data.batches.augment import Augmentation, augment, normalise, stream
from deeprob.errors import InputError

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
ZERO, ONE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
EVERYTHING = Augmentation(
    flip=0.5,
    translate=0.2,
    zoom=0.3,
    aspect=0.2,
    rotate=0.3,
    brightness=0.4,
    contrast=0.4,
    saturation=0.5,
    hue=0.3,
    blur=1.0,
    noise=0.1,
    cutout=0.3,
)


def pictures(batch: int = 16, height: int = 10, width: int = 14) -> torch.Tensor:
    return torch.randint(0, 256, (batch, height, width, 3), dtype=torch.uint8, generator=stream(9))


def run(augmentation: Augmentation, images: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Augmented images on the scale 0..255, channels last."""
    return 255 * augment(images, augmentation, stream(seed), ZERO, ONE).permute(0, 2, 3, 1)


def test_normalise_is_its_formula_and_contiguous() -> None:
    images = pictures()
    expected = (images.double() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    result = normalise(images, MEAN, STD)
    assert result.is_contiguous()
    torch.testing.assert_close(result, expected.permute(0, 3, 1, 2).float())


def test_nothing_switched_on_is_plain_normalisation() -> None:
    images = pictures()
    result = augment(images, Augmentation(), stream(0), MEAN, STD)
    torch.testing.assert_close(result, normalise(images, MEAN, STD), atol=1e-5, rtol=1e-5)


def test_batch_follows_from_the_generator_alone() -> None:
    images = pictures()
    first, same, other = (augment(images, EVERYTHING, stream(s, 4), MEAN, STD) for s in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_number_of_threads_does_not_change_a_bit() -> None:
    images = pictures(33, 32, 32)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(augment(images, EVERYTHING, stream(5), MEAN, STD))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0], results[1])


@pytest.mark.parametrize("field", sorted({f.name for f in fields(Augmentation)} - {"mixup", "cutmix"}))
def test_each_knob_alone_changes_images_and_keeps_them_finite(field: str) -> None:
    images = pictures()
    result = augment(images, Augmentation(**{field: 0.5}), stream(0), MEAN, STD)
    assert result.shape == (16, 3, 10, 14)
    assert result.isfinite().all()
    assert not torch.allclose(result, normalise(images, MEAN, STD), atol=1e-3)


@pytest.mark.parametrize("field", [f.name for f in fields(Augmentation)])
def test_switching_one_on_leaves_the_draws_of_the_others(field: str) -> None:
    images = torch.zeros(64, 4, 4, 3, dtype=torch.uint8)
    images[:, :, 0] = 255  # which samples are mirrored is seen at the left column
    flipped = [
        run(Augmentation(flip=0.5, **extra), images)[:, 1, 0].mean(-1) < 127
        for extra in ({}, {field: 0.05} if field != "flip" else {})
    ]
    assert torch.equal(*flipped)


def test_flip_mirrors_about_half_of_the_samples_exactly() -> None:
    images = pictures(200)
    result = run(Augmentation(flip=0.5), images).round()
    same = (result == images).flatten(1).all(1)
    mirrored = (result == images.flip(2)).flatten(1).all(1)
    assert (same | mirrored).all()
    assert 60 < mirrored.sum() < 140


def test_translation_moves_by_whole_pixels_and_repeats_the_border() -> None:
    images = pictures(50)
    result = run(Augmentation(translate=0.2), images).round()
    shifts = set()
    for image, moved in zip(images, result, strict=True):
        candidates = {
            (x, y): image[torch.arange(10).add(y).clamp(0, 9)][:, torch.arange(14).add(x).clamp(0, 13)]
            for x in range(-3, 4)
            for y in range(-2, 3)
        }
        found = [shift for shift, candidate in candidates.items() if torch.equal(candidate.float(), moved)]
        assert len(found) == 1
        shifts.add(found[0])
    assert len(shifts) > 10


def moments(image: torch.Tensor) -> tuple[float, float, float]:
    """Mass, and the second moments along x and y, of a bright shape in the centre."""
    weights = image.double().mean(-1).numpy()
    y, x = np.mgrid[: weights.shape[0], : weights.shape[1]] - (np.array(weights.shape)[:, None, None] - 1) / 2
    total = weights.sum()
    return total, (weights * x**2).sum() / total, (weights * y**2).sum() / total


def blob(sigma_x: float, sigma_y: float, angle: float = 0.0) -> torch.Tensor:
    y, x = np.mgrid[:61, :61] - 30.0
    along, across = x * math.cos(angle) + y * math.sin(angle), -x * math.sin(angle) + y * math.cos(angle)
    values = 255 * np.exp(-((along / sigma_x) ** 2 + (across / sigma_y) ** 2) / 2)
    return torch.from_numpy(values).round().byte()[..., None].repeat(1, 1, 3)


def test_zoom_scales_areas_within_its_range() -> None:
    results = run(Augmentation(zoom=0.5), blob(4, 4).repeat(100, 1, 1, 1))
    ratios = np.array([moments(r)[1] for r in results]) / moments(blob(4, 4))[1]
    assert 1 / 2.3 < ratios.min() < 0.6
    assert 1.7 < ratios.max() < 2.3


def test_aspect_stretches_one_axis_against_the_other() -> None:
    results = run(Augmentation(aspect=1.0), blob(4, 4).repeat(100, 1, 1, 1))
    _, x, y = np.array([moments(r) for r in results]).T
    ratio = np.sqrt(x / y)
    assert 0.49 < ratio.min() < 0.6
    assert 1.7 < ratio.max() < 2.05
    np.testing.assert_allclose(np.sqrt(x * y) / 16, 1.0, atol=0.05)


def test_rotation_turns_a_long_shape_by_its_angle() -> None:
    results = run(Augmentation(rotate=math.pi / 2), blob(9, 2).repeat(60, 1, 1, 1)) / 255
    angles = torch.linspace(-math.pi / 2, math.pi / 2, 181)
    templates = torch.stack([blob(9, 2, float(a)) for a in angles]).float() / 255
    distance = torch.cdist(results[..., 0].flatten(1), templates[..., 0].flatten(1))
    assert distance.min(1).values.max() < 0.6  # each is one of the turned shapes
    assert angles[distance.argmin(1)].std() > 0.7


def test_grey_images_stay_grey_under_saturation_and_hue() -> None:
    grey = pictures()[..., :1].repeat(1, 1, 1, 3)
    result = run(Augmentation(saturation=1.0, hue=3.0), grey)
    torch.testing.assert_close(result, grey.float(), atol=1e-2, rtol=0)


def test_brightness_multiplies_within_its_range() -> None:
    images = torch.full((100, 3, 3, 3), 100, dtype=torch.uint8)
    result = run(Augmentation(brightness=0.3), images)[:, 0, 0]
    assert 70 <= result.min() < 76
    assert 124 < result.max() <= 130


def test_contrast_keeps_the_mean_grey_and_scales_differences() -> None:
    images = torch.full((100, 4, 4, 3), 80, dtype=torch.uint8)
    images[:, :2] = 160
    result = run(Augmentation(contrast=0.5), images)
    torch.testing.assert_close(result.mean((1, 2, 3)), torch.full((100,), 120.0), atol=0.1, rtol=0)
    difference = result[:, 0, 0, 0] - result[:, 3, 0, 0]
    assert 40 <= difference.min() < 48
    assert 112 < difference.max() <= 120.1


def test_full_saturation_range_reaches_grey_and_double() -> None:
    images = torch.tensor([150, 120, 110], dtype=torch.uint8).expand(200, 2, 2, 3)
    result = run(Augmentation(saturation=1.0), images)[:, 0, 0]
    spread = (result[:, 0] - result[:, 2]) / 40
    assert spread.min() < 0.05
    assert spread.max() > 1.95


def test_hue_of_a_third_turn_permutes_the_channels() -> None:
    images = torch.tensor([200, 100, 50], dtype=torch.uint8).expand(4000, 1, 1, 3)
    result = run(Augmentation(hue=2 * math.pi / 3), images)[:, 0, 0]
    target = torch.tensor([[50.0, 200.0, 100.0], [100.0, 50.0, 200.0]])
    assert torch.cdist(result, target).min(0).values.max() < 1


def test_colours_are_clipped_to_black_and_white() -> None:
    images = pictures()
    result = augment(images, Augmentation(brightness=1.0, contrast=1.0), stream(0), MEAN, STD)
    for channel in range(3):
        assert result[:, channel].min() >= -MEAN[channel] / STD[channel]
        assert result[:, channel].max() <= (1 - MEAN[channel]) / STD[channel] + 1e-6


def test_noise_has_no_bias_and_its_spread_is_bounded() -> None:
    images = torch.full((64, 32, 32, 3), 128, dtype=torch.uint8)
    deviation = augment(images, Augmentation(noise=0.1), stream(0), MEAN, STD) - normalise(images, MEAN, STD)
    deviation *= torch.tensor(STD).view(3, 1, 1)
    per_sample = deviation.std((1, 2, 3))
    assert abs(float(deviation.mean())) < 1e-3
    assert 0.09 < per_sample.max() < 0.102
    assert per_sample.min() < 0.02


def test_cutout_sets_one_square_to_the_mean() -> None:
    images = torch.full((50, 20, 20, 3), 255, dtype=torch.uint8)
    result = augment(images, Augmentation(cutout=0.25), stream(0), MEAN, STD)
    area = (result == 0).all(1).sum((1, 2))
    assert area.max() == 25
    assert area.min() >= 4  # its centre lies inside the image


def test_empty_batch_stays_empty() -> None:
    assert augment(pictures(0), EVERYTHING, stream(0), MEAN, STD).shape == (0, 3, 10, 14)


@pytest.mark.parametrize("setting", [{"flip": 1.1}, {"blur": -1.0}, {"noise": math.inf}, {"zoom": math.nan}])
def test_impossible_settings_are_refused_by_name(setting: dict) -> None:
    with pytest.raises(InputError, match=rf"augmentation\.{next(iter(setting))}"):
        Augmentation(**setting)


def test_streams_of_different_numbers_differ() -> None:
    keys = [(0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 0, 2), (0, 0, 0)]
    assert len({int(stream(*key).initial_seed()) for key in keys}) == len(keys)
