"""docs/own-objects.md, command by command."""

import json

import cv2
import pytest
import trimesh

from deeprob.cli import main
from deeprob.data.readers.bop import BopSource


@pytest.fixture
def scans(tmp_path):
    """Three scans in millimetres, far from their origin."""
    folder = tmp_path / "my_objects"
    folder.mkdir()
    shapes = {
        "box": trimesh.creation.box((90, 60, 40)),
        "can": trimesh.creation.cylinder(radius=30, height=100, sections=48),
        "ball": trimesh.creation.icosphere(subdivisions=3, radius=45),
    }
    for name, shape in shapes.items():
        shape.apply_translation([300, -200, 500])
        shape.export(folder / f"{name}.ply")
    return folder


@pytest.mark.slow
def test_from_scans_to_a_recogniser_and_its_report(scans, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("DEEPROB_RUN_ID", "run")
    camera = ["sim.camera.width=96", "sim.camera.height=96"]
    look = ["render", "preview=true", "out=check.png", f"sim.objects={scans}", *camera]

    assert main(look) == 2
    assert "this ball is 90 metres wide; millimetres? set sim.objects.scale=0.001" in capfd.readouterr().err

    assert main([*look, "sim.objects.scale=0.001"]) == 0
    seen = capfd.readouterr()
    assert "from the middle of this box" in seen.err
    assert "sim.objects.centre=true" in seen.err

    assert main([*look, "sim.objects.scale=0.001", "sim.objects.centre=true"]) == 0
    seen = capfd.readouterr()
    assert "warning" not in seen.err
    assert "9.0 x 6.0 x 4.0" in seen.out
    assert cv2.imread("check.png") is not None

    objects = [f"sim.objects={scans}", "sim.objects.scale=0.001", "sim.objects.centre=true"]
    assert main(["render", "format=bop", "out=my_data", "num=8", "workers=1", *objects, *camera]) == 0
    source = BopSource(tmp_path / "my_data", {"train": ["train_pbr/*"]})
    assert len(source.frames("train")) == 8

    train = [f"data.{part}" for part in [f"sim.objects.folder={scans}", *objects[1:], *camera]]
    sizes = [
        "data.sim.train_scenes=32",
        "data.sim.val_scenes=4",
        "data.sim.test_scenes=6",
        "trainer.max_epochs=8",
        "data.batch_size=16",
    ]
    assert (
        main(["train", "experiment=quickstart", "name=my_objects", "paths.cache_dir=cache", *train, *sizes])
        == 0
    )
    results = json.loads((tmp_path / "runs" / "my_objects" / "run" / "results.json").read_text())
    assert results["data"]["real"] is False
    assert results["metrics"]["top1_accuracy"]["value"] > 0.5
    assert (tmp_path / "runs" / "my_objects" / "run" / "report.html").is_file()
    assert main(["evaluate", "run=runs/my_objects/run", "split=val"]) == 0
