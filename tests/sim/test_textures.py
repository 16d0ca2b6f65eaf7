import numpy as np

from deeprob.sim.textures import flatten, procedural, smooth_noise


def test_noise_repeats_at_its_borders():
    field = smooth_noise(np.random.default_rng(0), 128, 8)
    step = np.abs(np.diff(field, axis=0)).max()
    assert np.abs(field[0] - field[-1]).max() <= 1.5 * step


def test_pictures_depend_on_the_generator_alone():
    a, b = (procedural(np.random.default_rng(3), 64) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert a.shape == (64, 64, 3)


def test_texels_and_halvings_are_found_where_the_table_says():
    picture = np.random.default_rng(0).integers(0, 255, (8, 16, 3), np.uint8)
    texels, mips = flatten([picture], levels=3)
    first, height, width = mips[0, 0]
    stored = texels[first : first + height * width].reshape(height, width)
    np.testing.assert_array_equal(stored & 255, picture[..., 0])
    np.testing.assert_array_equal(stored >> 16 & 255, picture[..., 2])
    assert mips[0, :, 1:].tolist() == [[8, 16], [4, 8], [2, 4]]
