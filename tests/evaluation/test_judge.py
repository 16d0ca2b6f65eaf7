"""Predictions whose errors are known, about data sets that the simulator renders."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from deeprob.cli import main
from deeprob.cli.render import compose_settings
from deeprob.data.predictions.bop_csv import PoseEstimate, write_results
from deeprob.data.readers.bop import BopSource
from deeprob.data.readers.coco import CocoSource
from deeprob.errors import InputError
from deeprob.evaluation.judge import judge
from deeprob.metrics.segmentation import METRICS, image_sums, metrics_of_sums
from deeprob.sim.export.run import export
from deeprob.tasks.segmentation.labels import IGNORED, label_map_of

SETTINGS = ["sim.camera.width=128", "sim.camera.height=96", "sim.scene.objects=[2,4]"]


@pytest.fixture(scope="session")
def rendered(tmp_path_factory) -> Path:
    """A BOP and a COCO data set of 16 pictures."""
    root = tmp_path_factory.mktemp("rendered")
    settings = compose_settings(SETTINGS)
    export(settings, "bop", root / "bop", 16, ("test",), 0, progress=False)
    export(settings, "coco", root / "coco", 16, ("val",), 0, progress=False)
    return root


@pytest.fixture(scope="session")
def bop(rendered) -> BopSource:
    return BopSource(rendered / "bop", {"test": ["test/*"]})


@pytest.fixture(scope="session")
def coco_set(rendered) -> CocoSource:
    return CocoSource(rendered / "coco", {"val": "annotations/instances_val.json"}, {"val": "images/val"})


def estimates(source: BopSource, change=lambda T: T):
    for item, frame in zip(source.items("test"), source.frames("test"), strict=True):
        for number, i in enumerate(frame.instances):
            obj_id = source.class_numbers[i.class_id]
            T = change(i.T_cam_obj.copy())
            yield PoseEstimate(int(item.scene.name), item.im_id, obj_id, 1 / (1 + number), T)


def nearer(T: np.ndarray) -> np.ndarray:
    T[:3, 3] *= 1 - 0.02 / np.linalg.norm(T[:3, 3])  # 2 cm towards the camera
    return T


def poses(tmp_path, source, change=lambda T: T, **options):
    path = tmp_path / "poses.csv"
    write_results(path, estimates(source, change))
    return judge(path, source, "test", **{"samples": 50, "progress": False} | options)


def test_true_poses_are_perfect_and_those_of_other_images_are_not(tmp_path, bop):
    results, page = poses(tmp_path, bop, unit="frame", samples=300)
    metrics = {name: entry["value"] for name, entry in results["metrics"].items()}
    perfect = [n for n in metrics if "_error_" not in n]
    assert {n: metrics[n] for n in perfect} == pytest.approx(dict.fromkeys(perfect, 1))
    assert metrics["rotation_error_deg"] == pytest.approx(0, abs=1e-6)
    assert metrics["translation_error_cm"] == pytest.approx(0, abs=1e-9)
    assert results["baselines"]["random"]["add_auc"]["value"] < 0.4
    assert results["differences"]["random"]["add_auc"]["p_value"] < 0.05
    assert page.is_file()
    assert json.loads((page.parent / "results.json").read_text()) == results


def test_a_known_shift_has_known_errors(tmp_path, bop):
    results, _ = poses(tmp_path, bop, nearer, against=None)
    metrics = {name: entry["value"] for name, entry in results["metrics"].items()}
    assert metrics["translation_error_cm"] == pytest.approx(2)
    assert metrics["add_auc"] == pytest.approx(0.8)
    assert metrics["recall_5deg_5cm"] == 1
    diameters = [
        bop.models_info[bop.class_numbers[i.class_id]]["diameter"] / 1000
        for frame in bop.frames("test")
        for i in frame.instances
        if i.visible_fraction >= 0.1
    ]
    within = [np.mean(0.02 / d < np.arange(1, 11) / 20) for d in diameters]
    assert metrics["average_recall_mssd"] == pytest.approx(np.mean(within))
    assert results["metrics"]["add_auc"]["n"] == len(diameters)
    assert results["baselines"] == {}


def test_a_second_file_is_compared_on_the_same_instances(tmp_path, bop):
    (tmp_path / "b").mkdir()
    poses(tmp_path / "b", bop, nearer, against=None)
    results, _ = poses(tmp_path, bop, against=str(tmp_path / "b" / "poses.csv"))
    difference = results["differences"]["poses"]["add_auc"]
    assert difference["value"] == pytest.approx(0.2)
    assert difference["ci95"] == pytest.approx([0.2, 0.2])


def test_no_estimates_at_all_find_nothing(tmp_path, bop):
    (tmp_path / "none.csv").write_text("scene_id,im_id,obj_id,score,R,t,time\n")
    results, _ = judge(tmp_path / "none.csv", bop, "test", samples=100, progress=False, against=None)
    assert results["metrics"]["bop_average_recall"]["value"] == 0
    assert results["metrics"]["rotation_error_deg"]["value"] is None


def detections(source: CocoSource, masks: bool = False, keep=lambda number: True):
    found, number = [], 0
    for item, frame in zip(source.items("val"), source.frames("val"), strict=True):
        for i in frame.instances:
            number += 1
            if not keep(number):
                continue
            left, top, right, bottom = (i.box_xyxy + 0.5).tolist()
            entry = {
                "image_id": item.image_id,
                "category_id": source.class_numbers[i.class_id],
                "bbox": [left, top, right - left, bottom - top],
                "score": 0.9,
            }
            if masks:
                runs = coco.encode(np.asfortranarray(i.mask, np.uint8))
                entry["segmentation"] = {"size": runs["size"], "counts": runs["counts"].decode()}
            found.append(entry)
    return found


@pytest.mark.parametrize("masks", [False, True])
def test_true_boxes_and_masks_are_perfect(tmp_path, coco_set, masks):
    path = tmp_path / "found.json"
    path.write_text(json.dumps(detections(coco_set, masks)))
    results, page = judge(path, coco_set, "val", samples=200, progress=False)
    assert results["task"] == ("instance_segmentation" if masks else "detection")
    assert results["metrics"]["mean_ap"]["value"] == pytest.approx(1)
    assert results["baselines"]["random"]["mean_ap"]["value"] < 0.3
    assert results["differences"]["random"]["mean_ap"]["p_value"] < 0.05
    assert "Worst first" not in page.read_text()


@pytest.mark.parametrize("masks", [False, True])
def test_what_lies_in_a_crowd_is_neither_right_nor_wrong(tmp_path, coco_set, masks):
    everything = detections(coco_set, masks)
    labels = json.loads((coco_set.root / "annotations" / "instances_val.json").read_text())
    labels["annotations"] = [a for a in labels["annotations"] if not a["iscrowd"]]  # hidden ones, as rendered
    for number, annotation in enumerate(labels["annotations"], start=1):
        annotation["iscrowd"] = int(number % 3 == 0)
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    crowded = CocoSource(coco_set.root, {"val": str(tmp_path / "labels.json")}, {"val": "images/val"})
    objects = sum(not a["iscrowd"] for a in labels["annotations"])
    assert sum(len(frame.instances) for frame in crowded.frames("val")) == objects < len(everything)
    path = tmp_path / "found.json"
    for found in (everything, detections(coco_set, masks, keep=lambda number: number % 3)):
        path.write_text(json.dumps(found))
        results, page = judge(path, crowded, "val", samples=50, progress=False, against=None)
        assert results["metrics"]["mean_ap"]["value"] == pytest.approx(1)
        assert results["metrics"]["average_recall"]["value"] == pytest.approx(1)
        assert results["metrics"]["mean_ap"]["n"] == objects
        assert "Worst first" not in page.read_text()


@pytest.mark.parametrize("masks", [False, True])
def test_every_number_is_what_pycocotools_says_of_the_two_files(tmp_path, coco_set, masks):
    """Areas as annotated, which no box or mask has."""
    labels = json.loads((coco_set.root / "annotations" / "instances_val.json").read_text())
    rng = np.random.default_rng(1)
    for number, annotation in enumerate(labels["annotations"]):
        annotation["area"] = float(rng.choice([200, 1024, 3000, 9216, 20000]))
        annotation["iscrowd"] = int(number % 7 == 0)
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    source = CocoSource(coco_set.root, {"val": str(tmp_path / "labels.json")}, {"val": "images/val"})
    found = detections(coco_set, masks, keep=lambda number: number % 5)
    for entry in found:
        entry["score"] = float(rng.random())
        entry["bbox"] = (np.array(entry["bbox"]) + rng.integers(-3, 4, 4).clip(-2)).clip(0).tolist()
    path = tmp_path / "found.json"
    path.write_text(json.dumps(found))
    results, _ = judge(path, source, "val", samples=50, progress=False, against=None)
    truth = COCO(str(tmp_path / "labels.json"))
    alone = COCOeval(truth, truth.loadRes(str(path)), "segm" if masks else "bbox")
    alone.evaluate()
    alone.accumulate()
    alone.summarize()
    expected = [None if value < 0 else value for value in alone.stats[[0, 1, 2, 3, 4, 5, 8]]]
    assert [entry["value"] for entry in results["metrics"].values()] == expected
    assert None not in expected


def test_what_is_left_out_is_missing_from_the_recall(tmp_path, coco_set):
    path = tmp_path / "found.json"
    everything = detections(coco_set)
    path.write_text(json.dumps(detections(coco_set, keep=lambda number: number % 2)))
    results, page = judge(path, coco_set, "val", samples=50, progress=False, against=None)
    recalls = []
    for category in {e["category_id"] for e in everything}:
        numbers = [n for n, e in enumerate(everything, 1) if e["category_id"] == category]
        recalls.append(np.mean([n % 2 for n in numbers]))
    assert results["metrics"]["average_recall"]["value"] == pytest.approx(np.mean(recalls))
    assert re.search(r"\d of \d missed, 0 wrong", page.read_text())
    assert not any("BOP" in note for note in results["notes"])


def test_boxes_of_a_bop_set_go_by_scene_and_image(tmp_path, bop):
    found = []
    for item, frame in zip(bop.items("test"), bop.frames("test"), strict=True):
        for i in frame.instances:
            left, top, right, bottom = i.box_xyxy.tolist()
            found.append({"scene_id": int(item.scene.name), "image_id": item.im_id, "score": 0.5,
                          "category_id": bop.class_numbers[i.class_id],
                          "bbox": [left + 0.5, top + 0.5, right - left, bottom - top]})  # fmt: skip
    (tmp_path / "boxes.json").write_text(json.dumps(found))
    results, _ = judge(tmp_path / "boxes.json", bop, "test", samples=50, progress=False, against=None)
    assert results["metrics"]["mean_ap"]["value"] == pytest.approx(1)


@pytest.mark.parametrize("boxes", ["visible", "amodal"])
def test_detections_as_bop_writes_them_are_perfect(tmp_path, rendered, boxes):
    """scene_gt_coco.json holds what bop_toolkit makes: x, y, columns, rows of the silhouettes."""
    source = BopSource(rendered / "bop", {"test": ["test/*"]}, boxes=boxes)
    found = []
    for scene in sorted((rendered / "bop" / "test").iterdir()):
        for truth in json.loads((scene / "scene_gt_coco.json").read_text())["annotations"]:
            runs = coco.frPyObjects(truth["segmentation"], *truth["segmentation"]["size"])
            bbox = truth["bbox"] if boxes == "amodal" else coco.toBbox(runs).tolist()
            found.append({"scene_id": int(scene.name), "image_id": truth["image_id"], "score": 0.5,
                          "category_id": truth["category_id"], "bbox": bbox})  # fmt: skip
    (tmp_path / "boxes.json").write_text(json.dumps(found))
    results, _ = judge(tmp_path / "boxes.json", source, "test", samples=50, progress=False, against=None)
    assert results["metrics"]["mean_ap"]["value"] == pytest.approx(1)
    assert any(boxes in note for note in results["notes"])


def write_labels(folder: Path, source: CocoSource, change=lambda labels: labels):
    for frame in source.frames("val"):
        path = folder / Path(frame.key).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), change(label_map_of(frame)).astype(np.uint8))


def test_label_images_give_the_segmentation_metrics(tmp_path, coco_set):
    def shifted(labels):
        return np.roll(np.where(labels == IGNORED, 0, labels), 2, axis=1)

    write_labels(tmp_path / "labels", coco_set, shifted)
    results, page = judge(tmp_path / "labels", coco_set, "val", samples=50, progress=False)
    truths = [label_map_of(frame) for frame in coco_set.frames("val")]
    sums = sum(image_sums(t, shifted(t), len(coco_set.classes) + 1) for t in truths)
    expected = dict(zip(METRICS, metrics_of_sums(sums), strict=True))
    assert {n: e["value"] for n, e in results["metrics"].items()} == pytest.approx(expected, abs=1e-9)
    assert "% wrong" in page.read_text()


def test_the_unit_is_chosen_and_one_alone_gives_no_interval(tmp_path, bop):
    by_frame, _ = poses(tmp_path, bop, nearer, unit="frame", against=None)
    by_group, _ = poses(tmp_path, bop, nearer, unit="group", against=None)
    assert by_frame["interval"]["units"] > by_group["interval"]["units"] > 1
    one = BopSource(bop.root, {"test": ["test/000000"]})
    path = tmp_path / "one.csv"
    write_results(path, estimates(one))
    results, page = judge(path, one, "test", unit="group", samples=50, progress=False, against=None)
    assert results["metrics"]["add_auc"]["ci95"] is None
    assert "no interval can be given from one alone" in page.read_text()


def csv(line: str):
    return "poses.csv", "scene_id,im_id,obj_id,score,R,t,time\n" + line


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (
            csv("99,0,1,0.5,1 0 0 0 1 0 0 0 1,0 0 500,-1\n"),
            r"line 2: no image \(99, 0\) in this split; expected such as",
        ),
        (csv("0,0,77,0.5,1 0 0 0 1 0 0 0 1,0 0 500,-1\n"), "line 2: no class 77; expected one of 1, 2"),
        (csv("0,0,1,0.5,1 0 0 0 1 0 0 0 1,0 nan 500,-1\n"), "line 2: cam_t_m2c is .* expected 3 finite"),
        (("boxes.json", '[{"image_id": 0}]'), "boxes.json entry 0: "),
        (
            (
                "boxes.json",
                '[{"image_id": "no/such", "category_id": "mug", "bbox": [0, 0, 1, 1], "score": 1}]',
            ),
            "no class 'mug'",
        ),
        (("boxes.txt", ""), "not a file of predictions; expected poses.csv"),
        (("nowhere.csv", None), "nowhere.csv"),
    ],
)
def test_what_does_not_fit_the_data_set_is_one_line(tmp_path, bop, file, message):
    path = tmp_path / file[0]
    if file[1] is not None:
        path.write_text(file[1])
    with pytest.raises(InputError, match=message) as raised:
        judge(path, bop, "test", samples=50, progress=False)
    assert "\n" not in str(raised.value)


def test_an_image_that_is_not_there_by_its_key_is_named(tmp_path, bop):
    entry = {"image_id": "no/such", "category_id": bop.classes[0], "bbox": [0, 0, 1, 1], "score": 1}
    (tmp_path / "boxes.json").write_text(json.dumps([entry]))
    with pytest.raises(InputError, match="no image 'no/such' in this split"):
        judge(tmp_path / "boxes.json", bop, "test", samples=50, progress=False)


def test_a_missing_label_image_is_named(tmp_path, coco_set):
    (tmp_path / "labels").mkdir()
    with pytest.raises(InputError, match=r"labels/.*\.png"):
        judge(tmp_path / "labels", coco_set, "val", samples=50, progress=False)


def test_poses_need_models(tmp_path, coco_set):
    (tmp_path / "poses.csv").write_text("scene_id,im_id,obj_id,score,R,t,time\n")
    with pytest.raises(InputError, match="poses need the objects' models"):
        judge(tmp_path / "poses.csv", coco_set, "val", samples=50, progress=False)


def test_the_command_writes_the_report_of_one_split_alone(tmp_path, bop, capsys):
    path = tmp_path / "poses.csv"
    write_results(path, estimates(bop))
    arguments = [
        "evaluate",
        f"predictions={path}",
        "data=bop",
        f"data.root={bop.root}",
        "bootstrap_samples=50",
    ]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "bop_average_recall" in shown
    page = (Path("runs") / "predictions" / "poses" / "report.html").read_text()
    assert "deeprob evaluate predictions=" in page
    assert "data=bop" in page


def test_a_list_of_targets_is_named_on_the_command_line_and_one_scene_has_no_interval(tmp_path, bop, capsys):
    path, first = tmp_path / "poses.csv", bop.items("test")[0]
    write_results(path, [e for e in estimates(bop) if (e.scene_id, e.im_id) == bop.number_of(first)])
    obj_id = bop.class_numbers[bop.frames("test")[0].instances[0].class_id]
    target = {"scene_id": int(first.scene.name), "im_id": first.im_id, "obj_id": obj_id, "inst_count": 1}
    (tmp_path / "targets.json").write_text(json.dumps([target]))
    arguments = [f"predictions={path}", "data=bop", f"data.root={bop.root}", "bootstrap_samples=50"]
    listed = f"data.source.targets.test={tmp_path / 'targets.json'}"
    assert main(["evaluate", *arguments, listed, "against=null", f"out={tmp_path / 'out'}"]) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["metrics"]["detected"]["n"] == 1
    assert any("unit=frame" in note for note in results["notes"])
    assert "unit=frame" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to evaluate; expected either run="),
        (["predictions=a.csv"], "predictions about what?; expected data="),
        (["predictions=a.csv", "run=runs/a/b"], "nothing to evaluate"),
        (["predictions=a.csv", "data=bop", "robustness=true"], "robustness with predictions"),
        (["predictions=a.csv", "data=bop", "data.root=/no/such/place"], "no such folder"),
        (["predictions=a.csv", "data=bop", "split=tset"], "split: no split 'tset'; expected train or test"),
    ],
)
def test_a_command_that_cannot_be_is_one_line_and_exit_code_2(arguments, message, capsys):
    assert main(["evaluate", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
