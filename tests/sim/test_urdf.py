from pathlib import Path

import numpy as np
import pybullet_data
import pytest
import trimesh

from deeprob.errors import InputError
from deeprob.geometry import raster
from deeprob.geometry.camera import look_at, make_intrinsics
from deeprob.geometry.mesh import load_mesh, make_mesh
from deeprob.geometry.rotation import quaternion_to_matrix
from deeprob.geometry.transform import invert_transform, make_transform
from deeprob.sim.bullet import projection, view_matrix
from deeprob.sim.capture import captured, import_pybullet
from deeprob.sim.library import Library
from deeprob.sim.object_model import ObjectModel
from deeprob.sim.urdf import load_urdf

DATA = Path(pybullet_data.getDataPath())
K, WIDTH, HEIGHT, NEAR = make_intrinsics(170, 160, 70.5, 66.2), 160, 120, 0.1
Q, POSITION = np.array([0.9, 0.1, -0.3, 0.2]) / np.linalg.norm([0.9, 0.1, -0.3, 0.2]), [0.02, -0.01, 0.05]


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        ("duck_vhacd.urdf", 1.0),  # inertial offset
        ("teddy_vhacd.urdf", 1.5),  # rotated into a larger offset by the scale
        ("lego/lego.urdf", 3.0),  # rotated visual
        ("domino/domino.urdf", 3.0),  # rotated visual
        ("random_urdfs/007/007.urdf", 1.0),
    ],
)
def test_a_urdf_lies_where_pybullet_draws_it(name, scale):
    """PyBullet loads and draws the URDF itself; ours gets the pose of its link frame."""
    p = import_pybullet()
    T_world_cam = look_at([0.3, -0.35, 0.3], POSITION)
    with captured():
        client = p.connect(p.DIRECT)
        body = p.loadURDF(str(DATA / name), globalScaling=scale, physicsClientId=client)
        p.resetBasePositionAndOrientation(body, POSITION, [*Q[1:], Q[0]], physicsClientId=client)
        inertial = p.getDynamicsInfo(body, -1, physicsClientId=client)
        V, P = view_matrix(T_world_cam), projection(K, WIDTH, HEIGHT, NEAR, (0.0, 1.0))
        renderer = p.ER_TINY_RENDERER
        seg = p.getCameraImage(WIDTH, HEIGHT, V, P, shadow=0, renderer=renderer, physicsClientId=client)[4]
        p.disconnect(physicsClientId=client)
    x, y, z, w = inertial[4]
    T_link_inertial = make_transform(quaternion_to_matrix([w, x, y, z]), inertial[3])
    T_world_link = make_transform(quaternion_to_matrix(Q), POSITION) @ invert_transform(T_link_inertial)
    library = Library([ObjectModel(name, load_urdf(DATA / name, scale), DATA / name)], [0, 0])
    mesh = library.objects[0].mesh
    buffers = raster.make_buffers(HEIGHT, WIDTH, 1, len(mesh.vertices), len(mesh.faces))
    P = K @ (invert_transform(T_world_cam) @ T_world_link)[:3]
    raster.rasterize(library.meshes, np.zeros(1, np.int64), np.ascontiguousarray(P[None]), NEAR, 1, buffers)
    drawn = np.reshape(seg, (HEIGHT, WIDTH)) >= 0
    assert drawn.sum() > 300
    assert ((buffers.owner == 0) != drawn).mean() < 1e-4 * 2


URDF = """<robot name="r"><link name="a"><inertial><mass value="1"/>
<inertia ixx="1" ixy="0" ixz="0" iyy="1" iyz="0" izz="1"/></inertial>{}</link></robot>"""
NOTHING = ("<sphere radius='0'/>", "<box size='0 0 0'/>", "<cylinder radius='0' length='0'/>")
VISUAL = "<visual><origin xyz='0.1 0 0'/><geometry>{}</geometry></visual>"


