"""Furniture that objects lie in: made of boxes, fixed, rendered, and never labelled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deeprob.geometry.mesh import Mesh, join_meshes, make_mesh

_QUADS = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))


@dataclass(frozen=True)
class Box:
    """A box along the world's axes: its middle and half extents, metres."""

    centre: tuple[float, float, float]
    half: tuple[float, float, float]


BIN = (  # 40 x 30 cm, 12 cm high, walls of 1 cm
    Box((0.205, 0.0, 0.06), (0.005, 0.16, 0.06)),
    Box((-0.205, 0.0, 0.06), (0.005, 0.16, 0.06)),
    Box((0.0, 0.155, 0.06), (0.2, 0.005, 0.06)),
    Box((0.0, -0.155, 0.06), (0.2, 0.005, 0.06)),
)
SHELF = (  # two boards of 60 x 24 cm, 26 cm apart, between side walls and before a back wall at y > 0
    Box((0.0, 0.0, 0.01), (0.3, 0.12, 0.01)),
    Box((0.0, 0.0, 0.29), (0.3, 0.12, 0.01)),
    Box((0.305, 0.0, 0.28), (0.005, 0.12, 0.28)),
    Box((-0.305, 0.0, 0.28), (0.005, 0.12, 0.28)),
    Box((0.0, 0.125, 0.28), (0.31, 0.005, 0.28)),
)
TURNTABLE = (Box((0.0, 0.0, 0.01), (0.12, 0.12, 0.01)),)


@dataclass(frozen=True)
class Place:
    """Where an arrangement puts objects.

    spread (2,): they are dropped inside this ellipse, metres, onto one of the heights `floors`; limit (2,):
    one that ends farther out has fallen off.
    """

    name: str
    boxes: tuple[Box, ...]
    floors: tuple[float, ...]
    spread: tuple[float, float]
    limit: tuple[float, float]


def find_place(arrangement: str, spread: float, table: list[float]) -> Place:
    """The place of an arrangement; spread and table as in SceneSettings."""
    if arrangement == "bin":
        return Place("bin", BIN, (0.0,), (0.12, 0.07), (0.2, 0.15))
    if arrangement == "shelf":
        return Place("shelf", SHELF, (0.02, 0.3), (0.22, 0.04), (0.3, 0.12))
    if arrangement == "turntable":
        return Place("turntable", TURNTABLE, (0.02,), (0.0, 0.0), (0.12, 0.12))
    if arrangement == "stack":
        spread = 0.01
    return Place("table", (), (0.0,), (spread, spread), (table[0], table[1]))


def fixture_mesh(boxes: tuple[Box, ...]) -> Mesh:
    """The boxes as one grey mesh in world coordinates."""
    return join_meshes([_box_mesh(box) for box in boxes])


def _box_mesh(box: Box) -> Mesh:
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float64)
    faces = np.array([triangle for a, b, c, d in _QUADS for triangle in ((a, b, c), (a, c, d))])
    return make_mesh(corners * box.half + box.centre, faces, color=(0.62, 0.6, 0.57))
