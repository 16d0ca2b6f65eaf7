import re

import cv2
import pytest
import trimesh

from deeprob.cli import main
from deeprob.cli.render import compose_settings

SMALL = ["sim.objects.names=[domino,cone]", "sim.camera.width=48", "sim.camera.height=40", "sim.views=2"]


def test_render_writes_a_data_set(tmp_path, capsys):
    assert main(["render", "format=coco", f"out={tmp_path / 'set'}", "num=3", "workers=0", *SMALL]) == 0
    assert len(list((tmp_path / "set" / "images" / "train").glob("*.png"))) == 3
    assert f"wrote 3 pictures of train to {tmp_path / 'set'}, format coco" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("format", "splits"),
    [
        ("bop", "train,test"),
        ("coco", "train,val"),
        ("darknet", "train,val"),
        ("props_detection", "train,val"),
        ("props_pose", "train,val"),
        ("props_classification", "train,test"),
    ],
)
def test_the_data_option_of_the_same_name_reads_what_is_written(tmp_path, capsys, format, splits):
    small = [] if format.startswith("props") else SMALL  # PROPS has ten objects, and pictures of its size
    out = [f"format={format}", f"out={tmp_path / 'set'}", "num=4", f"splits=[{splits}]", "workers=0"]
    assert main(["render", *out, *small]) == 0
    assert main(["info", f"data={format}", f"data.root={tmp_path / 'set'}"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"bad (frames|samples)\D+0\D+0\D", said)


@pytest.mark.parametrize("name", ["with space é", "a,b(1)", "it's", "x=[y]"])
def test_a_folder_may_have_any_name(name):
    assert compose_settings([f"sim.objects=/my/{name}"]).objects.folder == f"/my/{name}"


def test_preview_writes_one_picture_of_sixteen_samples(tmp_path):
    sheet = tmp_path / "sheet.png"
    assert main(["render", "preview=true", f"out={sheet}", *SMALL]) == 0
    zoom, gaps = 8, 3 * 6
    assert cv2.imread(str(sheet)).shape == (4 * zoom * 40 + gaps, 4 * zoom * 48 + gaps, 3)


def test_the_table_of_a_preview_names_each_file_and_what_is_passed_over(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    trimesh.creation.box((0.1, 0.06, 0.04)).export(tmp_path / "crate.obj")
    trimesh.creation.box((0.1, 0.06, 0.04)).export(tmp_path / "crate.stl")
    (tmp_path / "mug.glb").write_bytes(b"")
    assert (
        main(["render", "preview=true", f"out={tmp_path / 's.png'}", f"sim.objects={tmp_path}", *SMALL[1:]])
        == 0
    )
    shown = capsys.readouterr()
    assert "crate.obj" in shown.out
    assert "crate.stl" not in shown.out
    assert "warning: 1 mesh file is passed over (1 .glb), such as mug.glb" in shown.err


def test_a_preview_that_cannot_be_written_is_one_line(capfd):
    assert main(["render", "preview=true", "out=/proc/sheet.jpg", *SMALL]) == 2
    assert re.fullmatch(
        r"deeprob render: /proc/sheet.jpg: the picture cannot be written .*\n", capfd.readouterr().err
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["format=bop"], "out: no folder to write to"),
        (["format=voc", "out=x"], "no format called 'voc'; expected bop, props_pose"),
        (
            ["num=many", "out=x"],
            "deeprob render: num: Value 'many' of type 'str' could not be converted to Integer",
        ),
        (["splits=[]", "out=x"], "splits: no split to render; expected one or more of train, val, test"),
        (["splits=", "out=x"], "splits: no split to render; expected one or more of train, val, test"),
        (["splits=trian", "out=x"], "splits: bop has no split 'trian'; expected train, val, test"),
        (["out=x", "sim.scene.objets=[1,2]"], "objets"),
        (["out=x", "sim.objects=/nowhere"], "no such folder of objects"),
        (["out=x", "sim.scene.arrangement=heap"], "scatter|stack|bin|shelf|turntable"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, message, capsys):
    assert main(["render", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_an_experiment_brings_its_settings_and_overrides_change_them():
    settings = compose_settings(["experiment=quickstart", "sim.objects=random_urdfs", "sim.objects.limit=4"])
    assert (settings.objects.folder, settings.objects.limit) == ("random_urdfs", 4)
    assert settings.camera == compose_settings([]).camera
