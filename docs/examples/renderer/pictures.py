"""Draw what a renderer with gradients is for: how a picture follows six motions, and a pose that follows it.

    python docs/examples/renderer/pictures.py [folder for the two pictures]

Both are of a block that is made here; nothing is downloaded.
"""

import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeprob import layers
from deeprob.geometry.mesh import Mesh, make_mesh
from deeprob.graphs.rendered import MOTIONS, Scene, derivatives, red_and_blue
from deeprob.models.pose.by_render import Drawn
from deeprob.models.pose.descent import refined
from deeprob.models.pose.seen import seen_on

SIDE, ZOOM = 96, 2
K = torch.tensor([[190.0, 0, 47.5], [0, 190, 47.5], [0, 0, 1]])
START = torch.tensor([0.0, 0, 0, 0.9, -0.5, 0.3])  # turned, then 30 cm away


def main() -> None:
    """Write renderer-gradients.png and renderer-refinement.png."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    drawn = Drawn.of(block(), 0.11)
    T = layers.se3_exp(START)
    T[2, 3] = 0.3
    cv2.imwrite(str(folder / "renderer-gradients.png"), gradients(drawn, T))
    cv2.imwrite(str(folder / "renderer-refinement.png"), refinement(drawn, T))


def block() -> Mesh:
    """An L of 9 x 9 x 3 cm."""
    outline = np.array([[0, 0], [3, 0], [3, 1], [1, 1], [1, 3], [0, 3]]) * 0.03 - 0.03
    vertices = np.concatenate([np.c_[outline, np.full(6, z)] for z in (-0.015, 0.015)])
    cap = [[0, i, i + 1] for i in range(1, 5)]
    faces = [[a, c, b] for a, b, c in cap] + [[a + 6, b + 6, c + 6] for a, b, c in cap]
    for i in range(6):
        j = (i + 1) % 6
        faces += [[i, j, j + 6], [i, j + 6, i + 6]]
    return make_mesh(vertices, np.array(faces))


def gradients(drawn: Drawn, T: Tensor) -> NDArray[np.uint8]:
    """The derivative of mask (above) and depth by each motion: red grows, blue shrinks."""
    scene = Scene(drawn.vertices, drawn.faces, True, T[:3, :3], T[:3, 3], K, (SIDE, SIDE))
    _, slopes = derivatives(scene)
    columns = []
    for k, name in enumerate(MOTIONS):
        rows = [enlarged(red_and_blue(slopes[kind][k].numpy())[..., ::-1]) for kind in ("mask", "depth")]
        column = np.ascontiguousarray(np.concatenate(rows))
        cv2.putText(column, name, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
        columns.append(column)
    return np.concatenate(columns, 1)


def refinement(drawn: Drawn, T: Tensor) -> NDArray[np.uint8]:
    """The start and the end over what is seen (grey), and the loss from step to step."""
    truth = T.double().numpy()
    start = (layers.se3_exp(torch.tensor([0.012, -0.01, 0.02, 0.2, -0.15, 0.15])) @ T).double().numpy()
    start[:3, 3] = truth[:3, 3] + [0.012, -0.01, 0.02]
    mask, depth = shown(drawn, truth)
    squares = seen_on((48, SIDE), start, K.double().numpy(), drawn, mask=mask, depth=depth)
    found = refined(start, squares, drawn, (12, 12))
    panels = []
    for pose, color in ((start, (40, 40, 220)), (found.T, (40, 160, 40))):
        panel = enlarged(np.repeat(np.where(mask, 190, 255).astype(np.uint8)[..., None], 3, -1))
        here, _ = shown(drawn, pose)
        edges, _ = cv2.findContours(enlarged(here.astype(np.uint8)), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(panel, edges, -1, color, 2)
        panels.append(panel)
    print(f"loss {found.before:.3f} -> {found.loss:.4f}")
    return np.concatenate([*panels, curve(found.history)], 1)


def shown(drawn: Drawn, T: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Mask and depth of a pose."""
    here = torch.from_numpy(T).float()
    here[:3, 3] += here[:3, :3] @ drawn.middle
    points = layers.project(drawn.vertices, here[None], K)
    b, visible = layers.rasterize(points, drawn.faces, (SIDE, SIDE), cull=True)
    depth = layers.interpolate_attributes(points[..., 2:], b, drawn.faces, visible)
    return (visible[0] >= 0).numpy(), depth[0, ..., 0].numpy()


def curve(history: list[float]) -> NDArray[np.uint8]:
    """The loss over the steps, its logarithm upwards."""
    panel = np.full((SIDE * ZOOM, SIDE * ZOOM, 3), 255, np.uint8)
    height = np.log(np.maximum(history, 1e-5))
    height = (height - height.min()) / max(float(np.ptp(height)), 1e-6)
    x = np.linspace(8, SIDE * ZOOM - 8, len(history))
    line = np.stack([x, 22 + (1 - height) * (SIDE * ZOOM - 30)], 1).astype(np.int32)
    cv2.polylines(panel, [line], False, (0, 0, 0), 1, cv2.LINE_AA)
    cv2.putText(panel, "loss (log)", (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return panel


def enlarged(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each pixel as a square."""
    return np.asarray(picture.repeat(ZOOM, 0).repeat(ZOOM, 1), np.uint8)


if __name__ == "__main__":
    main()
