"""`deeprob predict`, from a run and an input to a folder of predictions."""

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import deeprob
from deeprob.cli import main
from deeprob.config import compose
from deeprob.data.predictions.files import Box
from deeprob.deploy.inputs import open_input
from deeprob.deploy.predict import predict_input
from deeprob.errors import InputError


def predict(*overrides):
    return predict_input(compose("predict", list(overrides)))


def lines_of(folder):
    return [json.loads(line) for line in (Path(folder) / "frames.jsonl").read_text().splitlines()]


def table_of(folder):
    return list(csv.reader((folder / "predictions.csv").read_text().splitlines()))


@pytest.fixture
def detector(run_of):
    return f"run={run_of('detection').path}"


def test_predicted_and_evaluated_is_evaluated(run_of, detector, frames_root, tmp_path):
    """To the last digit, for pictures that are a split: the same samples, batches and predictions."""
    predict(detector, f"input={frames_root}/val", "out=a")
    entries = json.loads((tmp_path / "a/predictions.json").read_text())
    for entry in entries:  # the data set's keys are relative to its root
        entry["image_id"] = f"val/{entry['image_id']}"
    (tmp_path / "b.json").write_text(json.dumps(entries))
    data = ["data=darknet", f"data.root={frames_root}", "split=val", "bootstrap_samples=100"]
    assert main(["evaluate", "predictions=b.json", *data, "out=judged"]) == 0
    judged = json.loads((tmp_path / "judged/results.json").read_text())["metrics"]
    own = run_of("detection").read_results()["metrics"]
    assert {name: m["value"] for name, m in judged.items()} == {name: m["value"] for name, m in own.items()}


def test_a_split_of_a_data_set_is_an_input(run_of, detector, frames_root, tmp_path):
    """Its own names of frames and classes, so that what is written is the run's own file."""
    predict(detector, "data=darknet", f"data.root={frames_root}", "split=val", "out=a")
    assert json.loads((tmp_path / "a/predictions.json").read_text()) == json.loads(
        (run_of("detection").path / "predictions_val.json").read_text()
    )


def test_it_goes_on_where_it_was_cut_off(detector, frames_root, tmp_path):
    predict(detector, f"input={frames_root}/val", "draw=true", "out=whole")
    shutil.copytree("whole", "cut")
    lines = (tmp_path / "whole/frames.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "cut/frames.jsonl").write_bytes(b"".join(lines[:5]) + lines[5][:20])
    (tmp_path / "cut/predictions.json").unlink()
    before = (tmp_path / "cut/drawn/00.png.jpg").stat().st_mtime_ns
    facts, _ = predict(detector, f"input={frames_root}/val", "draw=true", "out=cut")
    assert facts["frames"] == 16
    assert [line["key"] for line in lines_of("cut")] == [json.loads(line)["key"] for line in lines]
    assert (tmp_path / "cut/drawn/00.png.jpg").stat().st_mtime_ns == before
    whole, cut = (
        json.loads((tmp_path / f"{name}/predictions.json").read_text()) for name in ("whole", "cut")
    )
    for a, b in zip(whole, cut, strict=True):
        np.testing.assert_allclose(a.pop("bbox"), b.pop("bbox"), atol=1e-4)
        np.testing.assert_allclose(a.pop("score"), b.pop("score"), atol=1e-6)
        assert a == b


def test_another_question_is_not_mixed_in(detector, frames_root):
    predict(detector, f"input={frames_root}/val", "out=a")
    with pytest.raises(InputError, match=r"made with min_score=0\.0, not 0\.5"):
        predict(detector, f"input={frames_root}/val", "out=a", "min_score=0.5")


def test_other_weights_and_cameras_are_not_mixed_in(run_of, detector, frames_root, tmp_path):
    predict(detector, f"input={frames_root}/val", "out=a")
    with pytest.raises(InputError, match=r"made with intrinsics=\[\], not \[9.0, 9.0, 4.0, 4.0\]"):
        predict(detector, f"input={frames_root}/val", "out=a", "intrinsics=[9,9,4,4]")
    shutil.copytree(run_of("detection").path, "trained")
    predict("run=trained", f"input={frames_root}/val", "out=b")
    saved = torch.load("trained/checkpoints/best.ckpt", weights_only=False)
    next(iter(saved["state_dict"].values())).add_(0.1)
    torch.save(saved, "trained/checkpoints/best.ckpt")  # the run has gone on
    with pytest.raises(InputError, match="made with weights="):
        predict("run=trained", f"input={frames_root}/val", "out=b")


def test_pictures_that_were_added_between_the_others_are_not_passed_over(detector, frames_root):
    shutil.copytree(frames_root / "val", "mine")
    predict(detector, "input=mine", "out=a")
    shutil.copy("mine/03.png", "mine/zz.png")
    assert predict(detector, "input=mine", "out=a")[0]["frames"] == 17  # behind them it goes on
    shutil.copy("mine/03.png", "mine/02b.png")
    with pytest.raises(InputError, match=r"written of 03\.png, which is not number 4 of the input any more"):
        predict(detector, "input=mine", "out=a")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("predict.json", "[]"),
        ("predict.json", '{"asked": 3}'),
        ("frames.jsonl", "[]\n"),
        ("frames.jsonl", "{\n"),
    ],
)
def test_a_record_that_is_broken_is_one_line(detector, frames_root, tmp_path, name, content):
    predict(detector, f"input={frames_root}/val/00.png", "out=a")
    (tmp_path / "a" / name).write_text(content)
    with pytest.raises(InputError, match=rf"{name}.*choose another out="):
        predict(detector, f"input={frames_root}/val/00.png", "out=a")


