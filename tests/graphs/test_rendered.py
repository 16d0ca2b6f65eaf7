"""A picture's derivatives by six motions, and one pixel read back: columns and rows of one Jacobian."""

import pytest
import torch

from deeprob import layers
from deeprob.cli import main
from deeprob.errors import InputError
from deeprob.geometry.mesh import make_mesh
from deeprob.graphs.rendered import MOTIONS, Scene, derivatives, page, read_back, red_and_blue, steps_of

TETRAHEDRON = make_mesh(
    torch.tensor([[0.0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0, 0, 0.1]]).double().numpy(),
    torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]).numpy(),
)


@pytest.fixture(scope="module")
def scene():
    return Scene.of(TETRAHEDRON)


@pytest.mark.parametrize("name", ["mask", "depth"])
def test_what_is_read_back_is_what_the_pictures_hold(scene, name):
    shown, slopes = derivatives(scene)
    reading = read_back(scene)
    if name == "depth":
        far = (shown["depth"] > 0) & (slopes["mask"] == 0).all(0)
        v, u = (int(i) for i in far.nonzero()[far.sum() // 2])
        reading = read_back(scene, (u, v))
    u, v = reading.pixel
    assert reading.name == name
    assert reading.value == pytest.approx(float(shown[name][v, u]))
    torch.testing.assert_close(reading.d, slopes[name][:, v, u], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("k", range(6))
def test_the_mask_follows_a_motion(scene, k):
    """Its columns' and rows' sums, against central differences over some tenths of a pixel."""
    _, slopes = derivatives(scene)
    step = float(scene.m[2] / scene.K[0, 0]) / (6 if k < 3 else 0.6)
    drawn = []
    for side in (-step, step):
        points = scene.points(scene.in_camera(side * torch.eye(6)[k]))
        seen = layers.visible_faces(points, scene.faces, scene.size, scene.closed)
        crossings = layers.silhouette_crossings(points, layers.mesh_edges(scene.faces), scene.faces, seen)
        drawn.append(scene.pictures(points, seen, crossings)["mask"])
    change = (drawn[1] - drawn[0]) / (2 * step)
    ramp = torch.arange(96.0) - 47.5
    for weight in (ramp[:, None], ramp[None], ramp[:, None] * ramp[None] / 48):
        expected, found = (change * weight).sum(), (slopes["mask"][k] * weight).sum()
        assert abs(found - expected) < 0.05 * (slopes["mask"][k] * weight).abs().sum()


def test_every_step_multiplies(scene):
    rows = read_back(scene).layers[0][2]
    as_numbers = [[float(c.rpartition("= ")[2].replace("−", "-")) for c in row[1:]] for row in rows]
    for upstream, local, downstream in as_numbers:
        assert upstream * local == pytest.approx(downstream, abs=0.02)


def test_the_page_says_all_of_it(scene):
    reading = read_back(scene)
    html = page(scene, reading, "a tetrahedron", lambda picture: f"data:,{picture.shape[0]}")
    assert html.count("<image ") == 1 + 2 * len(MOTIONS)
    ids = {f'id="{step["gate"]}"' for step in steps_of(scene, reading) if step["gate"]}
    assert all(name in html for name in ids)


def test_red_grows_and_blue_shrinks():
    picture = red_and_blue(torch.tensor([[1.0, 0.0, -1.0]]).numpy())
    assert picture.tolist() == [[[255, 0, 0], [255, 255, 255], [0, 0, 255]]]


@pytest.mark.parametrize(
    ("pixel", "said"), [((0, 0), "neither the object nor its outline"), ((96, 3), "inside of 96 x 96")]
)
def test_a_pixel_that_shows_nothing_is_refused(scene, pixel, said):
    with pytest.raises(InputError, match=said):
        read_back(scene, pixel)


def test_an_object_is_named_or_a_file(tmp_path, capsys):
    (tmp_path / "flat.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    assert main(["graph", f"render={tmp_path / 'flat.obj'}", "show=page", "out=flat.html"]) == 0
    assert "data:image/png" in (tmp_path / "flat.html").read_text()
    assert main(["graph", "render=mugg"]) == 2
    assert "no object called mugg" in capsys.readouterr().err
    assert main(["graph", f"render={tmp_path / 'flat.obj'}", "pixel=[1]"]) == 2
    assert "[u,v]: column and row" in capsys.readouterr().err


def test_the_file_that_is_named_is_drawn_whatever_lies_beside_it(tmp_path, capsys):
    square = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nf 1 2 3 4\n"
    (tmp_path / "part.obj").write_text("v 0 0 0\nv 0.1 0 0\nv 0 0.1 0\nf 1 2 3\n")
    (tmp_path / "part.ply").write_text(
        "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
        "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
        "0 0 0\n0.1 0 0\n0 0.1 0\n3 0 1 2\n"
    )
    (tmp_path / "robot.urdf").write_text("<robot><mesh filename='part.obj'/></robot>")  # a part of an object
    (tmp_path / "a [1], b.obj").write_text(square)
    for name in ("part.obj", "part.ply", "a [1], b.obj"):
        assert main(["graph", f"render={tmp_path / name}", "show=table"]) == 0
        assert name.rpartition(".")[0] in capsys.readouterr().out
    assert main(["graph", f"render={tmp_path / 'none.obj'}"]) == 2
    assert "none.obj; expected a mesh's file, or bunny" in capsys.readouterr().err
