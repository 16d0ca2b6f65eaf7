import numpy as np
import pytest

from deeprob.errors import InputError
from deeprob.sim.bank import SceneBank
from deeprob.sim.generator import Generator
from deeprob.sim.settings import CameraSettings

from .conftest import small


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bank")
    SceneBank(small(), folder).prepare("train", 10, workers=0, progress=False)
    return folder


def test_a_scene_of_the_bank_is_the_scene_settled_anew(folder, generator):
    kept, fresh = SceneBank(small(), folder).scene("train", 3), generator.scene("train", 3)
    assert (kept.key, kept.labelled, kept.loose) == (fresh.key, fresh.labelled, fresh.loose)
    for name in ("models", "scale", "T_world_obj"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(fresh, name))


def test_another_camera_uses_the_same_bank(folder):
    other = SceneBank(small(camera=CameraSettings(width=32, height=32), views=7), folder)
    assert other.scene("train", 0).key == "train/000000"
    assert SceneBank(small(seed=5), folder).folder != other.folder


def test_a_scene_that_was_not_prepared_is_one_line(folder):
    with pytest.raises(InputError, match="not in the bank"):
        SceneBank(small(), folder).scene("train", 64)


def test_a_damaged_file_names_itself(tmp_path):
    bank = SceneBank(small(), tmp_path)
    bank.prepare("val", 1, workers=0, progress=False)
    (path,) = bank.folder.rglob("*.npz")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="delete the file") as caught:
        bank.scene("val", 0)
    assert str(caught.value).startswith(str(path))


def test_each_look_at_a_scene_is_another_picture(folder):
    generator = Generator(small())
    scene = SceneBank(small(), folder).scene("train", 0)
    first, second = (generator.view(scene, "train", 0, look) for look in (0, 1))
    assert (first.image != second.image).mean() > 0.5