def test_what_cannot_be_read_is_counted_or_refused(detector, frames_root, tmp_path):
    shutil.copytree(frames_root / "val", "mine")
    (tmp_path / "mine/03.png").write_bytes(b"no picture")
    facts, folder = predict(detector, "input=mine", "out=a")
    assert (facts["frames"], facts["skipped"]) == (16, 1)
    assert "03.png" in facts["first_reasons"][0]
    assert "03.png" not in (folder / "predictions.json").read_text()
    with pytest.raises(InputError, match=r"03\.png"):
        predict(detector, "input=mine", "out=b", "on_bad_sample=error")


def test_scores_and_classes_are_chosen(detector, frames_root):
    predict(detector, f"input={frames_root}/val", "out=all")
    predict(detector, f"input={frames_root}/val", "out=some", "min_score=0.1", "classes=[red]")
    wanted = [e for e in json.loads(Path("all/predictions.json").read_text()) if e["score"] >= 0.1]
    wanted = [e for e in wanted if e["category_id"] == "red"]
    assert json.loads(Path("some/predictions.json").read_text()) == wanted
    with pytest.raises(InputError, match="no class 'blue'"):
        predict(detector, f"input={frames_root}/val", "out=none", "classes=[blue]")


def test_what_is_unlikely_is_written_and_not_drawn(detector, frames_root):
    one = f"input={frames_root}/val/03.png"
    drawn = {}
    for least in (0.0, 1.0, "null"):
        predict(detector, one, "draw=true", f"draw_score={least}", f"out=from-{least}")
        assert json.loads(Path(f"from-{least}/predictions.json").read_text())
        drawn[least] = cv2.imread(f"from-{least}/drawn/03.png.jpg")
    assert (drawn[0.0] != drawn[1.0]).any()
    assert (drawn["null"] == drawn[1.0]).all()  # it is sure of nothing yet, so that 0.3 is too much


def test_a_video_is_read_and_drawn(detector, frames_root, tmp_path):
    write_video("film.mp4", sorted((frames_root / "val").glob("*.png")))
    facts, folder = predict(detector, "input=film.mp4", "every=4", "draw=true", "out=a")
    assert facts["frames"] == 4
    lines = lines_of("a")
    assert [line["stamp_ns"] for line in lines] == [0, 400_000_000, 800_000_000, 1_200_000_000]
    film = cv2.VideoCapture(str(folder / "drawn.mp4"))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 4
    assert not (folder / "drawn").exists()


