import json

import numpy as np
import pytest
import trimesh

from deeprob.errors import InputError
from deeprob.sim.folder import check_origin
from deeprob.sim.objects import load_objects
from deeprob.sim.settings import ObjectSettings


def box(path, extents=(0.1, 0.06, 0.04), shift=(0, 0, 0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    mesh = trimesh.creation.box(extents)
    mesh.apply_translation(shift)
    mesh.export(path)


def load(folder, **values):
    return load_objects(ObjectSettings(folder=str(folder), **values))


@pytest.mark.parametrize("suffix", ["obj", "ply", "stl"])
def test_meshes_of_a_folder_are_named_by_their_files(tmp_path, suffix):
    box(tmp_path / f"crate.{suffix}")
    box(tmp_path / f"brick.{suffix}", (0.05, 0.05, 0.05))
    models = load(tmp_path)
    assert [model.name for model in models] == ["brick", "crate"]
    np.testing.assert_allclose(models[1].mesh.extents, [0.1, 0.06, 0.04], atol=1e-6)


def test_the_meshes_of_a_urdf_beside_it_are_no_objects(tmp_path):
    box(tmp_path / "mug_visual.obj")
    box(tmp_path / "brick.obj")
    (tmp_path / "mug.urdf").write_text(
        '<robot name="mug"><link name="l"><visual><geometry><mesh filename="mug_visual.obj"/></geometry>'
        "</visual></link></robot>"
    )
    assert [model.name for model in load(tmp_path)] == ["brick", "mug"]


def test_a_description_may_name_a_class(tmp_path):
    box(tmp_path / "scan_17.ply", (100, 60, 40))
    (tmp_path / "objects.yaml").write_text("scan_17: {name: tea_box, scale: 0.001}")
    (model,) = load(tmp_path)
    assert model.name == "tea_box"
    np.testing.assert_allclose(model.mesh.extents, [0.1, 0.06, 0.04])
    assert [model.name for model in load(tmp_path, names=["tea_box"])] == ["tea_box"]
    box(tmp_path / "tea_box.ply")
    with pytest.raises(InputError, match="two objects have the same name"):
        load(tmp_path)


def test_names_beside_bop_models_are_their_classes(tmp_path):
    box(tmp_path / "obj_000003.ply", (100, 60, 40))
    (tmp_path / "models_info.json").write_text('{"3": {}}')
    (tmp_path / "names.json").write_text('{"3": "drill"}')
    assert [model.name for model in load(tmp_path)] == ["drill"]
    (tmp_path / "names.json").write_text("{")
    with pytest.raises(InputError, match=r"names.json: no names can be read"):
        load(tmp_path)


def test_names_and_limit_choose(tmp_path):
    for name in "abc":
        box(tmp_path / f"{name}.ply")
    assert [model.name for model in load(tmp_path, names=["c", "a"])] == ["c", "a"]
    assert [model.name for model in load(tmp_path, limit=2)] == ["a", "b"]
    with pytest.raises(InputError, match="no object called d; expected some of a, b, c"):
        load(tmp_path, names=["d"])


def test_a_props_model_folder_gives_classes_in_order_of_their_numbers(tmp_path):
    for inner in ("14_mug", "2_cracker_box"):
        box(tmp_path / inner / "textured_simple.obj")
    assert [model.name for model in load(tmp_path)] == ["cracker_box", "mug"]


def test_a_bop_models_folder_is_in_millimetres_and_has_symmetries(tmp_path):
    box(tmp_path / "obj_000001.ply", (100, 60, 40))
    flip = [1, 0, 0, 10, 0, -1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 1]
    axis = {"axis": [0, 0, 1], "offset": [0, 5, 0]}
    info = {"1": {"diameter": 123, "symmetries_discrete": [flip], "symmetries_continuous": [axis]}}
    (tmp_path / "models_info.json").write_text(json.dumps(info))
    (model,) = load(tmp_path)
    np.testing.assert_allclose(model.mesh.extents, [0.1, 0.06, 0.04], atol=1e-6)
    assert model.symmetries.discrete[0][0, 3] == pytest.approx(0.01)
    np.testing.assert_allclose(model.symmetries.continuous[0][1], [0, 0.005, 0])


def test_a_description_gives_scale_and_symmetries(tmp_path):
    box(tmp_path / "crate.ply", (100, 60, 40))
    box(tmp_path / "brick.ply")
    (tmp_path / "objects.yaml").write_text(
        "crate:\n  scale: 0.001\n  symmetries_continuous:\n    - {axis: [0, 0, 1], offset: [0, 0, 0]}\n"
    )
    brick, crate = load(tmp_path)
    np.testing.assert_allclose(crate.mesh.extents, [0.1, 0.06, 0.04], atol=1e-6)
    assert len(crate.symmetries.continuous) == 1
    assert not brick.symmetries.continuous


@pytest.mark.parametrize(
    ("extents", "message"),
    [
        ((96, 80, 100), r"this mug is 100 metres wide; millimetres\? set sim\.objects\.scale=0\.001"),
        ((9.6, 8, 10), r"this mug is 10 metres wide; millimetres\? set sim\.objects\.scale=0\.001"),
        ((0.0001, 0.0001, 0.0001), r"this mug is 0\.1 millimetres wide; set sim\.objects\.scale"),
    ],
)
def test_wrong_units_are_noticed(tmp_path, extents, message):
    box(tmp_path / "mug.ply", extents)
    with pytest.raises(InputError, match=message):
        load(tmp_path)


def test_a_displaced_origin_is_noticed_and_moved_on_request(tmp_path):
    box(tmp_path / "mug.ply", shift=(0.4, 0, 0.3))
    (model,) = load(tmp_path)
    assert "the origin lies 50 cm from the middle of this mug, 10 cm wide" in check_origin(model)
    (centred,) = load(tmp_path, centre=True)
    assert check_origin(centred) is None
    np.testing.assert_allclose(centred.mesh.centre, 0, atol=1e-7)


@pytest.mark.parametrize("content", [None, "empty"])
def test_a_folder_without_objects_is_one_line(tmp_path, content):
    folder = tmp_path / "objects"
    if content:
        folder.mkdir()
    with pytest.raises(InputError, match=r"no such folder of objects|holds no object"):
        load(folder)


@pytest.mark.parametrize(
    "text", ["crate: [", "crate: {colour: red}", "crate: 5", "crate: {scale: -1}", "crate: {scale: much}"]
)
def test_a_description_that_cannot_be_used_names_its_file(tmp_path, text):
    box(tmp_path / "crate.ply")
    (tmp_path / "objects.yaml").write_text(text)
    with pytest.raises(InputError, match=r"objects\.yaml"):
        load(tmp_path)
