import hashlib

import numpy as np
import pytest

from deeprob.errors import InputError
from deeprob.sim.generator import fingerprint
from deeprob.sim.objects import load_objects
from deeprob.sim.settings import LookSettings
from deeprob.sim.source import PyBulletSource

from .conftest import small


def contents(folder):
    return {
        path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*.npz")
    }


def test_frames_carry_every_label(tmp_path):
    source = PyBulletSource(small(), tmp_path, workers=0)
    frames = source.frames("train")
    assert len(frames) == 3 * 2
    frame = frames[-1]
    assert frame.key == "train/000002/1"
    assert frame.group == "train/000002"
    assert frame.image.shape == (48, 64, 3)
    assert frame.depth_m.dtype == np.float32
    for instance in (instance for frame in frames for instance in frame.instances):
        assert source.classes[instance.class_id] in ("domino", "cone", "mug")
        assert instance.amodal_mask[instance.mask].all()
        assert instance.T_cam_obj[2, 3] > 0
        assert 0.6 <= instance.visible_fraction <= 1


@pytest.mark.parametrize("change", [{"train_scenes": 4}, {"min_visible": 0.1}, {"seed": 1}, {"views": 1}])
def test_a_split_of_other_content_has_another_name(tmp_path, change):
    names = [
        PyBulletSource(s, tmp_path, workers=0).fingerprint("train")
        for s in (small(), small(), small(**change))
    ]
    assert names[0] == names[1] != names[2]


def test_the_same_bytes_for_any_number_of_workers(tmp_path):
    folders = [tmp_path / str(workers) for workers in (0, 2)]
    settings = small(train_scenes=17)
    for folder, workers in zip(folders, (0, 2), strict=True):
        PyBulletSource(settings, folder, workers).prepare(progress=False, splits=("train",))
    first, second = (contents(folder) for folder in folders)
    assert len(first) == 3
    assert first == second


def test_what_an_interruption_left_is_kept_and_the_rest_is_rendered(tmp_path):
    source = PyBulletSource(small(train_scenes=10), tmp_path, workers=0)
    source.prepare(progress=False, splits=("train",))
    kept, lost = sorted(source.folder.rglob("*.npz"))
    before = contents(tmp_path)
    stamp = kept.stat().st_mtime_ns
    lost.unlink()
    source.prepare(progress=False, splits=("train",))
    assert contents(tmp_path) == before
    assert kept.stat().st_mtime_ns == stamp


def test_only_what_changes_the_pictures_changes_the_cache_folder():
    base = small()
    objects = load_objects(base.objects)
    assert fingerprint(base, objects) == fingerprint(small(train_scenes=9, min_visible=0.1), objects)
    assert fingerprint(base, objects) != fingerprint(small(seed=1), objects)


def test_slices_and_negative_indices_work(tmp_path):
    frames = PyBulletSource(small(), tmp_path, workers=0).frames("val")
    assert [frame.key for frame in frames[:2]] == ["val/000000/0", "val/000000/1"]
    assert frames[-1].key == "val/000000/1"
    with pytest.raises(IndexError):
        frames[2]


def test_an_unknown_split_is_one_line(tmp_path):
    with pytest.raises(InputError, match="no split called training; expected train, val, test"):
        PyBulletSource(small(), tmp_path, workers=0).frames("training")


def test_a_damaged_file_names_itself(tmp_path):
    source = PyBulletSource(small(), tmp_path, workers=0)
    source.prepare(progress=False, splits=("test",))
    (path,) = source.folder.rglob("*.npz")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match="delete the file") as caught:
        source.frames("test")[0]
    assert str(caught.value).startswith(str(path))


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"rendered scenes cannot be written \(Not a directory\)"):
        PyBulletSource(small(), tmp_path / "file", workers=0).prepare(progress=False)


def test_settings_that_only_a_worker_can_judge_are_one_line(tmp_path):
    (tmp_path / "photos").mkdir()
    look = LookSettings(table_textures=str(tmp_path / "photos"))
    with pytest.raises(InputError, match="no pictures in"):
        PyBulletSource(small(look=look), tmp_path / "cache", workers=1).prepare(progress=False)


def test_another_picture_in_a_folder_of_textures_is_another_data_set(tmp_path):
    settings = small(look=LookSettings(table_textures=str(tmp_path)))
    (tmp_path / "a.png").write_bytes(b"one")
    first = fingerprint(settings, ())
    (tmp_path / "a.png").write_bytes(b"two")
    assert fingerprint(settings, ()) != first
