import dataclasses

import numpy as np
import trimesh

from deeprob.geometry.mesh import load_mesh, make_mesh
from deeprob.geometry.mesh_files import write_obj, write_ply

VERTICES = np.array([[0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0, 0, 0.1]])
FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])


def textured():
    mesh = make_mesh(VERTICES, FACES, color=(1.0, 1.0, 1.0))
    uv = np.random.default_rng(0).uniform(size=(4, 3, 2)).astype(np.float32)
    picture = np.random.default_rng(1).integers(0, 255, (8, 4, 3), np.uint8)
    return dataclasses.replace(
        mesh, uv=uv, face_texture=np.array([0, 0, -1, 0], np.int32), textures=(picture,)
    )


def test_obj_is_read_back_the_same(tmp_path):
    mesh = textured()
    write_obj(mesh, tmp_path / "a.obj")
    again = load_mesh(tmp_path / "a.obj")
    np.testing.assert_allclose(again.vertices, mesh.vertices, atol=1e-9)
    np.testing.assert_array_equal(again.textures[0], mesh.textures[0])
    assert (again.face_texture >= 0).sum() == 3
    np.testing.assert_allclose(again.uv[again.face_texture == 0], mesh.uv[mesh.face_texture == 0], atol=1e-6)


def test_ply_is_in_the_scale_asked_for_and_keeps_colours(tmp_path):
    mesh = make_mesh(VERTICES, FACES, color=(1.0, 0.5, 0.0))
    write_ply(mesh, tmp_path / "a.ply", scale=1000)
    ply = trimesh.load(tmp_path / "a.ply", process=False)
    np.testing.assert_allclose(ply.vertices, 1000 * mesh.vertices, atol=1e-4)
    np.testing.assert_array_equal(ply.faces, mesh.faces)
    assert ply.visual.vertex_colors[0, :3].tolist() == [255, 128, 0]
