"""Poses of one's own objects: a folder of meshes is all that is given."""

import json

import pytest
from fixtures.tasks import QUICK, finished, paths

from deeprob.config import compose
from deeprob.errors import InputError
from deeprob.training.experiment import make_task
from deeprob.training.sources import make_data

TINY = (
    *("data.view.size=32", "data.view.min_pixels=4", "data.sim.train_scenes=4", "data.sim.val_scenes=2"),
    *("data.sim.views=1", "data.sim.scene.objects=[2,3]", "data.sim.scene.distractors=[0,0]"),
    *("data.sim.camera.width=96", "data.sim.camera.height=72", "data.source.workers=0"),
    *("data.source.fresh=false", "data.batch_size=8", "model.widths=[8,8,8,8]", "model.width=8"),
    *("model.head_widths=[8]", "model.hidden=8", "model.fragments=4", "trainer.precision=32-true"),
    *("trainer.val_every=1", "trainer.ema=0"),
)


def meshes(folder, size):
    """A flat box, 8 x 8 x 2 cm where size is 1, and a taller one."""
    trimesh = pytest.importorskip("trimesh")
    folder.mkdir()
    for name, extents in (("tile", (0.08, 0.08, 0.02)), ("brick", (0.04, 0.05, 0.09))):
        trimesh.creation.box([size * side for side in extents]).export(folder / f"{name}.ply")
    return folder


@pytest.mark.slow
def test_own_pose_is_trained_from_meshes_alone(tmp_path):
    folder = meshes(tmp_path / "mine", 1)
    given = ["experiment=own_pose", f"data.sim.objects.folder={folder}", *TINY, *paths(tmp_path), *QUICK]
    run = finished(given, "one")
    results = json.loads((run.path / "results.json").read_text())
    assert set(results["per_class"]) <= {"tile", "brick"}
    assert results["metrics"]["detected"]["value"] == 1.0
    assert {"direct", "pnp", "depth", "nearest_view"} <= results["baselines"].keys()


def test_an_origin_far_from_its_object_is_refused_before_training(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    (tmp_path / "mine").mkdir()
    box = trimesh.creation.box((0.08, 0.08, 0.02))
    box.apply_translation((0.3, 0, 0))
    box.export(tmp_path / "mine" / "tile.ply")
    given = ["experiment=own_pose", f"data.sim.objects.folder={tmp_path / 'mine'}", *TINY, *paths(tmp_path)]
    cfg = compose("train", given)
    with pytest.raises(InputError, match="centre=true"):
        make_task(cfg, make_data(cfg)).model_arguments()
