"""Symmetries proposed for shapes whose symmetries are known."""

import numpy as np
import pytest
import trimesh
from omegaconf import OmegaConf

from deeprob.cli import info
from deeprob.geometry.mesh import load_mesh
from deeprob.sim.folder import load_file
from deeprob.sim.settings import ObjectSettings
from deeprob.sim.symmetry import propose, yaml_lines

SHAPES = {
    "box": lambda: trimesh.creation.box((0.1, 0.06, 0.03)),
    "cube": lambda: trimesh.creation.box((0.1, 0.1, 0.1)),
    "tile": lambda: trimesh.creation.box((0.08, 0.08, 0.02)),
    "can": lambda: trimesh.creation.cylinder(0.03, 0.1, sections=64),
    "cone": lambda: trimesh.creation.cone(0.03, 0.1, sections=64),
    "wedge": lambda: trimesh.convex.convex_hull(
        np.array([[0, 0, 0], [0.1, 0, 0], [0, 0.06, 0], [0, 0, 0.03], [0.1, 0, 0.02]])
    ),
}


@pytest.fixture
def mesh_of(tmp_path):
    def make(name):
        SHAPES[name]().export(tmp_path / f"{name}.ply")
        return load_mesh(tmp_path / f"{name}.ply")

    return make


@pytest.mark.parametrize(
    ("name", "discrete", "continuous"),
    [("box", 3, 0), ("cube", 23, 0), ("tile", 7, 0), ("can", 1, 1), ("cone", 0, 1), ("wedge", 0, 0)],
)
def test_a_shape_has_the_symmetries_that_it_has(mesh_of, name, discrete, continuous):
    found = propose(mesh_of(name)).symmetries
    assert (len(found.discrete), len(found.continuous)) == (discrete, continuous)
    for axis, _ in found.continuous:
        assert abs(axis[2]) == pytest.approx(1, abs=1e-3)


def test_the_turns_of_a_box_are_exact(mesh_of):
    """Axes come from the mesh itself, not from points drawn on it, and are told where they lie."""
    for T in propose(mesh_of("tile")).symmetries.discrete:
        np.testing.assert_allclose(T, np.round(T), atol=1e-6)


def test_the_lines_are_read_as_they_are_meant(mesh_of, tmp_path):
    found = propose(mesh_of("can")).symmetries
    (tmp_path / "objects.yaml").write_text("\n".join(yaml_lines("can", found)))
    assert "can" in OmegaConf.load(tmp_path / "objects.yaml")
    read = load_file("can", tmp_path / "can.ply", ObjectSettings()).symmetries
    np.testing.assert_allclose(read.transforms(8), found.transforms(8), atol=1e-5)


def test_the_command_prints_them_and_draws_them(mesh_of, tmp_path, capsys):
    mesh_of("can")
    mesh_of("wedge")
    assert info.main([f"objects={tmp_path}", f"sheet={tmp_path / 'sheet.png'}"]) == 0
    said = capsys.readouterr().out
    assert "symmetries_continuous" in said
    assert "no turn" in said
    assert (tmp_path / "sheet.png").is_file()