def test_a_link_back_to_a_folder_above_gives_its_pictures_once(tmp_path):
    (tmp_path / "mine/a").mkdir(parents=True)
    (tmp_path / "mine/a/1.png").write_bytes(b"")
    (tmp_path / "mine/a/up").symlink_to(tmp_path / "mine")
    assert open_input("mine/**/*.png").keys == ["a/1.png"]
    assert open_input("mine").keys == ["a/1.png"]


def write_video(path, pictures):
    film = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"mp4v"), 10, (48, 48))
    for picture in pictures:
        film.write(cv2.resize(cv2.imread(str(picture)), (48, 48)))
    film.release()


def test_two_stages_in_one_command(run_of, detector, frames_root, tmp_path):
    """A classifier of crops looks where a detector found something, or where a file says."""
    classifier = f"run={run_of('crops').path}"
    detected = f"detector={run_of('detection').path}"
    facts, _ = predict(classifier, f"input={frames_root}/val", detected, "detector_score=0.01", "out=two")
    predict(detector, f"input={frames_root}/val", "min_score=0.01", "out=one")
    predict(classifier, f"input={frames_root}/val", "boxes=one/predictions.json", "out=file")
    two, file = (table_of(Path(name)) for name in ("two", "file"))
    assert two[0] == ["key", "left", "top", "width", "height", "class", "score", "p light", "p red"]
    assert len(two) > 1
    assert len(two) == 1 + facts["predictions"]
    for a, b in zip(two[1:], file[1:], strict=True):
        assert (a[0], a[5]) == (b[0], b[5])
        np.testing.assert_allclose(np.array(a[1:5], float), np.array(b[1:5], float), atol=1e-3)


def test_a_run_that_finds_no_boxes_is_no_detector(run_of, frames_root):
    classifier = run_of("crops").path
    with pytest.raises(InputError, match="detector: a run of classification finds no boxes"):
        predict(f"run={classifier}", f"input={frames_root}/val", f"detector={classifier}", "out=a")


def test_boxes_of_other_images_are_no_boxes(run_of, frames_root, tmp_path):
    box = {"image_id": "other.png", "category_id": "red", "bbox": [1, 1, 8, 8], "score": 1}
    (tmp_path / "boxes.json").write_text(json.dumps([box]))
    with pytest.raises(InputError, match=r"images such as other\.png, .*image_id such as 00\.png"):
        predict(f"run={run_of('crops').path}", f"input={frames_root}/val", "boxes=boxes.json", "out=a")


def test_clouds_are_classified_as_they_were_taken(run_of, write_shapes, tmp_path):
    write_shapes(tmp_path / "shapes")
    for path in (tmp_path / "shapes").rglob("*.npy"):
        np.save(path, np.load(path)[:, :3])
    facts, folder = predict(f"run={run_of('points').path}", "input=shapes", "out=a")
    rows = table_of(folder)
    assert [row[0] for row in rows] == ["key", "brick/1.npy", "lollipop/1.npy"]
    assert facts["skipped"] == 0
    with pytest.raises(InputError, match="clouds of points have no drawing"):
        predict(f"run={run_of('points').path}", "input=shapes", "out=b", "draw=true")


