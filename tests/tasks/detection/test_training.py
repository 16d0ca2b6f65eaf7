"""Whole trainings of detectors on a generated set in COCO's layout."""

import json

import cv2
import numpy as np
import pytest

from deeprob.config import compose
from deeprob.runs import Run
from deeprob.training.run import train_run

HEIGHT, WIDTH, SPLITS = 72, 96, ("train", "val")
CPU = ["trainer.precision=32-true", "trainer.threads=1", "trainer.accelerator=cpu"]
NARROW = ["model.widths=[8]", "model.width=32"]
DETECTORS = {
    "fcos": [],
    "fcos atss": ["model.assignment=atss"],
    "fcos tal": ["model.assignment=tal"],
    "fcos distributions": ["model.bins=8"],
    "fcos_nano": [],
    "fcos_resnet18": [*NARROW, "model.strides=[8,16,32]"],
    "faster_rcnn": ["model.anchor_sides=[12,20,32]", "model.ratios=[1.0]"],
}


def write_coco(root, count):
    """Frames of one to three coloured rectangles, one of them without any; a fifth of them for validation."""
    rng = np.random.default_rng(0)
    for split, number in zip(SPLITS, (count, max(2, count // 5)), strict=True):
        (root / f"{split}2017").mkdir(parents=True)
        images, annotations = [], []
        for i in range(number):
            image = rng.integers(80, 120, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            images.append({"id": i, "file_name": f"{i}.png", "width": WIDTH, "height": HEIGHT})
            for slot in rng.permutation(3)[: int(rng.integers(1, 4)) * (i != 3)].tolist():
                width, height, label = (int(v) for v in rng.integers((12, 12, 0), (28, 40, 3)))
                left = 32 * slot + int(rng.integers(0, 32 - width))
                top = int(rng.integers(0, HEIGHT - height))
                image[top : top + height, left : left + width, label] = 240
                box = [left, top, width, height]
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": i,
                        "category_id": label + 1,
                        "bbox": box,
                        "area": width * height,
                        "iscrowd": 0,
                    }
                )
            cv2.imwrite(str(root / f"{split}2017" / f"{i}.png"), image[..., ::-1])
        categories = [{"id": i + 1, "name": name} for i, name in enumerate(("red", "green", "blue"))]
        (root / "annotations").mkdir(exist_ok=True)
        found = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(found))
    return root


def started(root, tmp_path, *overrides):
    """Train with `overrides` on the set below `root`; return the run."""
    run = Run.create(tmp_path / "runs", "detection", "a")
    view = [f"data.view.width={WIDTH}", f"data.view.height={HEIGHT}"]
    place = [
        f"data.root={root}",
        f"paths.cache_dir={tmp_path}",
        "trainer.threads=1",
        "trainer.accelerator=cpu",
    ]
    train_run(compose("train", [*overrides, *place, *view, *CPU]), run, [])
    return run


@pytest.mark.slow
@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector_overfits_twenty_frames(tmp_path, capsys, name):
    root = write_coco(tmp_path / "coco", 20)
    chosen = ["name=any", "data=coco", "data/view=detection", "objective=supervised", "optim=adamw"]
    files = [f"data.source.annotations.{split}=annotations/instances_{split}2017.json" for split in SPLITS]
    files += [f"data.source.images.{split}={split}2017" for split in SPLITS]
    short = ["optim.optimizer.lr=3e-3", "data.batch_size=10", "trainer.overfit=20", "evaluation.split=val"]
    started(root, tmp_path, *chosen, *files, *short, f"model={name.split()[0]}", *DETECTORS[name])
    assert "overfit  ap50 " in capsys.readouterr().out


@pytest.mark.slow
def test_the_published_recipe_runs_twenty_steps(tmp_path):
    root = write_coco(tmp_path / "coco", 40)
    # An eighth of the published batch takes an eighth of its rate.
    short = ["data.batch_size=2", "optim.optimizer.lr=1.25e-3", "trainer.max_epochs=1", "trainer.log_every=1"]
    run = started(root, tmp_path, "experiment=coco_fcos", *short)
    losses = [row["train/loss_step"] for row in run.read_metrics() if "train/loss_step" in row]
    assert len(losses) == 20
    assert np.isfinite(losses).all()
