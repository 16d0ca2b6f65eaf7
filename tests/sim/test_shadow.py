import numpy as np
import pytest

from deeprob.geometry.kernel import F32, kernel
from deeprob.geometry.mesh import make_mesh
from deeprob.sim.shadow import NOTHING, lit, pack_casters, shadow_map

SIZE = 32


@pytest.fixture(scope="module")
def triangle():
    """Shadow map and roof of a slanted triangle from above, 20 pixels a side, 1 to 21 pixels high."""
    mesh = make_mesh(np.array([[0.0, 0.0, 1.0], [20.0, 0.0, 11.0], [0.0, 20.0, 21.0]]), np.array([[0, 1, 2]]))
    to_pixel = np.eye(4)[:3].copy()
    to_pixel[:2, 3] = 5.0
    heights, roof = np.empty((SIZE, SIZE), np.float32), np.empty((SIZE - 1, SIZE - 1), np.float32)
    shadow_map(pack_casters([mesh]), np.zeros(1, np.int64), to_pixel[None], heights, roof)
    return heights, roof


@kernel
def share(shadow: F32, u: float, v: float, height: float) -> float:
    return lit(shadow, u, v, height)


def test_heights_are_those_of_the_surface(triangle):
    heights, _ = triangle
    assert heights[5, 5] == pytest.approx(1)
    assert heights[9, 7] == pytest.approx(1 + 2 * 0.5 + 4 * 1.0)
    assert heights[3, 7] == np.float32(NOTHING)


def test_the_roof_is_the_highest_of_four_taps(triangle):
    heights, roof = triangle
    taps = [heights[:-1, :-1], heights[:-1, 1:], heights[1:, :-1], heights[1:, 1:]]
    np.testing.assert_array_equal(roof, np.max(taps, axis=0))


def test_what_is_not_below_the_roof_is_wholly_lit_and_only_that(triangle):
    heights, roof = triangle
    rng = np.random.default_rng(0)
    seen = set()
    for u, v, height in rng.uniform([0, 0, 0], [SIZE - 1, SIZE - 1, 22], (500, 3)):
        above = bool(roof[int(v), int(u)] <= height)
        assert (share(heights, u, v, height) == 1) == above
        seen.add(above)
    assert seen == {True, False}


def test_half_way_between_a_lit_and_a_shaded_column_half_of_the_lamp_arrives(triangle):
    heights, _ = triangle
    assert share(heights, 4.5, 10.0, 0.0) == pytest.approx(0.5)
    assert share(heights, 6.0, 8.0, 0.0) == 0
    assert share(heights, -0.1, 8.0, 0.0) == 1
