import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from deeprob.data.frame import Frame
from deeprob.data.readers.bop import BopSource
from deeprob.data.readers.coco import CocoSource
from deeprob.data.readers.darknet import DarknetSource
from deeprob.data.readers.props import PropsClassificationSource, PropsDetectionSource
from deeprob.data.readers.props_pose import PropsPoseSource
from deeprob.errors import InputError
from deeprob.geometry.camera import project_points
from deeprob.geometry.transform import transform_points
from deeprob.sim.export import bop
from deeprob.sim.export.files import regions, targets, targets_without_regions
from deeprob.sim.export.run import FORMATS, export, fit_settings
from deeprob.sim.generator import Generator
from deeprob.sim.render import to_frame

from .conftest import small


def settings_for(format_name):
    return fit_settings(small(min_visible=0.2), format_name)


def rendered(format_name, num, split="train"):
    """The frames that an export of this format was made from."""
    settings = settings_for(format_name)
    generator = Generator(settings)
    frames = []
    for index in range(-(-num // settings.views)):
        for scene, view in generator.views(split, index):
            visible = settings.min_visible if format_name in ("coco", "props_classification") else 0
            frames.append(to_frame(view, scene, source="", key="", min_visible=visible))
    if format_name in ("darknet", "props_detection"):  # no regions to be left out of training
        return [dataclasses.replace(f, instances=tuple(filter(plain, f.instances))) for f in frames[:num]]
    return frames[:num]


def plain(instance):
    """Whether a tenth of an object is visible, or it fills a hundredth of the picture."""
    return instance.visible_fraction >= 0.1 or instance.mask.mean() >= 0.01


def written(tmp_path, format_name, num=5, splits=("train",), workers=0):
    out = tmp_path / format_name
    export(small(min_visible=0.2), format_name, out, num, splits, workers, progress=False)
    return out


def compare(frames, expected, *, masks=False, amodal=False, poses=False, exact=True):
    assert len(frames) == len(expected)
    for frame, truth in zip(frames, expected, strict=True):
        if exact:
            np.testing.assert_array_equal(frame.image, truth.image)
        assert [i.class_id for i in frame.instances] == [i.class_id for i in truth.instances]
        for read, made in zip(frame.instances, truth.instances, strict=True):
            np.testing.assert_allclose(read.box_xyxy, made.box_xyxy, atol=1e-3)
            if masks:
                np.testing.assert_array_equal(read.mask, made.mask)
            if amodal:
                np.testing.assert_array_equal(read.amodal_mask, made.amodal_mask)
                assert read.visible_fraction == pytest.approx(made.visible_fraction)
            if poses:
                np.testing.assert_allclose(read.T_cam_obj, made.T_cam_obj, atol=1e-9)


def test_bop_is_read_back_the_same(tmp_path):
    out = written(tmp_path, "bop")
    source = BopSource(out, {"train": ["train_pbr/*"]})
    expected = rendered("bop", 5)
    frames = source.frames("train")
    compare(frames, expected, masks=True, amodal=True, poses=True)
    for frame, truth in zip(frames, expected, strict=True):
        np.testing.assert_allclose(frame.depth_m, truth.depth_m, atol=0.51e-4)
        np.testing.assert_allclose(frame.K, truth.K)
    assert [frame.group for frame in frames] == [f"train_pbr/{n:06d}" for n in (0, 0, 1, 1, 2)]


def test_the_models_of_bop_project_onto_the_masks(tmp_path):
    source = BopSource(written(tmp_path, "bop"), {"train": ["train_pbr/*"]})
    inside = []
    for frame in source.frames("train"):
        for instance in frame.instances:
            points = transform_points(instance.T_cam_obj, source.mesh(instance.class_id).vertices)
            pixels = project_points(frame.K, points).round().astype(int)
            height, width = instance.amodal_mask.shape
            seen = ((pixels >= 0) & (pixels < [width, height])).all(axis=1)
            wide = np.pad(instance.amodal_mask, 1)
            near = np.any([np.roll(wide, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)], axis=0)
            inside.append(near[1:-1, 1:-1][pixels[seen, 1], pixels[seen, 0]].mean())
    assert np.mean(inside) > 0.99


def test_bop_lists_models_targets_and_what_its_masks_say(tmp_path):
    out = written(tmp_path, "bop", num=2, splits=("test",))
    info = json.loads((out / "models" / "models_info.json").read_text())
    assert sorted(info) == ["1", "2", "3"]
    cone = Generator(settings_for("bop")).objects[1]
    points = cone.mesh.vertices
    diameter = 1000 * np.linalg.norm(points[:, None] - points, axis=2).max()
    assert info["2"]["diameter"] == pytest.approx(diameter)
    assert len(info["2"]["symmetries_discrete"]) == 3
    targets = json.loads((out / "test_targets_bop19.json").read_text())
    gt = json.loads((out / "test" / "000000" / "scene_gt.json").read_text())
    gt_info = json.loads((out / "test" / "000000" / "scene_gt_info.json").read_text())
    seen = sum(entry["visib_fract"] >= 0.1 for image in gt_info.values() for entry in image)
    assert sum(target["inst_count"] for target in targets) == seen
    assert all(len(gt[image]) == len(gt_info[image]) for image in gt)
    assert json.loads((out / "camera.json").read_text())["width"] == 64
    assert contents(out / "models_eval").items() <= contents(out / "models").items()
    text = (out / "dataset_info.md").read_text()
    assert "| 2 | cone |" in text
    assert "`pixel_center=0`" in text


def test_the_coco_file_of_a_bop_scene_is_read_by_pycocotools(tmp_path):
    from pycocotools.coco import COCO

    scene = written(tmp_path, "bop", num=2) / "train_pbr" / "000000"
    coco = COCO(str(scene / "scene_gt_coco.json"))
    gt, info = (json.loads((scene / f"scene_gt{end}.json").read_text()) for end in ("", "_info"))
    names = {model.name for model in Generator(settings_for("bop")).objects}
    assert {coco.cats[i]["name"] for i in (1, 2, 3)} == names
    assert [(i, coco.imgs[i]["file_name"]) for i in sorted(coco.imgs)] == [
        (0, "rgb/000000.png"),
        (1, "rgb/000001.png"),
    ]
    for image in (0, 1):
        pixels = cv2.imread(str(scene / coco.imgs[image]["file_name"]))
        assert pixels.shape == (coco.imgs[image]["height"], coco.imgs[image]["width"], 3)
        annotations = coco.loadAnns(coco.getAnnIds([image]))
        seen = [n for n, of in enumerate(info[str(image)]) if of["px_count_visib"]]
        assert [a["category_id"] for a in annotations] == [gt[str(image)][n]["obj_id"] for n in seen]
        for found, n in zip(annotations, seen, strict=True):
            visible, whole = (
                cv2.imread(str(scene / folder / f"{image:06d}_{n:06d}.png"), cv2.IMREAD_UNCHANGED) > 0
                for folder in ("mask_visib", "mask")
            )
            np.testing.assert_array_equal(coco.annToMask(found), visible)
            assert found["area"] == visible.sum()
            assert found["bbox"] == list(cv2.boundingRect(whole.astype(np.uint8)))
            assert found["ignore"] == (info[str(image)][n]["visib_fract"] < 0.1)
    assert sorted(coco.anns) == list(range(1, len(coco.anns) + 1))


def test_run_lengths_begin_with_the_background():
    from pycocotools import mask as coco

    random = np.random.default_rng(0)
    for density in (0.1, 0.5, 1.0):
        mask = random.random((5, 7)) < density
        mask[0, 0] = density > 0.1
        mask[3, 2] = True
        runs = bop.annotation(mask, mask, 1.0)["segmentation"]
        np.testing.assert_array_equal(coco.decode(coco.frPyObjects(runs, 5, 7)), mask)


def test_pixel_center_moves_the_picture_by_half_a_pixel_under_the_same_k():
    base = small()
    camera = dataclasses.replace(base.camera, K=[70.0, 70.0, 31.0, 24.0])
    plain = Generator(small(camera=camera))
    moved = Generator(small(camera=dataclasses.replace(camera, pixel_center=0.5)))
    by_hand = Generator(small(camera=dataclasses.replace(camera, K=[70.0, 70.0, 30.5, 23.5])))
    scene = plain.scene("train", 0)
    views = [generator.view(scene, "train", 0, 0) for generator in (plain, moved, by_hand)]
    np.testing.assert_array_equal(views[0].K, views[1].K)
    np.testing.assert_array_equal(views[1].owner, views[2].owner)
    assert (views[0].owner != views[1].owner).any()


def test_props_pose_is_read_back_with_its_inverse_transforms(tmp_path):
    out = written(tmp_path, "props_pose", num=2)
    export_val = tmp_path / "val"
    export(small(min_visible=0.2), "props_pose", export_val, 2, ("train", "val"), 0, progress=False)
    source = PropsPoseSource(export_val)
    compare(source.frames("train"), rendered("props_pose", 2), masks=True, poses=True)
    assert len(source.frames("val")) == 2
    gt = json.loads((out / "train" / "train_gt.json").read_text())["0"][0]
    truth = rendered("props_pose", 1)[0].instances[0].T_cam_obj
    np.testing.assert_allclose(np.reshape(gt["cam_R_m2c"], (3, 3)), np.linalg.inv(truth)[:3, :3], atol=1e-9)
    np.testing.assert_allclose(
        source.mesh(1).extents, Generator(settings_for("bop")).objects[1].mesh.extents, atol=1e-8
    )


def test_props_detection_is_read_back_the_same(tmp_path):
    source = PropsDetectionSource(written(tmp_path, "props_detection", splits=("train", "val")))
    compare(source.frames("train"), rendered("props_detection", 5))


def test_props_classification_keeps_scenes_whole_in_one_split(tmp_path):
    source = PropsClassificationSource(written(tmp_path, "props_classification", splits=("train", "test")))
    train, test = source.frames("train"), source.frames("test")
    assert train[0].image.shape == (32, 32, 3)
    assert not {frame.group for frame in train} & {frame.group for frame in test}
    expected = sorted(i.class_id for frame in rendered("props_classification", 5) for i in frame.instances)
    assert sorted(frame.instances[0].class_id for frame in train) == expected


def test_darknet_is_read_back_with_the_same_boxes(tmp_path):
    source = DarknetSource(written(tmp_path, "darknet"), {"train": ["train/*"]})
    frames = source.frames("train")
    expected = rendered("darknet", 5)
    compare(frames, expected, exact=False)
    assert source.classes == ("domino", "cone", "mug")
    worst = max(np.abs(a.image.astype(int) - b.image).mean() for a, b in zip(frames, expected, strict=True))
    assert worst < 5  # grey levels: JPEG of noisy, tiny pictures


def test_coco_is_read_back_the_same(tmp_path):
    out = written(tmp_path, "coco")
    source = CocoSource(out, {"train": "annotations/instances_train.json"}, {"train": "images/train"})
    frames, expected = source.frames("train"), rendered("coco", 5)
    compare(frames, expected, masks=True)
    assert any(truth.crowds for truth in expected)
    hidden = [(f.crowds, truth.crowds) for f, truth in zip(frames, expected, strict=True)]
    compare(
        *([Frame(np.zeros(0), of[k], "", "", "") for of in hidden] for k in (0, 1)), masks=True, exact=False
    )
    assert source.classes == ("domino", "cone", "mug")


def test_an_object_that_hangs_out_of_the_picture_is_labelled_where_nothing_can_be_left_out():
    fractions, pixels = np.array([0.7, 0.45, 0.12, 0.05, 0.05, 0.0]), [300, 5000, 8, 200, 8, 0]
    scene = SimpleNamespace(labelled=6)
    rendering = SimpleNamespace(
        owner=np.zeros((100, 100)),
        visible_fraction=fractions,
        visible=np.array([[n, 0, 0, 0, 0] for n in pixels]),
    )
    assert targets(scene, rendering, 0.6) == [0]
    assert regions(scene, rendering, 0.6) == [1, 2, 3, 4]
    assert targets_without_regions(scene, rendering, 0.6) == [0, 1, 2, 3]
    assert targets_without_regions(scene, rendering, 0.0) == [0, 1, 2, 3, 4]


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.slow
@pytest.mark.parametrize("format_name", FORMATS)
def test_the_files_do_not_depend_on_the_number_of_workers(tmp_path, format_name):
    splits = ("train", "test") if format_name == "props_classification" else ("train",)
    one = written(tmp_path / "one", format_name, num=9, splits=splits, workers=1)
    two = written(tmp_path / "two", format_name, num=9, splits=splits, workers=2)
    assert contents(one) == contents(two)


def test_what_is_missing_after_an_interruption_is_rendered_to_the_same_bytes(tmp_path, monkeypatch):
    whole = written(tmp_path / "whole", "coco")
    from deeprob.sim.export import run

    work, done = run.write_job, []

    def interrupted(generator, job):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(job)
        work(generator, job)

    monkeypatch.setattr(run, "write_job", interrupted)
    with pytest.raises(KeyboardInterrupt):
        written(tmp_path / "cut", "coco")
    monkeypatch.setattr(run, "write_job", lambda generator, job: (done.append(job), work(generator, job)))
    cut = written(tmp_path / "cut", "coco")
    assert len(done) == 3
    assert contents(cut) == contents(whole)


@pytest.mark.parametrize("format_name", FORMATS)
def test_parts_written_by_several_jobs_are_the_data_set_of_one(tmp_path, format_name):
    splits = ("train", "test") if format_name == "props_classification" else ("train",)
    whole = written(tmp_path / "whole", format_name, num=5, splits=splits)
    out = tmp_path / "parts"
    request = (small(min_visible=0.2), format_name, out, 5, splits, 0)
    assert [export(*request, progress=False, part=part, parts=3) for part in (2, 0)] == [False, False]
    assert not (out / "render.json").exists()
    assert export(*request, progress=False, part=1, parts=3)
    assert contents(out) == contents(whole)
    assert export(*request, progress=False, part=0, parts=3)  # requeued after all had ended


def test_two_jobs_that_end_at_once_both_complete_the_data_set(tmp_path, monkeypatch):
    from deeprob.sim.export import run

    whole, out = written(tmp_path / "whole", "bop"), tmp_path / "parts"
    request = (small(min_visible=0.2), "bop", out, 5, ("train",), 0)
    finish, ended = run._finish, []

    def overtaken(*arguments):
        if not ended:  # another job sees all records too, and is faster
            ended.append(True)
            assert export(*request, progress=False, part=1, parts=2)
        finish(*arguments)

    monkeypatch.setattr(run, "_finish", overtaken)
    export(*request, progress=False, part=1, parts=2)
    assert export(*request, progress=False, part=0, parts=2)
    assert ended
    assert contents(out) == contents(whole)


@pytest.mark.slow
def test_jobs_of_an_array_that_run_at_once_make_one_data_set(tmp_path):
    command = [sys.executable, "-m", "deeprob", "render", "format=coco", "out=parts", "num=24", "workers=0"]
    command += ["sim.views=2", "sim.camera.width=64", "sim.camera.height=48", "sim.objects.names=[cone,mug]"]
    environment = os.environ | {"PYTHONPATH": _root()}
    jobs = [
        subprocess.Popen([*command, "parts=3", f"part={part}"], cwd=tmp_path, env=environment)
        for part in range(3)
    ]
    assert [job.wait() for job in jobs] == [0, 0, 0]
    subprocess.run([*command, "out=whole"], cwd=tmp_path, env=environment, check=True)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


@pytest.mark.slow
def test_a_killed_export_goes_on_where_it_stopped(tmp_path):
    script = (
        "import sys; sys.path.insert(0, {root!r})\n"
        "from pathlib import Path\n"
        "from tests_settings import small\n"
        "from deeprob.sim.export.run import export\n"
        "if __name__ == '__main__':\n"
        "    export(small(min_visible=0.2), 'bop', Path('cut/bop'), 40, ('train',), 2, progress=False)\n"
    )
    (tmp_path / "tests_settings.py").write_text((Path(__file__).parent / "conftest.py").read_text())
    (tmp_path / "go.py").write_text(script.format(root=_root()))
    process = subprocess.Popen([sys.executable, "go.py"], cwd=tmp_path)
    records = tmp_path / "cut" / "bop" / ".records" / "train"
    deadline = time.monotonic() + 120
    while not (records.is_dir() and len(list(records.iterdir())) >= 3):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    workers = [child for child in _children(process.pid) if "spawn_main" in child.read_text()]
    assert len(workers) == 2
    process.send_signal(signal.SIGKILL)
    process.wait()
    while any(worker.exists() for worker in workers):  # they notice, and end
        assert time.monotonic() < deadline
        time.sleep(0.02)
    cut = written(tmp_path / "cut", "bop", num=40)
    assert contents(cut) == contents(written(tmp_path / "whole", "bop", num=40))


def _children(pid):
    """The command line files of a process's children."""
    tasks = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [Path(f"/proc/{child}/cmdline") for child in tasks]


def _root():
    import deeprob

    return str(Path(deeprob.__file__).parent.parent)


def test_a_finished_data_set_is_left_alone(tmp_path):
    out = written(tmp_path, "coco")
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    written(tmp_path, "coco")
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == stamps
    assert not (out / ".records").exists()


def test_a_folder_with_something_else_in_it_is_refused(tmp_path):
    written(tmp_path, "coco")
    told = r"a finished data set of other settings: num=5 there, 6 asked for; .*=\S+ there, .*delete this"
    with pytest.raises(InputError, match=told):
        export(small(seed=1), "coco", tmp_path / "coco", 6, ("train",), 0, progress=False)
    with pytest.raises(InputError, match=r'format="coco" there, "bop" asked for; sim\.seed=0 there, 1 asked'):
        export(small(seed=1, min_visible=0.2), "bop", tmp_path / "coco", 5, ("train",), 0, progress=False)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("")
    with pytest.raises(InputError, match=r"what deeprob render did not write: notes\.txt; give another"):
        export(small(), "coco", tmp_path / "mine", 5, ("train",), 0, progress=False)


@pytest.mark.parametrize(
    ("format_name", "num", "splits", "message"),
    [
        ("voc", 5, ("train",), "no format called 'voc'"),
        ("bop", 0, ("train",), "0 pictures"),
        ("props_pose", 5, ("test",), "props_pose has no split 'test'; expected train, val"),
        ("coco", 5, (), "splits: no split to render; expected one or more of train, val, test"),
        ("coco", 5, ("train", "train"), "splits: train, train; expected one or more of .* each once"),
    ],
)
def test_bad_requests_are_one_line(tmp_path, format_name, num, splits, message):
    with pytest.raises(InputError, match=message):
        export(small(), format_name, tmp_path / "out", num, splits, 0, progress=False)


@pytest.mark.parametrize(("part", "parts"), [(2, 2), (-1, 2), (0, 0)])
def test_a_part_that_is_none_is_one_line(tmp_path, part, parts):
    with pytest.raises(InputError, match=f"part={part} of parts={parts}"):
        export(small(), "bop", tmp_path / "out", 5, ("train",), 0, progress=False, part=part, parts=parts)


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    from deeprob.sim.export import files

    def full(path, content):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(files, "put", full)
    with pytest.raises(InputError, match=r"cannot be written .No space left on device.; make room and give"):
        export(small(), "coco", tmp_path / "out", 2, ("train",), 0, progress=False)


def test_a_file_in_the_folders_place_is_one_line(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match=r"out: a file is there, no folder; give another folder as out="):
        export(small(), "coco", tmp_path / "out", 2, ("train",), 0, progress=False)
    with pytest.raises(InputError, match=r"out/below.*\(Not a directory\); see to it, or give"):
        export(small(), "coco", tmp_path / "out" / "below", 2, ("train",), 0, progress=False)


def test_an_unfinished_data_set_of_other_settings_is_named(tmp_path):
    export(small(), "coco", tmp_path / "out", 4, ("train",), 0, progress=False, part=0, parts=2)
    with pytest.raises(InputError, match="an unfinished data set of other settings: num=4 there, 8 asked"):
        export(small(), "coco", tmp_path / "out", 8, ("train",), 0, progress=False)
