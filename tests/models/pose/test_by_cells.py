"""A pose refined on cells: the mask and points of a box, and a start that is too far away."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from deeprob import layers
from deeprob.geometry.mesh import make_mesh
from deeprob.models.pose.by_cells import NO_BETTER, NO_MESH, REFINED, refined_on_cells
from deeprob.models.pose.by_render import Drawn

GRID, SIDE = 16, 64
K = torch.tensor([[220.0, 0, 31.5], [0, 220, 31.5], [0, 0, 1]])
CELLS = torch.tensor([[55.0, 0, 7.5], [0, 55, 7.5], [0, 0, 1]])
CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) * [0.12, 0.07, 0.05]
FACES = np.array(
    [
        *([0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1]),
        *([2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]),
    ]
)
BOX = Drawn.of(make_mesh(CORNERS - [0.06, 0.03, 0.02], FACES), 0.147)
NO_DEPTH = torch.zeros(GRID, GRID)


def at(z, turn=0.7):
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = Rotation.from_rotvec([0.5, turn, 0.2]).as_matrix(), [0.0, -0.01, z]
    return T


@pytest.fixture(scope="module")
def said():
    """Mask and points of the pose `at(0.6)`."""
    here = torch.from_numpy(at(0.6)).float()
    here[:3, 3] += here[:3, :3] @ BOX.middle
    points = layers.project(BOX.vertices, here[None], CELLS)
    b, visible = layers.rasterize(points, BOX.faces, (GRID, GRID), True)
    crossings = layers.silhouette_crossings(points, BOX.edges, BOX.faces, visible)
    mask = layers.antialias((visible >= 0).float()[..., None], points, *crossings)[0, ..., 0]
    return mask, layers.interpolate_attributes(BOX.vertices, b, BOX.faces, visible)[0]


def test_mask_and_points_correct_distance_and_turn(said):
    found, became = refined_on_cells(at(0.65, 0.55), K, *said, NO_DEPTH, BOX, SIDE)
    assert became == REFINED
    assert found[2, 3] == pytest.approx(0.6, abs=0.004)
    turn = Rotation.from_matrix(found[:3, :3] @ at(0.6)[:3, :3].T).magnitude()
    assert np.degrees(turn) < 1.5


def test_what_cannot_be_bettered_or_drawn_stays(said):
    behind = at(-0.6)
    for start, drawn, why in ((behind, BOX, NO_BETTER), (at(0.65), None, NO_MESH)):
        found, became = refined_on_cells(start, K, *said, NO_DEPTH, drawn, SIDE)
        assert became == why
        assert np.array_equal(found, start)
