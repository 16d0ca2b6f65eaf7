from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeprob.errors import InputError
from deeprob.geometry.mesh_parts import GREY, read_parts

FACE = "v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\n{}f 1/1 2/2 3/3\n"
PLY = """ply
format ascii 1.0
comment TextureFile {}
element vertex 3
property float x
property float y
property float z
property float s
property float t
element face 1
property list uchar int vertex_indices
end_header
0 0 0 0 0
1 0 0 1 0
0 1 0 0 1
3 0 1 2
"""


@pytest.fixture
def paint(tmp_path: Path) -> Path:
    Image.new("RGB", (1, 1), (200, 100, 50)).save(tmp_path / "my paint.png")
    return tmp_path


def obj(folder: Path, materials: str, use: str = "") -> Path:
    (folder / "m.mtl").write_text(materials)
    (folder / "m.obj").write_text("mtllib m.mtl\n" + FACE.format(use))
    return folder / "m.obj"


def test_the_only_material_is_that_of_faces_that_choose_none(paint: Path) -> None:
    ((_, _, colors, _, texture),) = read_parts(obj(paint, "newmtl red\nKd 1 0 0\n"))
    np.testing.assert_allclose(colors, np.broadcast_to([1, 0, 0], (1, 3, 3)), atol=1e-6)
    assert texture is None
    ((_, _, _, _, texture),) = read_parts(obj(paint, "newmtl wood\nmap_Kd my paint.png\n"))
    assert texture[0, 0].tolist() == [200, 100, 50]


def test_of_several_materials_none_is_guessed(paint: Path) -> None:
    path = obj(paint, "newmtl red\nKd 1 0 0\nnewmtl blue\nKd 0 0 1\n")
    ((_, _, colors, _, _),) = read_parts(path)
    assert np.ptp(colors) == 0  # some grey


@pytest.mark.parametrize("use", ["usemtl wood\n", "usemtl\twood \n", "  usemtl wood\n"])
def test_a_material_is_chosen_by_its_name(paint: Path, use: str) -> None:
    ((_, _, _, uv, texture),) = read_parts(
        obj(paint, "newmtl red\nKd 1 0 0\nnewmtl wood\nmap_Kd -s 2 1 1 my paint.png\n", use)
    )
    assert texture[0, 0].tolist() == [200, 100, 50]
    assert sorted(map(tuple, uv[0].tolist())) == [(0, 0), (0, 1), (2, 0)]


def test_a_texture_that_is_left_out_may_be_missing(paint: Path) -> None:
    path = obj(paint, "newmtl wood\nKd 0 1 0\nmap_Kd gone.png\n")
    ((_, _, colors, _, texture),) = read_parts(path, textured=False)
    assert texture is None
    np.testing.assert_allclose(colors[0, 0], [0, 1, 0])


def test_a_ply_has_the_texture_that_its_comment_names(paint: Path) -> None:
    (paint / "a.ply").write_text(PLY.format("my paint.png"))
    ((_, _, _, uv, texture),) = read_parts(paint / "a.ply")
    assert texture[0, 0].tolist() == [200, 100, 50]
    assert sorted(map(tuple, uv[0].tolist())) == [(0, 0), (0, 1), (1, 0)]


def test_a_ply_whose_texture_is_missing_is_one_line(tmp_path: Path, capfd, caplog) -> None:
    (tmp_path / "a.ply").write_text(PLY.format("gone.png"))
    with pytest.raises(
        InputError, match=r"a\.ply: comment TextureFile: the texture gone\.png does not exist"
    ):
        read_parts(tmp_path / "a.ply")
    ((_, faces, colors, _, texture),) = read_parts(tmp_path / "a.ply", textured=False)
    assert (len(faces), texture) == (1, None)
    assert capfd.readouterr().err == caplog.text == ""
    assert 0 < colors.min() <= colors.max() <= GREY
