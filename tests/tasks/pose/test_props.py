"""PoseCNN on PROPS as its archive is laid out, here written by the simulator."""

import json

import pytest
from fixtures.tasks import QUICK, finished, paths

from deeprob.config import compose
from deeprob.sim.export.run import export
from deeprob.sim.settings import SceneSettings, SimSettings
from deeprob.training.sources import make_data


@pytest.mark.slow
def test_posecnn_is_trained_and_judged_on_props(tmp_path):
    settings = SimSettings(train_scenes=2, val_scenes=1, views=2, scene=SceneSettings(objects=[4, 6]))
    export(settings, "props_pose", tmp_path / "props", 4, ("train", "val"), 0, progress=False)
    overrides = [
        *("experiment=props_posecnn", f"data.root={tmp_path / 'props'}", *paths(tmp_path), *QUICK),
        *("data.view.width=160", "data.view.height=120", "data.batch_size=2", "trainer.val_every=1"),
        *("model.widths=[8,8,8]", "model.blocks=[0,0,0]", "model.hidden=8", "trainer.ema=0"),
    ]
    data = make_data(compose("train", overrides))
    assert len(data.split("train")) == len(data.split("val")) == 4
    run = finished(overrides, "one")
    results = json.loads((run.path / "results.json").read_text())
    assert results["metrics"]["add_or_add_s_recall"]["value"] is not None
    assert {"random", "hough", "depth"} <= results["baselines"].keys()  # beside the run's own, icp
    assert (run.path / "predictions_val.csv").is_file()
    assert "Rotation and translation apart" in (run.path / "report.html").read_text()
