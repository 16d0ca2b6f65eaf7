from pathlib import Path

import pytest
from PIL import Image

from deeprob.errors import InputError
from deeprob.sim.folder import folder_files
from deeprob.sim.object_files import best_form, find_objects, parts_of_urdfs, passed_over

TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"


def obj(path: Path, library: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text((f"mtllib {path.stem}.mtl\n" if library else "") + TRIANGLE)
    if library:
        path.with_suffix(".mtl").write_text("newmtl a\n" + library)
    return path


def ply(path: Path, header: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"ply\nformat ascii 1.0\n{header}end_header\n")
    return path


def ycb(folder: Path) -> Path:
    """One object as YCB keeps it."""
    Image.new("RGB", (4, 4)).save(obj(folder / "textured.obj", "map_Kd t.png").parent / "t.png")
    for name in ("nontextured.stl", "textured.dae"):
        (folder / name).write_bytes(b"")
    ply(folder / "nontextured.ply", "property uchar red\n")
    return folder


@pytest.mark.parametrize("deeper", ["", "google_16k"])
def test_of_the_forms_of_a_scan_the_textured_one_is_taken(tmp_path: Path, deeper: str) -> None:
    ycb(tmp_path / "025_mug" / deeper)
    assert folder_files(tmp_path) == {"mug": tmp_path / "025_mug" / deeper / "textured.obj"}


def test_the_folder_of_one_scan_holds_one_object(tmp_path: Path) -> None:
    ycb(tmp_path)
    assert list(find_objects(tmp_path)) == ["textured"]


def test_two_forms_under_one_name_are_one_object(tmp_path: Path) -> None:
    (tmp_path / "mug.stl").write_bytes(b"")
    ply(tmp_path / "mug.ply", "comment TextureFile t.png\n")
    obj(tmp_path / "mug.obj", "Kd 1 0 0")
    obj(tmp_path / "plate.obj")
    assert find_objects(tmp_path) == {"mug": tmp_path / "mug.ply", "plate": tmp_path / "plate.obj"}


@pytest.mark.parametrize(
    ("names", "objects"),
    [
        (["mug.obj", "mug_vhacd.obj", "mug_collision.stl", "mug.convex_1.obj"], ["mug"]),
        (["Mug_visual.obj", "mug_collision.obj"], ["Mug_visual"]),
        (["mug_collision.obj"], ["mug_collision"]),
        (["mug.obj", "cup_hull.obj", "hull.obj"], ["cup_hull", "hull", "mug"]),
        (["mug.obj", "mug_red.obj"], ["mug", "mug_red"]),
    ],
)
def test_forms_for_the_physics_are_no_objects(tmp_path: Path, names: list[str], objects: list[str]) -> None:
    for name in names:
        obj(tmp_path / name)
    assert sorted(find_objects(tmp_path)) == objects


@pytest.mark.parametrize(
    ("names", "best"),
    [
        (["b.obj", "a_collision.obj"], "b.obj"),
        (["a.stl", "b.obj"], "b.obj"),
        (["z.urdf", "a.obj"], "z.urdf"),
        (["b.obj", "a.obj"], "a.obj"),
    ],
)
def test_what_is_for_the_eye_comes_first(tmp_path: Path, names: list[str], best: str) -> None:
    assert best_form([obj(tmp_path / name) for name in names]).name == best


def test_what_cannot_be_read_is_counted(tmp_path: Path) -> None:
    taken = obj(tmp_path / "mug.obj")
    for name in ("mug.dae", "bowl.glb", "a/plate.glb", "a/cup.dae"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert passed_over(tmp_path, [taken]) == (
        "3 mesh files are passed over (1 .dae, 2 .glb), such as bowl.glb"
    )
    taken.unlink()
    with pytest.raises(
        InputError, match=r"holds no object; 4 mesh files are passed over \(2 \.dae, 2 \.glb\)"
    ):
        folder_files(tmp_path)


def test_other_forms_of_what_is_taken_are_not_counted(tmp_path: Path) -> None:
    ycb(tmp_path / "025_mug" / "google_16k")
    assert passed_over(tmp_path, folder_files(tmp_path).values()) is None


@pytest.mark.parametrize("quote", ["'", '"'])
@pytest.mark.parametrize("place", ["", "./", "package://shop/", "file:///home/me/"])
def test_the_meshes_that_a_urdf_names_are_parts(tmp_path: Path, place: str, quote: str) -> None:
    (tmp_path / "a.urdf").write_text(f"<mesh filename={quote}{place}body.obj{quote}/>")
    assert parts_of_urdfs(tmp_path) == {tmp_path / "body.obj"}
