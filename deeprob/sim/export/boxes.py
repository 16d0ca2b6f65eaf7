"""Darknet's text format and COCO's JSON format: boxes, and masks for COCO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from deeprob.sim.export.files import (
    View,
    edges,
    put,
    put_jpeg,
    put_json,
    put_png,
    regions,
    targets,
    targets_without_regions,
)
from deeprob.sim.object_model import ObjectModel


def begin_darknet(out: Path, objects: tuple[ObjectModel, ...]) -> None:
    """Write obj.names."""
    put(out / "obj.names", "".join(f"{model.name}\n" for model in objects).encode())


def write_darknet_scene(out: Path, split: str, index: int, views: list[View], min_visible: float) -> Any:
    """Write <split>/<scene>/<view>.jpg and its .txt: class, middle and size, relative to the picture."""
    for number, (scene, rendering) in enumerate(views):
        path = out / split / f"{index:06d}" / f"{number:06d}.jpg"
        height, width = rendering.owner.shape
        lines = []
        for i in targets_without_regions(scene, rendering, min_visible):
            left, top, right, bottom = edges(rendering.visible[i])
            shares = [(left + right) / 2 / width, (top + bottom) / 2 / height]
            shares += [(right - left) / width, (bottom - top) / height]
            lines.append(" ".join([str(scene.models[i]), *(f"{share:.6f}" for share in shares)]) + "\n")
        put(path.with_suffix(".txt"), "".join(lines).encode())
        put_jpeg(path, rendering.image)
    return None


def write_coco_scene(
    out: Path, split: str, index: int, first: int, views: list[View], min_visible: float
) -> Any:
    """Write images/<split>/<image>.png; returns the scene's images and annotations.

    What is hardly visible is an iscrowd region: neither a target nor background.
    """
    from pycocotools import mask as coco

    images, annotations = [], []
    for number, (scene, rendering) in enumerate(views, start=first):
        name = f"{number:06d}.png"
        put_png(out / "images" / split / name, rendering.image)
        height, width = rendering.owner.shape
        images.append({"id": number, "file_name": name, "width": width, "height": height, "scene": index})
        hidden = regions(scene, rendering, min_visible)
        for i in sorted((*targets(scene, rendering, min_visible), *hidden)):
            left, top, right, bottom = edges(rendering.visible[i])
            runs = coco.encode(np.asfortranarray(rendering.owner == i, dtype=np.uint8))
            annotations.append(
                {
                    "image_id": number,
                    "category_id": int(scene.models[i]) + 1,
                    "bbox": [left, top, right - left, bottom - top],
                    "area": int(rendering.visible[i, 0]),
                    "segmentation": {"size": [height, width], "counts": runs["counts"].decode("ascii")},
                    "iscrowd": int(i in hidden),
                }
            )
    return images, annotations


def finish_coco(out: Path, split: str, objects: tuple[ObjectModel, ...], parts: list[Any]) -> None:
    """Write annotations/instances_<split>.json."""
    annotations = [annotation for part in parts for annotation in part[1]]
    content = {
        "images": [image for part in parts for image in part[0]],
        "annotations": [
            {"id": number} | annotation for number, annotation in enumerate(annotations, start=1)
        ],
        "categories": [{"id": number, "name": model.name} for number, model in enumerate(objects, start=1)],
    }
    put_json(out / "annotations" / f"instances_{split}.json", content)
