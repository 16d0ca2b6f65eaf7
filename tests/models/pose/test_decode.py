"""Points, pixels and readings of known poses decode to these; what cannot be decoded gives way."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from deeprob.models.pose.decode import Cells, kabsch, solve

K = np.array([[400.0, 0, 64], [0, 400, 64], [0, 0, 1]])


def pose():
    T = np.eye(4)
    T[:3, :3] = Rotation.from_rotvec([0.4, -0.8, 0.3]).as_matrix()
    T[:3, 3] = [0.02, -0.01, 0.6]
    return T


def cells(points, T, noise=0.0, wrong=0.0, depth=True):
    """What cells say that see `points` (N, 3) in pose T: noise in metres, a share of them anything."""
    rng = np.random.default_rng(0)
    seen = points @ T[:3, :3].T + T[:3, 3]
    pixels = (seen @ K.T)[:, :2] / seen[:, 2:]
    said = points + noise * rng.normal(size=points.shape)
    lost = rng.random(len(points)) < wrong
    said[lost] = rng.uniform(-0.05, 0.05, (lost.sum(), 3))
    readings = seen if depth else np.full_like(seen, np.nan)
    return Cells(said, pixels, readings, np.ones(len(points)), K, 4.0, 0.12)


def apart(T, U):
    turn = np.degrees(np.linalg.norm(Rotation.from_matrix(T[:3, :3].T @ U[:3, :3]).as_rotvec()))
    return turn, np.linalg.norm(T[:3, 3] - U[:3, 3])


CUBE = np.random.default_rng(1).uniform(-0.05, 0.05, (120, 3))


@pytest.mark.parametrize("decode", ["pnp", "depth"])
def test_exact_cells_give_the_pose(decode):
    found, agree = solve(cells(CUBE, pose()), pose(), decode)
    assert apart(found, pose())[0] < 0.01
    assert apart(found, pose())[1] < 1e-5
    assert agree == 1


@pytest.mark.parametrize(("decode", "degrees"), [("pnp", 4), ("depth", 2)])
def test_a_third_of_wrong_cells_is_borne(decode, degrees):
    found, agree = solve(cells(CUBE, pose(), 0.003, 0.3), pose(), decode)
    assert apart(found, pose())[0] < degrees
    assert 0.5 < agree < 0.9


def test_the_distance_is_the_heads():
    direct = pose()
    direct[2, 3] = 0.66
    found, _ = solve(cells(CUBE, pose(), 0.003), direct, "pnp")
    assert found[2, 3] == pytest.approx(0.66)


def test_a_thin_box_is_found_from_one_face():
    """8 x 8 x 2 cm: the points that are seen lie in a plane."""
    points = np.random.default_rng(2).uniform(-0.04, 0.04, (100, 3))
    points[:, 2] = 0.01
    for decode in ("pnp", "depth"):
        found, _ = solve(cells(points, pose(), 0.001), pose(), decode)
        assert apart(found, pose())[0] < 3


def test_a_decode_that_cannot_answer_gives_way():
    without = cells(CUBE, pose(), depth=False)
    found, _ = solve(without, pose(), "depth")
    assert apart(found, pose())[0] < 0.01
    few = Cells(*(a[:3] for a in without[:4]), *without[4:])
    direct = pose()
    direct[0, 3] = 0.3
    assert solve(few, direct, "depth")[0] is direct
    assert np.isfinite(solve(cells(0 * CUBE, pose()), direct, "pnp")[0]).all()


def test_kabsch_gives_no_mirror_image():
    points = CUBE[None, :4]
    R, _ = kabsch(points, points * [1, 1, -1])
    assert np.linalg.det(R[0]) == pytest.approx(1)
