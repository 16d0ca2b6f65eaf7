"""A trained model as a file, and the program of docs/deploy.md that uses it."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

import deeprob
from deeprob.cli import main
from deeprob.config import compose
from deeprob.deploy import export as exporting
from deeprob.deploy.export import Graph, example_of, export, session_of
from deeprob.deploy.predict import opened
from deeprob.errors import InputError
from deeprob.tasks.deployed import Candidates
from deeprob.training.experiment import make_model

ROOT = Path(__file__).resolve().parents[2]
for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'deeprob[export]'")


def exported(run, tmp_path, **options):
    """A run's model as a file: the run opened, the file, and what model.json says."""
    experiment = opened(run, None, [], "cpu")
    path, about = export(run, experiment, out=tmp_path / "export", **options)
    assert json.loads((tmp_path / "export/model.json").read_text()) == about
    assert about["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    return experiment, path, about


def test_the_file_says_what_the_model_says(run_of, frames_root, tmp_path):
    """Of a picture as a camera gives it, in batches of any size; and all that is needed stands beside it."""
    run = run_of("crops")
    _, path, about = exported(run, tmp_path)
    session = session_of(str(path))
    image = cv2.imread(str(frames_root / "val/01.png"))[..., ::-1]
    (said,) = deeprob.load(run.path).predict(image)
    seen = cv2.resize(image, (8, 8), interpolation=cv2.INTER_AREA)
    for batch in (1, 3):
        (found,) = session.run(None, {"input": np.repeat(seen[None], batch, 0)})
        np.testing.assert_allclose(found, np.repeat(said.probabilities[None], batch, 0), atol=1e-5)
    assert about["classes"] == ["light", "red"]
    assert about["input"]["type"] == "uint8 (N, height, width, 3), RGB"
    assert (about["input"]["height"], about["input"]["width"]) == (8, 8)
    own = run.read_results()["metrics"]["top1_accuracy"]
    assert about["trained"]["metrics"]["top1_accuracy"] == {k: own[k] for k in ("value", "ci95", "n")}
    assert about["trained"]["run"] == "crops/one"


def test_weights_come_by_the_names_of_torch_nn(run_of, tmp_path):
    library = pytest.importorskip("safetensors.torch")
    experiment, path, _ = exported(run_of("crops"), tmp_path, kind="safetensors")
    weights = library.load_file(path)
    assert weights.keys() == experiment.model.state_dict().keys()
    for name, tensor in experiment.model.state_dict().items():
        torch.testing.assert_close(weights[name], tensor)


@pytest.mark.slow
def test_torchs_own_format_runs_without_this_package(run_of, tmp_path):
    _, path, about = exported(run_of("crops"), tmp_path, kind="pt2")
    code = f"""
import sys; sys.modules["deeprob"] = None
import torch
print(torch.export.load({str(path)!r}).module()(torch.zeros(3, 8, 8, 3, dtype=torch.uint8)).shape)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.strip() == "torch.Size([3, 2])"
    assert about["format"] == "pt2"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"kind": "tflite"}, "format=tflite; expected onnx or pt2 or safetensors"),
        ({"precision": "int8"}, "precision=int8; expected fp32 or fp16"),
    ],
)
def test_bad_options_are_one_line(run_of, tmp_path, options, line):
    with pytest.raises(InputError, match=line):
        exported(run_of("crops"), tmp_path, **options)


def test_a_missing_package_is_one_line(run_of, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(InputError, match=r"needs safetensors; pip install 'deeprob\[export\]'"):
        exported(run_of("crops"), tmp_path, kind="safetensors")


def test_what_no_fixed_graph_can_do_is_one_line(counting_run, tmp_path, capsys):
    export_it = ["export", f"run={counting_run.path}", "allowed_targets=[counting]", f"out={tmp_path}"]
    assert main(export_it) == 2
    assert "counting cannot be exported; format=safetensors keeps the weights" in capsys.readouterr().err


def test_a_graph_that_gives_other_numbers_is_refused(run_of, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "TOLERANCE", {"fp32": -1.0})
    with pytest.raises(InputError, match="outputs differ by"):
        exported(run_of("crops"), tmp_path, kind="pt2")


CONSUMER = re.search(
    r"```python\n(.*?)```", (ROOT / "docs/deploy.md").read_text(encoding="utf-8"), re.DOTALL
)[1]


def consume(folder, picture, out):
    """Run the document's program where neither torch nor deeprob can be imported."""
    blocked = "import sys\nsys.modules['torch'] = sys.modules['deeprob'] = None\n"
    return subprocess.run(
        [sys.executable, "-c", blocked + CONSUMER, str(folder), str(picture), str(out)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()


def test_the_documents_program_is_short_and_says_what_the_run_says(run_of, frames_root, tmp_path):
    assert len(CONSUMER.splitlines()) <= 40
    exported(run_of("crops"), tmp_path)
    picture = frames_root / "val/01.png"
    (line,) = consume(tmp_path / "export", picture, tmp_path / "drawn.png")
    (said,) = deeprob.load(run_of("crops").path).predict(cv2.imread(str(picture))[..., ::-1])
    assert line.split()[0] == ("light", "red")[said.class_id]
    assert float(line.split()[1]) == pytest.approx(said.score, abs=1e-5)


@pytest.mark.slow
def test_the_documents_program_finds_the_boxes_that_the_run_finds(run_of, frames_root, tmp_path):
    exported(run_of("detection"), tmp_path)
    picture = frames_root / "val/03.png"
    said = deeprob.load(run_of("detection").path).predict(cv2.imread(str(picture))[..., ::-1])
    lines = [line.split() for line in consume(tmp_path / "export", picture, tmp_path / "drawn.png")]
    assert [line[0] for line in lines] == [("light", "red")[box.class_id] for box in said]
    found = np.array([line[1:] for line in lines], float)
    np.testing.assert_allclose(found[:, 0], [box.score for box in said], atol=1e-5)
    np.testing.assert_allclose(found[:, 1:], [box.box_xyxy for box in said], atol=1e-3)
    assert cv2.imread(str(tmp_path / "drawn.png")).shape == (24, 24, 3)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("task", ["crops", "points", "parts", "detection"])
def test_every_task_is_exported(run_of, tmp_path, task, precision):
    """Batches of one and of three, against the model itself."""
    experiment, path, about = exported(run_of(task), tmp_path, precision=precision)
    session = session_of(str(path))
    deployed = experiment.task.deployed(experiment.model.float())
    described, data = experiment.data.view.described(), experiment.data
    graph = Graph(deployed.network, data.mean, data.std, described.get("scale", 1.0), torch.float32)
    assert list(about["outputs"]) == [output.name for output in session.get_outputs()]
    for batch in (1, 3):
        example = example_of(described, batch)
        found = session.run(None, {"input": example.numpy()})
        with torch.inference_mode():
            expected = graph(example)
        expected = [expected] if isinstance(expected, torch.Tensor) else list(expected)
        for name, a, b in zip(about["outputs"], found, expected, strict=True):
            assert a.shape == tuple(b.shape)
            if precision == "fp32" and b.is_floating_point():
                np.testing.assert_allclose(a, b.numpy(), atol=1e-4, err_msg=name)


@pytest.mark.slow
def test_the_metric_of_the_file_is_the_metric_of_the_run(run_of, tmp_path):
    """On the whole validation split, decoded as the document's program does."""
    run = run_of("crops")
    _, path, _ = exported(run, tmp_path)
    data = deeprob.load(run.path).data
    val = data.split("val")
    (found,) = session_of(str(path)).run(None, {"input": val.images.numpy()})
    accuracy = (found.argmax(1) == val.labels.numpy()).mean()
    assert accuracy == pytest.approx(run.read_results()["metrics"]["top1_accuracy"]["value"], abs=1e-3)
    run = run_of("detection")
    _, path, about = exported(run, tmp_path)
    loaded = deeprob.load(run.path)
    val = loaded.data.split("val")
    session, found = session_of(str(path)), {}
    for i in range(len(val)):
        outputs = session.run(None, {"input": val.images[i : i + 1].numpy()})
        found[val.keys[i]] = boxes_of(outputs, about["decode"], val.matrices[i].numpy())
    frames = list(loaded.data.source.frames("val"))
    scores = loaded.evaluate(frames, [found[frame.key] for frame in frames])
    values = dict(zip(scores.names, scores.value.tolist(), strict=True))
    assert values["mean_ap"] == pytest.approx(run.read_results()["metrics"]["mean_ap"]["value"], abs=1e-3)


def boxes_of(outputs, rules, matrix):
    from deeprob.data.predictions.files import Box

    boxes, scores, labels = (t[0] for t in outputs)
    keep = scores > rules["min_score"]
    boxes, scores, labels = boxes[keep], scores[keep], labels[keep]
    corners = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).astype(float)
    kept = cv2.dnn.NMSBoxesBatched(corners.tolist(), scores.tolist(), labels.tolist(), -1.0, rules["iou"])
    back = np.linalg.inv(matrix)
    return [
        Box(
            int(labels[i]),
            float(scores[i]),
            (boxes[i].reshape(2, 2).astype(float) @ back[:2, :2].T + back[:2, 2]).ravel(),
        )
        for i in sorted(np.ravel(kept).astype(int).tolist())[: rules["max_detections"]]
    ]


CATALOGUE = sorted(path.stem for path in (ROOT / "configs/model").glob("*.yaml"))
WITHOUT_GRAPH = {
    "knn",  # the training samples themselves
    "own",  # a template for one's own
    "hog_svm",  # windows that are chosen one after another
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in CATALOGUE if n not in WITHOUT_GRAPH])
def test_every_model_of_the_catalogue_is_one_clean_graph(name, squares):
    """torch.export takes it, and no operator of ours is left in it."""
    view = "data/view=detection" if name.startswith(("fcos", "faster")) else "data.view.size=32"
    points = name.startswith("pointnet")
    data = ["data=points"] if points else ["data=darknet", view]
    cfg = compose("train", ["name=x", *data, f"data.root={squares}", f"model={name}", "objective=supervised"])
    model = make_model(cfg, None, {"num_classes": 4}).eval()
    if hasattr(model, "fixed_candidates"):  # two stages choose their boxes in between: as it is deployed
        model = Candidates(model)
    size = 224 if name == "alexnet" else 64 if view.startswith("data/") else 32
    example = torch.randn(2, 64, 3) if points else torch.randn(2, 3, size, size)
    program = torch.export.export(model, (example,), strict=False)
    ours = [
        str(n.target) for n in program.graph.nodes if n.op == "call_function" and "deeprob" in str(n.target)
    ]
    assert not ours


def test_boxes_of_near_scores_may_change_places_and_no_other_may():
    from deeprob.deploy.export import _difference

    boxes = torch.tensor([[[0.0, 0, 10, 10], [5, 5, 20, 20], [1, 1, 3, 3]]])
    scores = torch.tensor([[0.9, 0.9 - 1e-7, 0.2]])
    swapped = [boxes[:, [1, 0, 2]], scores]
    assert _difference(swapped, [boxes, scores], "fp32", ranked=True) == 0
    with pytest.raises(InputError, match="differ by"):
        _difference(swapped, [boxes, scores], "fp32", ranked=False)
    with pytest.raises(InputError, match="differ by"):
        _difference([boxes + torch.tensor([0.0, 0, 1, 0]), scores], [boxes, scores], "fp32", ranked=True)
    with pytest.raises(InputError, match="differ by"):
        _difference([boxes, scores - 0.01], [boxes, scores], "fp32", ranked=True)


@pytest.mark.parametrize("option", [{"soft_nms": 0.5}, {"test_flip": True}, {"test_scales": (1.0, 1.5)}])
def test_what_a_file_cannot_decode_is_refused(option):
    from deeprob.models.detection.fcos import FCOS
    from deeprob.tasks.detection.task import Detection

    with pytest.raises(InputError, match="looks once"):
        Detection(None).deployed(FCOS(2, **option))
    assert Detection(None).deployed(FCOS(2)).decode["max_detections"] == 100


def small_two_stages():
    from deeprob.data.batches.images import WholeView
    from deeprob.models.detection.faster_rcnn import FasterRCNN
    from deeprob.tasks.detection.task import Detection

    small = {"widths": (8, 8, 8, 8), "blocks": (0, 0, 0, 0), "width": 8, "roi_convs": 1}
    model = FasterRCNN(3, **small, strides=(4, 8), rpn_before=30, rpn_after=20).eval()
    return Detection(None).deployed(model), WholeView(64, 48)


def small_pose():
    from deeprob.models.pose.dense import PoseDense
    from deeprob.tasks.pose.deployed import deployed
    from deeprob.tasks.pose.view import PoseView

    small = {"widths": (8, 8, 8, 8), "blocks": (0, 0, 0, 0), "width": 8, "head_widths": (8,), "hidden": 16}
    return deployed(PoseDense(3, image_size=32, fragments=8, **small).eval()), PoseView(size=32)


@pytest.mark.slow
@pytest.mark.parametrize("make", [small_pose, small_two_stages])
def test_poses_and_two_stages_are_graphs_of_any_batch(make):
    torch.manual_seed(0)
    deployed, view = make()
    data = SimpleNamespace(mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
    experiment, described = SimpleNamespace(data=data, model=deployed.network), view.described()
    content, error = exporting._graph(deployed, experiment, "onnx", described, None, True, "fp32")
    assert error <= 1e-4
    session = session_of(content)
    assert [i.name for i in session.get_inputs()] == ["input", *deployed.beside]
    given = {"input": example_of(described, 3).numpy()}
    given |= {
        name: b.example.repeat(3, *[1] * (b.example.dim() - 1)).numpy() for name, b in deployed.beside.items()
    }
    assert all(len(output) == 3 for output in session.run(None, given))
