from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeprob.errors import InputError
from deeprob.geometry.materials import find_file, read_materials, read_texture

WOOD, STONE = (150, 100, 50), (90, 95, 99)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("RGB", (4, 2), WOOD).save(tmp_path / "wood grain.png")
    Image.new("RGB", (4, 2), STONE).save(tmp_path / "stone.png")
    return tmp_path


def material(folder: Path, map_line: str, library: str = "m.mtl"):
    (folder / library).write_text(f"newmtl a b\nKd 1 0.5 0\n{map_line}\n")
    return read_materials(folder / "m.obj", f"mtllib {library}\n")["a b"]


@pytest.mark.parametrize(
    ("line", "color"),
    [
        ("map_Kd stone.png", STONE),
        ("map_Kd wood grain.png", WOOD),
        ('map_Kd "wood grain.png"', WOOD),
        ("\tmap_kd\tstone.png", STONE),
        ("map_Kd -s 1 1 1 stone.png", STONE),
        ("map_Kd -clamp on -mm 0 1 -o 0.5 wood grain.png", WOOD),
        ("map_Kd -bm 0.3 -s 2 2 wood grain.png", WOOD),
        (r"map_Kd textures\stone.png", STONE),
        (r"map_Kd C:\Users\me\My Files\wood grain.png", WOOD),
        ("map_Kd Stone.PNG", STONE),
    ],
)
def test_a_texture_is_found_by_the_names_that_tools_write(folder: Path, line: str, color) -> None:
    assert material(folder, line).texture.picture[0, 0].tolist() == list(color)


def test_a_library_may_begin_with_a_mark_of_its_encoding(folder: Path) -> None:
    (folder / "m.mtl").write_bytes(b"\xef\xbb\xbfnewmtl red\r\nKd 1 0 0\r\n")
    assert read_materials(folder / "m.obj", "mtllib m.mtl\n")["red"].color == "1 0 0"


def test_the_options_of_a_texture_scale_and_shift_it(folder: Path) -> None:
    texture = material(folder, "map_Kd -s 2 3 1 -o 0.5 0.25 stone.png").texture
    assert (texture.scale, texture.offset) == ((2, 3), (0.5, 0.25))
    assert material(folder, "map_Kd -S 2 3 1 stone.png").texture.scale == (2, 3)


@pytest.mark.parametrize("name", ["x" * 5000, "é" * 200, "a/" * 3000])
def test_a_texture_whose_name_is_too_long_for_a_file_is_not_there(folder: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"the texture .{80} does not exist"):
        material(folder, f"map_Kd {name}.png")


def test_a_texture_that_is_not_there_is_named_whole(folder: Path) -> None:
    with pytest.raises(InputError, match=r"m\.mtl: map_Kd: the texture old oak\.png does not exist"):
        material(folder, "map_Kd -s 1 1 1 old oak.png")


def test_a_picture_that_is_broken_is_named(folder: Path) -> None:
    (folder / "stone.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"stone\.png: the texture cannot be read"):
        material(folder, "map_Kd stone.png")


@pytest.mark.parametrize("line", ["my things.mtl", "gone.mtl my_other.mtl"])
def test_libraries_may_have_spaces_or_be_several(folder: Path, line: str) -> None:
    for name in ("my things.mtl", "my_other.mtl"):
        (folder / name).write_text("newmtl red\nKd 1 0 0\n")
    assert read_materials(folder / "m.obj", f"v 0 0 0\nmtllib {line}\n")["red"].color == "1 0 0"


def test_a_texture_is_found_where_scanned_objects_keep_it(tmp_path: Path) -> None:
    (tmp_path / "materials/textures").mkdir(parents=True)
    (tmp_path / "meshes").mkdir()
    picture = tmp_path / "materials/textures/texture.png"
    Image.new("RGB", (2, 2), WOOD).save(picture)
    assert find_file(tmp_path / "meshes", "texture.png").samefile(picture)


def test_sixteen_bits_of_grey_are_not_cut_off(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 0x8000, 0xFFFF]], np.uint16)).save(tmp_path / "a.png")
    assert read_texture(tmp_path / "a.png")[0, :, 0].tolist() == [0, 128, 255]
