"""The normal equations by loops equal those of the layers' own derivatives."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from deeprob import layers
from deeprob.geometry.mesh import make_mesh
from deeprob.models.pose.by_render import Drawn, Seen, losses
from deeprob.models.pose.normal import aim_of, normal_equations

SIDE = 32
K = torch.tensor([[110.0, 0, 15.5], [0, 110, 15.5], [0, 0, 1]])
CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) * [0.12, 0.07, 0.05]
FACES = np.array(
    [
        *([0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1]),
        *([2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]),
    ]
)


@pytest.fixture(scope="module")
def box():
    plain = Drawn.of(make_mesh(CORNERS, FACES), 0.147)
    colors = torch.rand(len(plain.faces), 3, 3, generator=torch.Generator().manual_seed(0))
    return Drawn(plain.vertices, plain.faces, plain.middle, plain.diameter, True, colors)


@pytest.fixture(scope="module")
def seen(box):
    """Mask, depth, colours and points of a pose, with an occluder, and parts that nobody knows."""
    T = pose([0.5, 0.7, 0.2], [0.01, -0.01, 0.6])
    points = layers.project(box.vertices, torch.from_numpy(T).float()[None], K)
    b, visible = layers.rasterize(points, box.faces, (SIDE, SIDE), True)
    pictures = [
        layers.interpolate_attributes(a, b, faces, visible)[0]
        for a, faces in (
            (points[..., 2:], box.faces),
            (box.colors.reshape(-1, 3), box.corners),
            (box.vertices, box.faces),
        )
    ]
    mask, depth, rgb = (visible[0] >= 0).float(), pictures[0][..., 0], 0.5 * pictures[1] + 0.1
    mask[:, :12], depth[:, :12] = 0, 0.4
    mask[:6], rgb[20:], pictures[2][:, 25:] = torch.nan, torch.nan, torch.nan
    return Seen(K, mask, depth, rgb, pictures[2])


def pose(turn, place):
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = Rotation.from_rotvec(turn).as_matrix(), place
    return T


BESIDE = pose([0.45, 0.78, 0.15], [0.016, -0.014, 0.61])


@pytest.mark.parametrize("term", ["mask", "depth", "rgb", "points", "mask depth rgb points"])
def test_loops_equal_the_formula(box, seen, term):
    part = Seen(K, **{name: getattr(seen, name) for name in term.split()})
    fast = normal_equations(part, box)(BESIDE)
    with layers.formulas():
        formula = normal_equations(part, box)(BESIDE)
    assert fast.loss == pytest.approx(formula.loss, rel=1e-5)
    np.testing.assert_allclose(fast.N, formula.N, rtol=1e-4, atol=1e-5 * np.abs(formula.N).max())
    np.testing.assert_allclose(fast.g, formula.g, rtol=1e-4, atol=1e-5 * np.abs(formula.g).max())
    here = torch.from_numpy(BESIDE).float()[None]
    assert fast.loss == pytest.approx(float(losses(here, part, box)), rel=1e-3)


def test_a_silhouette_aims_at_the_edge_of_the_mask():
    mask = torch.zeros(9, 12)
    mask[:, :4], mask[:, 4] = 1, 0.25
    mask[:, 10:] = torch.nan
    assert aim_of(Seen(K, mask))[4].tolist()[2:9] == [2, 1, 0.25, -1, -2, -3, -4]
    assert np.array_equal(aim_of(Seen(K, mask, noisy=True)), mask, equal_nan=True)
    assert aim_of(Seen(K)) is None
