"""The objects of a folder: their sizes, and the symmetries that their shapes have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from deeprob.geometry.mesh import Mesh
    from deeprob.geometry.symmetry import Symmetries

SIDE = 240  # pixels of an object's picture


def show_objects(folder: str, scale: float, sheet: Path | None) -> int:
    """Print the objects with proposed symmetries, and the lines to paste into objects.yaml. Returns 0."""
    from rich.console import Console
    from rich.table import Table

    from deeprob.sim.folder import check_origin
    from deeprob.sim.objects import load_objects
    from deeprob.sim.settings import ObjectSettings
    from deeprob.sim.symmetry import propose, yaml_lines

    console = Console(markup=False, highlight=False, soft_wrap=True)
    table = Table("object", "size, cm", "faces", "its shape looks the same after")
    lines: list[str] = []
    pictures = []
    for model in load_objects(ObjectSettings(folder=folder, scale=scale)):
        found = propose(model.mesh)
        size = " x ".join(f"{100 * side:.1f}" for side in model.mesh.extents)
        table.add_row(model.name, size, str(len(model.mesh.faces)), "\n".join(found.told) or "no turn")
        lines += yaml_lines(model.name, found.symmetries)
        if sheet is not None:
            pictures.append(picture(model.mesh, found.symmetries, model.name))
        warning = check_origin(model)
        if warning:
            console.print(f"warning  {warning}", markup=False)
    console.print(table)
    if lines:
        console.print("objects.yaml, beside the meshes; leave out what a label on the object tells apart:\n")
        console.print("\n".join(lines), markup=False)
    if sheet is not None:
        from deeprob.data.inspect import write_sheet

        write_sheet(_tiled(pictures), sheet)
        console.print(f"sheet  {sheet}", markup=False)
    return 0


def picture(mesh: Mesh, symmetries: Symmetries, name: str) -> NDArray[np.uint8]:
    """A mesh from obliquely above with its axes of symmetry: red one of any turn, blue others."""
    import cv2
    from scipy.spatial.transform import Rotation

    from deeprob.geometry.camera import intrinsics_from_fov, invert_intrinsics, look_at
    from deeprob.geometry.transform import invert_transform
    from deeprob.sim.depth import DepthRenderer

    size = float(np.linalg.norm(mesh.extents))
    K = intrinsics_from_fov(SIDE, SIDE, 40)
    eye = mesh.centre + size * np.array([1.1, 0.7, 0.9])
    T = invert_transform(look_at(eye, mesh.centre))
    depth = DepthRenderer([mesh])(0, T, K, (SIDE, SIDE)).astype(np.float64)
    rows, columns = np.indices(depth.shape)
    points = np.stack([columns, rows, np.ones_like(rows)], -1) @ invert_intrinsics(K).T * depth[..., None]
    normal = np.cross(np.gradient(points, axis=1), np.gradient(points, axis=0))
    light = np.abs(normal @ [0.3, -0.5, -0.8]) / (np.linalg.norm(normal, axis=-1) + 1e-12)
    image = np.where(depth > 0, 70 + 170 * light.clip(0, 1), 245).astype(np.uint8)
    shown = np.repeat(image[..., None], 3, axis=2)

    def draw(axis: NDArray[np.float64], point: NDArray[np.float64], colour: tuple[int, int, int]) -> None:
        ends = np.stack([point - 0.6 * size * axis, point + 0.6 * size * axis]) @ T[:3, :3].T + T[:3, 3]
        at = (ends @ K.T)[:, :2] / ends[:, 2:]
        start, stop = (tuple(int(v) for v in end) for end in at)
        cv2.line(shown, start, stop, colour, 2, cv2.LINE_AA)

    for T_same in symmetries.discrete:
        vector = Rotation.from_matrix(T_same[:3, :3]).as_rotvec()
        draw(vector / np.linalg.norm(vector), mesh.centre, (60, 90, 220))
    for axis, point in symmetries.continuous:
        draw(axis / np.linalg.norm(axis), point, (220, 50, 50))
    cv2.putText(shown, name, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (20, 20, 20), 1, cv2.LINE_AA)
    return shown


def _tiled(pictures: list[NDArray[np.uint8]], columns: int = 5) -> NDArray[np.uint8]:
    """Pictures side by side, so many in a row."""
    missing = -len(pictures) % min(columns, len(pictures))
    padded = [*pictures, *[np.full_like(pictures[0], 255)] * missing]
    width = min(columns, len(pictures))
    rows = [np.concatenate(padded[i : i + width], 1) for i in range(0, len(padded), width)]
    return np.concatenate(rows)
