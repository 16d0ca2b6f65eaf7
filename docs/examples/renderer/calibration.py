"""Find a camera that was moved, from one picture of objects whose places are known.

    python docs/examples/renderer/calibration.py [seed]

A camera looks at blocks on a table; somebody pushes it by 2 cm and 3 degrees. All blocks together are one
rigid body, so the camera's pose is the pose of that body, and is refined as any other: down the gradient of
the mask, in four pictures from coarse to fine.
"""

import sys

import numpy as np
import torch
from numpy.typing import NDArray
from pictures import block
from scipy.spatial.transform import Rotation

from deeprob import layers
from deeprob.geometry.mesh import Mesh, join_meshes
from deeprob.metrics import pose
from deeprob.models.pose.by_render import Drawn
from deeprob.models.pose.descent import refined
from deeprob.models.pose.seen import seen_on

Floats = NDArray[np.float64]
SIZE, K = (480, 640), np.array([[600.0, 0, 319.5], [0, 600, 239.5], [0, 0, 1]])
MOVED_M, MOVED_DEGREES = 0.02, 3.0
PLACES = ((-0.2, -0.1, 0.4), (0.18, -0.14, 1.5), (0.02, 0.02, 2.6), (-0.16, 0.16, 4.0), (0.21, 0.13, 5.2))
SIDES, STEPS = (96, 192, 384, 640), (20, 12, 12, 12)


def main() -> None:
    """Print how far the camera was off, before and after."""
    world, rng = table(), np.random.default_rng(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    before, after = calibrated(world, moved(camera(), rng))
    print(f"before: {before[0]:.1f} mm, {before[1]:.2f} degrees")
    print(f"after:  {after[0]:.2f} mm, {after[1]:.3f} degrees")


def table() -> Mesh:
    """Five blocks where they stand: x and y in metres, and a turn about the vertical."""
    blocks = []
    for x, y, angle in PLACES:
        T = np.eye(4)
        T[:3, :3] = Rotation.from_rotvec([0, 0, angle]).as_matrix()
        T[:2, 3] = x, y
        blocks.append(block().transformed(T))
    return join_meshes(blocks)


def camera() -> Floats:
    """T_cam_world of a camera 80 cm away that looks down by 50 degrees."""
    T = np.eye(4)
    T[:3, :3] = Rotation.from_euler("x", 140, degrees=True).as_matrix()
    T[2, 3] = 0.8
    return T


def moved(T: Floats, rng: np.random.Generator) -> Floats:
    """The pose of the camera after it was pushed and turned, each in a random direction."""
    push, axis = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
    step = np.eye(4)
    step[:3, :3] = Rotation.from_rotvec(np.radians(MOVED_DEGREES) * axis).as_matrix()
    step[:3, 3] = MOVED_M * push
    return step @ T


def calibrated(world: Mesh, T: Floats) -> tuple[tuple[float, float], tuple[float, float]]:
    """How far the old pose, and the refined one, are from T_cam_world, by the mask that the camera sees."""
    drawn = Drawn.of(world, pose.diameter(world.vertices))
    seen = seen_on(SIDES, camera(), K, drawn, mask=mask(drawn, T))
    return off(camera(), T), off(refined(camera(), seen, drawn, STEPS).T, T)


def mask(drawn: Drawn, T: Floats) -> NDArray[np.float32]:
    """What the camera sees, (H, W), 0 to 1: the share of each pixel that shows a block, of 4 x 4 samples."""
    here = torch.from_numpy(T).float()
    here[:3, 3] += here[:3, :3] @ drawn.middle
    fine = np.array([[4, 0, 1.5], [0, 4, 1.5], [0, 0, 1.0]]) @ K
    points = layers.project(drawn.vertices, here[None], torch.from_numpy(fine).float())
    visible = layers.visible_faces(points, drawn.faces, (4 * SIZE[0], 4 * SIZE[1]), drawn.closed)
    shares = (visible[0] >= 0).float().reshape(SIZE[0], 4, SIZE[1], 4).mean((1, 3))
    return np.asarray(shares.numpy())


def off(found: Floats, T: Floats) -> tuple[float, float]:
    """Millimetres between the cameras' places in the world, and degrees."""
    apart = found[:3, :3].T @ found[:3, 3] - T[:3, :3].T @ T[:3, 3]
    turn = Rotation.from_matrix(found[:3, :3] @ T[:3, :3].T).magnitude()
    return 1000 * float(np.linalg.norm(apart)), float(np.degrees(turn))


if __name__ == "__main__":
    main()
