"""Hough voting against a plain loop, and centres known by hand."""

import numpy as np
import pytest

from deeprob.models.pose.hough import cast_votes, find_centre, intersection


def loop(points, directions, shape, left, top):
    """One vote in every column (row) ahead of each pixel, written out."""
    votes = np.zeros(shape, np.int64)
    for (u, v), (du, dv) in zip(points, directions, strict=True):
        for column in range(left, left + shape[1]):
            for row in range(top, top + shape[0]):
                if abs(du) >= abs(dv):
                    ahead = (column - u) * du > 0
                    there = row == np.floor(v + (column - u) * (dv / du) + 0.5)
                else:
                    ahead = (row - v) * dv > 0
                    there = column == np.floor(u + (row - v) * (du / dv) + 0.5)
                votes[row - top, column - left] += ahead and there
    return votes


def rays(seed, count, centre, noise):
    rng = np.random.default_rng(seed)
    points = rng.integers(0, (20, 15), (count, 2)).astype(np.float64)
    angle = np.arctan2(*(centre - points).T[::-1]) + rng.normal(0, noise, count)
    return points, np.stack([np.cos(angle), np.sin(angle)], 1)


def test_votes_are_those_of_a_plain_loop():
    points, directions = rays(0, 40, np.array([9.0, 6.0]), 1.5)
    votes = np.zeros((21, 28), np.int64)
    cast_votes(points, directions, votes, -4, -3)
    assert np.array_equal(votes, loop(points, directions, (21, 28), -4, -3))


@pytest.mark.parametrize("centre", [(9.3, 6.7), (-2.2, 7.1)])  # the second lies outside of the map
def test_a_centre_is_found_between_the_cells(centre):
    points, directions = rays(1, 60, np.array(centre), 0.0)
    found = find_centre(points, directions, (15, 20))
    assert found.at == pytest.approx(centre, abs=1e-6)
    assert found.inliers.all()


def test_noise_and_pixels_of_another_object_move_it_little():
    centre = np.array([12.0, 7.0])
    points, directions = rays(2, 100, centre, 0.1)
    others, elsewhere = rays(3, 40, np.array([2.0, 2.0]), 0.1)
    found = find_centre(np.concatenate([points, others]), np.concatenate([directions, elsewhere]), (15, 20))
    assert np.linalg.norm(found.at - centre) < 0.5
    assert found.inliers[:100].mean() > 0.9 > 0.5 > found.inliers[100:].mean()


def test_parallel_rays_meet_nowhere():
    points = np.array([[0.0, 0], [0, 1], [0, 2]])
    assert intersection(points, np.tile([1.0, 0.0], (3, 1))) is None
    assert np.isfinite(find_centre(points, np.tile([1.0, 0.0], (3, 1)), (4, 6)).at).all()


def test_directions_of_length_zero_vote_for_nothing():
    found = find_centre(np.array([[1.0, 2.0], [3.0, 2.0]]), np.zeros((2, 2)), (5, 5))
    assert found.votes == 0
    assert found.at.tolist() == [2.0, 2.0]
