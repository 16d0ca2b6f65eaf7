"""Poses refined on pictures: a box that is drawn, seen, and found again from beside it."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from deeprob import layers
from deeprob.geometry.mesh import make_mesh
from deeprob.models.pose.by_render import Drawn, Seen, losses
from deeprob.models.pose.descent import refined
from deeprob.models.pose.objects import Objects, ObjectTable

SIDE = 40
SIZES = np.array([0.12, 0.07, 0.05])
K = torch.tensor([[150.0, 0, 19.5], [0, 150, 19.5], [0, 0, 1]])
CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) * SIZES - SIZES / 3
FACES = np.array(
    [
        *([0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1]),
        *([2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]),
    ]
)


@pytest.fixture(scope="module")
def box():
    drawn = Drawn.of(make_mesh(CORNERS, FACES), float(np.linalg.norm(SIZES)))
    assert drawn.closed
    return drawn


@pytest.fixture
def T():
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_rotvec([0.5, 0.7, 0.2]).as_matrix()
    pose[:3, 3] = [0.01, -0.02, 0.6]
    return pose


def beside(T):
    moved = T.copy()
    moved[:3, :3] = Rotation.from_rotvec([0.1, -0.12, 0.1]).as_matrix() @ T[:3, :3]
    moved[:3, 3] += [0.008, -0.006, 0.012]
    return moved


def picture(box, T):
    there = torch.from_numpy(T).float()
    there[:3, 3] += there[:3, :3] @ box.middle
    points = layers.project(box.vertices, there[None], K)
    b, visible = layers.rasterize(points, box.faces, (SIDE, SIDE), box.closed)
    depth = layers.interpolate_attributes(points[..., 2:], b, box.faces, visible)[0, ..., 0]
    crossings = layers.silhouette_crossings(points, box.edges, box.faces, visible)
    mask = layers.antialias((visible >= 0).float()[..., None], points, *crossings)[0, ..., 0]
    return mask, depth


def errors(found, T):
    turn = Rotation.from_matrix(found[:3, :3] @ T[:3, :3].T).magnitude()
    return np.degrees(turn), 1000 * np.linalg.norm(found[:3, 3] - T[:3, 3])


def test_depth_and_mask_lead_back_to_the_pose(box, T):
    mask, depth = picture(box, T)
    found = refined(beside(T), [Seen(K, mask, depth)], box, steps=(40,))
    degrees, millimetres = errors(found.T, T)
    assert found.loss < 0.1 * found.before
    assert degrees < 1
    assert millimetres < 1


def test_what_lies_before_the_object_is_not_taken_for_its_end(box, T):
    mask, depth = picture(box, T)
    mask[:, :16], depth[:, :16] = 0, 0.4
    found = refined(beside(T), [Seen(K, mask, depth)], box, steps=(40,))
    assert max(errors(found.T, T)) < 3


def test_colours_alone_say_which_way_to_move(box, T):
    colors = torch.rand(box.faces.shape[0], 3, 3, generator=torch.Generator().manual_seed(0))
    painted = Drawn(box.vertices, box.faces, box.middle, box.diameter, True, colors)
    here = torch.from_numpy(T).float()[None]
    here[:, :3, 3] += here[:, :3, :3] @ box.middle
    points = layers.project(box.vertices, here, K)
    b, visible = layers.rasterize(points, box.faces, (SIDE, SIDE), True)
    rgb = layers.interpolate_attributes(colors.reshape(-1, 3), b, painted.corners, visible)[0]
    seen = Seen(K, rgb=0.5 * rgb + 0.1)  # another light
    away = here.clone()
    away[:, 0, 3] += 0.01
    assert losses(here, seen, painted) < 0.3 * losses(away, seen, painted)


@pytest.mark.parametrize("z", [-0.6, 60])
def test_a_start_that_shows_nothing_is_kept(box, T, z):
    mask, depth = picture(box, T)
    start = T.copy()
    start[2, 3] = z
    assert np.array_equal(refined(start, [Seen(K, mask, depth)], box, steps=(2,)).T, start)


def test_a_table_of_an_older_checkpoint_has_no_mesh_to_draw():
    table = ObjectTable(Objects.spheres(2))
    state = table.state_dict()
    del state["triangles"]
    ObjectTable(Objects.spheres(2)).load_state_dict(state)
    assert table.drawn(0) is None
    triangles = torch.from_numpy(CORNERS[FACES]).float()
    triangles = torch.stack([torch.cat([triangles, torch.zeros(3, 3, 3)]), torch.ones(15, 3, 3)])
    drawn = ObjectTable(Objects(**vars(Objects.spheres(2)) | {"triangles": triangles})).drawn(0)
    assert len(drawn.faces) == 12
    assert len(drawn.vertices) == 8
