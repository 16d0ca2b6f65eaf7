"""Meshes of fewer faces keep their shape and their colours."""

import numpy as np
import pytest
import trimesh

from deeprob.geometry.mesh import load_mesh
from deeprob.geometry.thinning import thinned


@pytest.fixture
def ball(tmp_path):
    """A sphere of 5 cm, red above and blue below."""
    mesh = trimesh.creation.icosphere(4, 0.05)
    mesh.visual.vertex_colors = np.where(mesh.vertices[:, 2:] > 0, [255, 0, 0, 255], [0, 0, 255, 255])
    mesh.export(tmp_path / "ball.ply")
    return load_mesh(tmp_path / "ball.ply")


def test_a_mesh_is_thinned_to_the_number_and_keeps_its_shape(ball):
    thin = thinned(ball, 600)
    assert 300 < len(thin.faces) <= 600
    np.testing.assert_allclose(np.linalg.norm(thin.vertices, axis=1), 0.05, atol=1e-6)
    np.testing.assert_allclose(thin.extents, ball.extents, atol=0.004)


def test_colours_stay_where_they_were(ball):
    thin = thinned(ball, 600)
    height = thin.vertices[thin.faces].mean(1)[:, 2]
    assert (thin.colors[height > 0.02].mean(1) == [1, 0, 0]).all()
    assert (thin.colors[height < -0.02].mean(1) == [0, 0, 1]).all()


def test_a_mesh_with_fewer_faces_is_the_same(ball):
    assert thinned(ball, len(ball.faces)) is ball
