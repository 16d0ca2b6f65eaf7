"""A contact sheet: samples with their labels drawn on, to see at a glance what the settings make."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deeprob.errors import InputError
from deeprob.geometry.camera import Array, project_points
from deeprob.geometry.kernel import U8
from deeprob.geometry.transform import invert_transform, transform_points
from deeprob.sim.export.files import amodal_mask, put_jpeg, put_png
from deeprob.sim.generator import Generator
from deeprob.sim.object_model import ObjectModel
from deeprob.sim.physics import Scene
from deeprob.sim.render import Rendering
from deeprob.sim.settings import SimSettings

COLUMNS, ROWS = 4, 4
CELL = 400  # pixels along the longer side of each sample, about
GAP = 6  # pixels between samples
DARK = (20, 20, 20)


def write_preview(settings: SimSettings, path: Path) -> None:
    """Write a picture of 16 views of as many scenes of the training split, JPEG or PNG by the name's end.

    Raises InputError where it cannot be written.
    """
    generator = Generator(settings)
    cells = []
    for index in range(COLUMNS * ROWS):
        scene = generator.scene("train", index)
        view = generator.view(scene, "train", index, index % settings.views)
        cell = draw_labels(scene, view, generator.objects, settings.min_visible)
        cells.append(np.pad(cell, ((0, GAP), (0, GAP), (0, 0)), constant_values=255))
    rows = [np.concatenate(cells[k : k + COLUMNS], axis=1) for k in range(0, len(cells), COLUMNS)]
    write = put_jpeg if path.suffix.lower() in (".jpg", ".jpeg") else put_png
    try:
        write(path, np.concatenate(rows)[:-GAP, :-GAP])
    except OSError as error:
        raise InputError(f"the picture cannot be written ({error.strerror or error})", where=path) from error


def draw_labels(
    scene: Scene, rendering: Rendering, objects: tuple[ObjectModel, ...], min_visible: float
) -> U8:
    """The picture, enlarged, with silhouette, box, name, visible share and axes of each object."""
    import cv2

    height, width = rendering.owner.shape
    zoom = max(1, round(CELL / max(height, width)))
    enlarged = cv2.resize(rendering.image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
    picture: U8 = np.asarray(enlarged, np.uint8)
    T_cam_world = invert_transform(rendering.T_world_cam)
    labelled = [
        i
        for i in range(scene.labelled)
        if rendering.visible[i, 0] and rendering.visible_fraction[i] >= min_visible
    ]
    for i in labelled:
        color = _color(int(scene.models[i]))
        mask = cv2.resize(amodal_mask(rendering, i).astype(np.uint8), None, fx=zoom, fy=zoom, interpolation=0)
        outline, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        for ink, thickness in ((DARK, 3), (color, 1)):
            cv2.drawContours(picture, outline, -1, ink, thickness, cv2.LINE_AA)
        left, top, right, bottom = (int(zoom * value) for value in rendering.visible[i, 1:] + [0, 0, 1, 1])
        cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), color, 1)
    for i in labelled:
        model = objects[scene.models[i]]
        _draw_axes(
            picture, zoom, rendering.K, T_cam_world @ scene.T_world_obj[i], 0.5 * model.mesh.extents.max()
        )
    for i in labelled:
        text = f"{objects[scene.models[i]].name} {100 * rendering.visible_fraction[i]:.0f}%"
        left, top = (int(zoom * value) for value in rendering.visible[i, 1:3])
        _draw_tag(picture, text, left, top, _color(int(scene.models[i])))
    return picture


def _draw_tag(picture: U8, text: str, left: int, top: int, color: tuple[int, int, int]) -> None:
    """Dark text on a patch of colour, above (left, top) where there is room, all of it in the picture."""
    import cv2

    (wide, high), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.4, 1)
    left = max(0, min(left, picture.shape[1] - wide - 4))
    top = max(0, top - high - below - 3)
    cv2.rectangle(picture, (left, top), (left + wide + 3, top + high + below + 2), color, cv2.FILLED)
    place = (left + 2, top + high + 2)
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, DARK, 1, cv2.LINE_AA)


def _draw_axes(picture: U8, zoom: int, K: Array, T_cam_obj: Array, length: float) -> None:
    """The object's x, y and z axes in red, green and blue."""
    import cv2

    points = transform_points(T_cam_obj, length * np.concatenate([np.zeros((1, 3)), np.eye(3)]))
    if (points[:, 2] < 1e-3).any():
        return
    start, *ends = ((project_points(K, points) + 0.5) * zoom).round().astype(int).tolist()
    for end, color in zip(ends, ((255, 60, 60), (60, 220, 60), (80, 120, 255)), strict=True):
        for ink, thickness in ((DARK, 4), (color, 2)):
            cv2.line(picture, start, end, ink, thickness, cv2.LINE_AA)


def _color(class_id: int) -> tuple[int, int, int]:
    """A light colour for each class: hues a golden angle apart."""
    import colorsys

    red, green, blue = colorsys.hsv_to_rgb((0.618034 * class_id) % 1, 0.45, 1.0)
    return int(255 * red), int(255 * green), int(255 * blue)