@pytest.mark.parametrize(
    ("solid", "extents"),
    [
        ("<box size='0.1 0.2 0.3'/>", [0.1, 0.2, 0.3]),
        ("<sphere radius='0.1'/>", [0.2, 0.2, 0.2]),
        ("<cylinder radius='0.1' length='0.3'/>", [0.2, 0.2, 0.3]),
    ],
)
def test_solids_become_meshes(tmp_path, solid, extents):
    path = tmp_path / "a.urdf"
    path.write_text(URDF.format(VISUAL.format(solid)))
    mesh = load_urdf(path, scale=0.5)
    np.testing.assert_allclose(mesh.extents, 0.5 * np.array(extents), atol=2e-3)
    np.testing.assert_allclose(mesh.centre, [0.05, 0, 0], atol=2e-3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not xml", "PyBullet cannot load it"),
        (URDF.format(""), "has no visual shape"),
        (URDF.format(VISUAL.format("<mesh filename='gone.obj'/>")), "gone|no visual shape|cannot load"),
    ],
)
def test_a_urdf_that_cannot_be_drawn_is_one_line(tmp_path, capfd, text, message):
    path = tmp_path / "a.urdf"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        load_urdf(path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert capfd.readouterr() == ("", "")


def wedge(path):
    """Write a closed mesh without symmetry."""
    corners = [[0, 0, 0], [0.1, 0, 0], [0, 0.06, 0], [0.02, 0.01, 0.08]]
    trimesh.Trimesh(corners, [[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]], process=False).export(path)


def depth(mesh):
    """Depth (H, W) of a mesh as the renderer draws it, infinite where it is not."""
    library = Library([ObjectModel("wedge", mesh, Path())], [0, 0])
    buffers = raster.make_buffers(HEIGHT, WIDTH, 1, len(mesh.vertices), len(mesh.faces))
    P = K @ invert_transform(look_at([0.25, -0.3, 0.25], mesh.centre))[:3]
    raster.rasterize(library.meshes, np.zeros(1, np.int64), np.ascontiguousarray(P[None]), NEAR, 1, buffers)
    return np.where(buffers.owner == 0, 1 / np.maximum(buffers.inverse_depth, 1e-9), np.inf)


@pytest.mark.parametrize("factors", [(1, -1, 1), (-1, -1, -1), (-1.5, 1, 0.5)])
def test_a_mesh_mirrored_by_its_urdf_is_drawn_from_outside(tmp_path, factors):
    wedge(tmp_path / "w.obj")
    scale = " ".join(map(str, factors))
    visual = f"<visual><geometry><mesh filename='w.obj' scale='{scale}'/></geometry></visual>"
    (tmp_path / "a.urdf").write_text(URDF.format(visual))
    mesh = load_mesh(tmp_path / "w.obj")
    expected = make_mesh(mesh.vertices * factors, mesh.faces)  # closed: its winding is put right
    drawn = depth(load_urdf(tmp_path / "a.urdf"))
    assert np.isfinite(drawn).sum() > 200
    np.testing.assert_allclose(drawn, depth(expected), rtol=1e-6)


def test_a_mesh_scaled_to_nothing_is_refused(tmp_path):
    wedge(tmp_path / "w.obj")
    (tmp_path / "a.urdf").write_text(
        URDF.format("<visual><geometry><mesh filename='w.obj' scale='1 0 1'/></geometry></visual>")
    )
    with pytest.raises(InputError, match=r"a\.urdf: w\.obj is scaled by 1 0 1"):
        load_urdf(tmp_path / "a.urdf")


def test_a_mesh_of_a_package_is_found_in_a_folder_above(tmp_path):
    wedge_folder = tmp_path / "shop" / "meshes"
    wedge_folder.mkdir(parents=True)
    wedge(wedge_folder / "w.obj")
    path = tmp_path / "shop" / "urdf" / "a.urdf"
    path.parent.mkdir()
    path.write_text(URDF.format(VISUAL.format("<mesh filename='package://shop/meshes/w.obj'/>")))
    np.testing.assert_allclose(load_urdf(path).extents, [0.1, 0.06, 0.08])


@pytest.mark.parametrize("name", ["gone.obj", "package://a_rather_long_description/meshes/visual/gone.obj"])
def test_a_missing_mesh_is_named(tmp_path, name):
    path = tmp_path / "a.urdf"
    path.write_text(URDF.format(VISUAL.format(f"<mesh filename='{name}'/>")))
    with pytest.raises(
        InputError, match=rf"a\.urdf: no file {name.removeprefix('package://')}, which it names"
    ):
        load_urdf(path)


def test_a_solid_without_size_is_no_visual(tmp_path):
    path = tmp_path / "a.urdf"
    path.write_text(URDF.format("".join(VISUAL.format(solid) for solid in NOTHING)))
    with pytest.raises(InputError, match="has no visual shape"):
        load_urdf(path)
    path.write_text(URDF.format("".join(VISUAL.format(s) for s in (*NOTHING, "<box size='0.1 0.2 0.3'/>"))))
    np.testing.assert_allclose(load_urdf(path).extents, [0.1, 0.2, 0.3])
