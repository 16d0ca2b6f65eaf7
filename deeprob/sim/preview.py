"""A contact sheet: samples with their labels drawn on, to see at a glance what the settings make."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deeprob.geometry.camera import Array, project_points
from deeprob.geometry.transform import invert_transform, transform_points
from deeprob.sim.export.files import amodal_mask, put_png
from deeprob.sim.generator import Generator
from deeprob.sim.kernel import U8
from deeprob.sim.objects import ObjectModel
from deeprob.sim.physics import Scene
from deeprob.sim.render import Rendering
from deeprob.sim.settings import SimSettings

COLUMNS, ROWS = 4, 4
CELL = 320  # pixels a side of each sample, about


def write_preview(settings: SimSettings, path: Path) -> None:
    """Write a PNG of 16 views of as many scenes of the training split."""
    generator = Generator(settings)
    cells = []
    for index in range(COLUMNS * ROWS):
        scene = generator.scene("train", index)
        view = generator.view(scene, "train", index, index % settings.views)
        cells.append(draw_labels(scene, view, generator.objects, settings.min_visible))
    rows = [np.concatenate(cells[k : k + COLUMNS], axis=1) for k in range(0, len(cells), COLUMNS)]
    put_png(path, np.concatenate(rows))


def draw_labels(
    scene: Scene, rendering: Rendering, objects: tuple[ObjectModel, ...], min_visible: float
) -> U8:
    """The picture, enlarged, with outline, box, name, visible share and axes of each object."""
    import cv2

    height, width = rendering.owner.shape
    zoom = max(1, round(CELL / max(height, width)))
    enlarged = cv2.resize(rendering.image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_NEAREST)
    picture: U8 = np.asarray(enlarged, np.uint8)
    T_cam_world = invert_transform(rendering.T_world_cam)
    for i in range(scene.labelled):
        fraction = float(rendering.visible_fraction[i])
        if not rendering.visible[i, 0] or fraction < min_visible:
            continue
        model = objects[scene.models[i]]
        color = _color(int(scene.models[i]))
        mask = cv2.resize(amodal_mask(rendering, i).astype(np.uint8), None, fx=zoom, fy=zoom, interpolation=0)
        outline, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        cv2.drawContours(picture, outline, -1, color, 1)
        left, top, right, bottom = (int(zoom * value) for value in rendering.visible[i, 1:] + [0, 0, 1, 1])
        cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), color, 1)
        text = f"{model.name} {100 * fraction:.0f}%"
        cv2.putText(
            picture, text, (left, max(9, top - 3)), cv2.FONT_HERSHEY_SIMPLEX, 0.32, color, 1, cv2.LINE_AA
        )
        _draw_axes(
            picture, zoom, rendering.K, T_cam_world @ scene.T_world_obj[i], 0.5 * model.mesh.extents.max()
        )
    return picture


def _draw_axes(picture: U8, zoom: int, K: Array, T_cam_obj: Array, length: float) -> None:
    """The object's x, y and z axes in red, green and blue."""
    import cv2

    points = transform_points(T_cam_obj, length * np.concatenate([np.zeros((1, 3)), np.eye(3)]))
    if (points[:, 2] < 1e-3).any():
        return
    start, *ends = ((project_points(K, points) + 0.5) * zoom).round().astype(int).tolist()
    for end, color in zip(ends, ((255, 60, 60), (60, 220, 60), (80, 120, 255)), strict=True):
        cv2.line(picture, start, end, color, 1, cv2.LINE_AA)


def _color(class_id: int) -> tuple[int, int, int]:
    """A light colour for each class: hues a golden angle apart."""
    import colorsys

    red, green, blue = colorsys.hsv_to_rgb((0.618034 * class_id) % 1, 0.45, 1.0)
    return int(255 * red), int(255 * green), int(255 * blue)