def test_a_task_from_outside_predicts_too(counting_run, frames_root):
    _, folder = predict(
        f"run={counting_run.path}", f"input={frames_root}/val", "out=a", "allowed_targets=[counting]"
    )
    rows = table_of(folder)
    assert rows[0] == ["key", "value 0"]
    assert len(rows) == 17


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        ([], "either input=... or data="),
        (["input=''"], "either input=... or data="),
        (["input=nothing"], "no such input"),
        (["input=note.txt"], "not an input that is known"),
        (["input=empty"], "nothing to look at there"),
        (["input=empty.mp4"], "not a video that OpenCV reads"),
        (["input=977"], "no camera 977"),
        (["input=pictures", "every=0"], "every=0"),
        (["input=pictures", "topic=/camera"], "is no bag"),
        (["input=pictures", "split=val"], r"split=val; expected it with data=\.\.\."),
        (["data=darknet", "every=2"], r"every=2; expected it with input=\.\.\."),
        (["input=pictures", "detector_score=0.5"], "expected it with detector="),
        (["input=pictures", "min_score=50"], "min_score=50; expected 0 to 1"),
        (["input=pictures", "detector=x"], "takes whole frames"),
        (["input=pictures", "intrinsics=[1,2]"], r"intrinsics=\[1.0, 2.0\]"),
        (["input=pictures", "device=tpu"], "device=tpu cannot be used"),
        (["input=pictures", "on_bad_sample=maybe"], "on_bad_sample=maybe"),
        (["input=pictures", "batch_size=0"], "batch_size=0"),
        (["input=pictures", "min_score=nan"], "min_score=nan; expected 0 to 1"),
        (["input=pictures", "draw_score=30"], "draw_score=30; expected 0 to 1"),
        (["input=pictures", "refine=true"], "are not refined"),
        (["input=bad"], "none of 1 frames could be read"),
        (["input=pictures", "out=pictures"], "the folder holds other things"),
    ],
)
def test_bad_input_is_one_line(detector, tmp_path, overrides, line):
    for name in ("empty", "pictures", "bad"):
        (tmp_path / name).mkdir()
    (tmp_path / "note.txt").write_text("text")
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "bad/1.png").write_bytes(b"no picture")
    cv2.imwrite("pictures/1.png", np.zeros((24, 24, 3), np.uint8))
    with pytest.raises(InputError, match=line):
        predict(detector, *(["out=o", *overrides] if "out=pictures" not in overrides else overrides))


def test_label_maps_are_those_of_evaluation(run_of, frames_root, tmp_path):
    run = run_of("segmentation")
    facts, folder = predict(f"run={run.path}", f"input={frames_root}/val", "draw=true", "out=a")
    assert facts["file"] == "predictions"
    for path in sorted((frames_root / "val").glob("*.png")):
        found = cv2.imread(str(folder / "predictions" / path.name), cv2.IMREAD_UNCHANGED)
        own = next((run.path / "predictions_val").rglob(path.name))
        np.testing.assert_array_equal(found, cv2.imread(str(own), cv2.IMREAD_UNCHANGED))
        assert (folder / "drawn" / f"{path.name}.jpg").is_file()


def test_label_maps_and_poses_are_judged_as_their_run_is(run_of, frames_root):
    own = {
        "segmentation": [
            *("data=label_maps", f"data.root={frames_root}", "data.source.images={train: train, val: val}"),
            "+data.source.values={1: light, 2: red}",
        ],
        "pose": [
            line
            for line in (run_of("pose").path / "overrides.txt").read_text().splitlines()
            if line.startswith(("data=", "data.sim.", "data.source.", "paths.cache_dir"))
        ],
    }
    for task, data in own.items():
        run = run_of(task)
        facts, folder = predict(f"run={run.path}", *data, "split=val", f"out={task}")
        options = ["split=val", "bootstrap_samples=100", f"out=judged-{task}"]
        assert main(["evaluate", f"predictions={folder / facts['file']}", *data, *options]) == 0
        judged = json.loads(Path(f"judged-{task}/results.json").read_text())["metrics"]
        own_metrics = run.read_results()["metrics"]
        assert judged.keys() == own_metrics.keys()
        for name, metric in own_metrics.items():
            assert judged[name]["value"] == pytest.approx(metric["value"], abs=0, nan_ok=True)


def test_poses_are_of_the_boxes_that_are_given(run_of, tmp_path):
    run = deeprob.load(run_of("pose").path)
    frame = next(f for f in run.data.source.frames("val") if f.instances)
    boxes = [Box(i.class_id, 1.0, i.box_xyxy) for i in frame.instances]
    found = run.predict(frame.image, boxes, frame.K)
    assert [pose.class_id for pose in found] == [box.class_id for box in boxes]
    assert all(pose.T_cam_obj.shape == (4, 4) for pose in found)
    run.task.refine(run.model)
    assert run.model.decode == "render"
    run.model.became["refined"] = 3
    assert run.task.remarks(run.model) == ["By rendering, of 3 poses: 3 refined."]
    with pytest.raises(InputError, match=r"expected boxes=<COCO JSON> or detector="):
        run.predict(frame.image)
