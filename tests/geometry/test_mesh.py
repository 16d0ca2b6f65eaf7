from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from deeprob.errors import InputError
from deeprob.geometry.mesh import join_meshes, load_mesh, make_mesh

CUBE_VERTICES = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
CUBE_FACES = np.array([triangle for a, b, c, d in QUADS for triangle in ((a, b, c), (a, c, d))])
OBJ = "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"


def cube():
    return make_mesh(CUBE_VERTICES, CUBE_FACES)


def test_a_cube_is_closed_and_its_normals_keep_the_edges():
    mesh = cube()
    assert mesh.closed
    outwards = mesh.vertices[mesh.faces].mean(axis=1) - mesh.centre
    assert (np.einsum("fc,fkc->fk", outwards, mesh.normals) > 0).all()
    np.testing.assert_allclose(np.abs(mesh.normals).max(axis=2), 1, atol=1e-6)


def test_a_mesh_wound_inside_out_is_turned():
    inside_out = make_mesh(CUBE_VERTICES, CUBE_FACES[:, ::-1])
    a, b, c = (inside_out.vertices[inside_out.faces[:, k]] for k in range(3))
    assert np.einsum("ij,ij->", a - inside_out.centre, np.cross(b - a, c - a)) > 0


def test_an_open_mesh_is_not_closed():
    assert not make_mesh(CUBE_VERTICES, CUBE_FACES[:-1]).closed


def test_a_finely_divided_sphere_is_smooth():
    import trimesh

    sphere = trimesh.creation.icosphere(subdivisions=3)
    mesh = make_mesh(sphere.vertices, sphere.faces)
    np.testing.assert_allclose(mesh.normals, mesh.vertices[mesh.faces], atol=0.02)


def test_a_similarity_scales_the_points_and_keeps_the_normals_unit():
    turned = cube().transformed(np.array([[0, -2, 0, 1], [2, 0, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1.0]]))
    np.testing.assert_allclose(turned.extents, [2, 2, 2])
    np.testing.assert_allclose(np.linalg.norm(turned.normals, axis=2), 1, atol=1e-6)


def outwards(mesh):
    """Of each face, how far its normal points away from the middle of the mesh; of convex meshes above 0."""
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    return np.einsum("ij,ij->i", a - mesh.centre, np.cross(b - a, c - a))


@pytest.mark.parametrize("factors", [(1, -1, 1), (-1, -1, -1), (-0.2, 3, 1), (1, -2, -2)])
def test_a_mirrored_mesh_is_not_inside_out(factors):
    mesh = cube().transformed(np.diag([*factors, 1.0]))
    assert (outwards(mesh) > 0).all()
    directions = mesh.vertices[mesh.faces].mean(axis=1) - mesh.centre
    assert (np.einsum("fc,fkc->fk", directions, mesh.normals) > 0).all()


def test_attributes_follow_their_corners_into_a_mirror_image():
    color = np.random.default_rng(0).random((12, 3, 3), np.float32)
    mesh = replace(cube(), colors=color, uv=color[..., :2])
    mirrored = mesh.transformed(np.diag([1.0, -1, 1, 1]))
    before = {
        (*np.round(p, 6), *c)
        for p, c in zip(mesh.vertices[mesh.faces].reshape(-1, 3), rows(mesh), strict=True)
    }
    back = mirrored.vertices[mirrored.faces].reshape(-1, 3) * [1, -1, 1]
    assert {(*np.round(p, 6), *c) for p, c in zip(back, rows(mirrored), strict=True)} == before


def rows(mesh):
    """Colour and texture place of each corner."""
    return np.concatenate([mesh.colors, mesh.uv], axis=2).reshape(-1, 5).tolist()


def test_normals_of_a_stretched_sphere_are_those_of_the_ellipsoid():
    import trimesh

    sphere = trimesh.creation.icosphere(subdivisions=4)
    stretched = make_mesh(sphere.vertices, sphere.faces).transformed(np.diag([1.0, 1.5, 0.5, 1]))
    expected = stretched.vertices[stretched.faces] / np.array([1, 1.5, 0.5]) ** 2
    expected /= np.linalg.norm(expected, axis=2, keepdims=True)
    np.testing.assert_allclose(stretched.normals, expected, atol=0.05)


@pytest.mark.parametrize("factors", [(1, 0, 1), (np.nan, 1, 1), (1, np.inf, 1)])
def test_a_flat_scale_is_refused(factors):
    with pytest.raises(InputError, match="cannot be scaled by"):
        cube().transformed(np.diag([*factors, 1.0]))


def test_joined_meshes_keep_their_faces():
    both = join_meshes([cube(), cube().transformed(np.diag([0.5, 0.5, 0.5, 1]))])
    assert both.faces.max() == 15
    assert len(both.faces) == 24


def test_obj_with_texture_is_read(tmp_path):
    Image.new("RGB", (4, 2), (200, 100, 50)).save(tmp_path / "paint.png")
    (tmp_path / "m.mtl").write_text("newmtl a\nKd 1 1 1\nmap_Kd paint.png\n")
    text = "mtllib m.mtl\nusemtl a\nvt 0 0\nvt 1 0\nvt 0 1\n" + OBJ.replace("f 1 2 3", "f 1/1 2/2 3/3")
    (tmp_path / "m.obj").write_text(text)
    mesh = load_mesh(tmp_path / "m.obj", scale=0.001)
    assert mesh.textures[0].shape == (2, 4, 3)
    assert mesh.textures[0][0, 0].tolist() == [200, 100, 50]
    np.testing.assert_allclose(mesh.extents, [0.001, 0.001, 0])
    assert (mesh.face_texture == 0).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read|no faces"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\n", "cannot be read|no faces"),
        (OBJ.replace("f 1 2 3", "f 1 2 9"), "cannot be read|names vertex"),
        (OBJ.replace("v 1 0 0", "v nan 0 0"), "vertex 1 is not finite"),
        (OBJ.replace("v 0 1 0", "v 2 0 0"), "zero area"),
    ],
)
def test_a_broken_obj_is_one_line_with_the_file_name(tmp_path, text, message):
    path = tmp_path / "broken.obj"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        load_mesh(path)
    assert str(caught.value).startswith(str(path))


def test_a_missing_texture_names_the_material_file(tmp_path):
    (tmp_path / "m.mtl").write_text("newmtl a\nmap_Kd gone.png\n")
    (tmp_path / "m.obj").write_text("mtllib m.mtl\n" + OBJ)
    with pytest.raises(InputError, match=r"m\.mtl: map_Kd: the texture gone\.png does not exist"):
        load_mesh(tmp_path / "m.obj")


@pytest.mark.parametrize("name", ["absent.obj", "drawing.step"])
def test_a_file_that_is_no_mesh_is_refused(tmp_path, name):
    with pytest.raises(InputError, match=r"no such mesh file|no mesh format"):
        load_mesh(tmp_path / name)


def test_a_truncated_stl_is_refused(tmp_path):
    path = tmp_path / "cut.stl"
    path.write_bytes(b"\0" * 80 + (1000).to_bytes(4, "little") + b"\0" * 60)
    with pytest.raises(InputError, match=r"cannot be read|zero area|no faces"):
        load_mesh(path)
