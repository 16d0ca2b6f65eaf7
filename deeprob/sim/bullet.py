"""PyBullet's own renderers, TinyRenderer and EGL: the oracle of ours, and a choice where it is preferred.

Conventions measured against ray casting: TinyRenderer's picture lies half a pixel off the textbook
projection, and lamps stay set from one call to the next, so that every call passes all of them.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from deeprob.errors import InputError
from deeprob.geometry.camera import Array
from deeprob.geometry.kernel import F32, I32, U8
from deeprob.geometry.mesh_files import write_obj
from deeprob.geometry.raster import NOBODY
from deeprob.geometry.transform import invert_transform
from deeprob.sim.capture import captured, import_pybullet
from deeprob.sim.library import Library
from deeprob.sim.look import Look
from deeprob.sim.physics import Scene
from deeprob.sim.render import Rendering

FAR = 100.0
_AWAY = [0.0, 0.0, -1e4]  # where an object is put that shall not be seen


def projection(K: Array, width: int, height: int, near: float, offset: tuple[float, float]) -> list[float]:
    """OpenGL's projection matrix of K, column-major; offset: (0, 1) for TinyRenderer, (0.5, 0.5) for EGL."""
    far = FAR
    P = np.zeros((4, 4))
    P[0, 0], P[0, 2] = 2 * K[0, 0] / width, 1 - 2 * (K[0, 2] + offset[0]) / width
    P[1, 1], P[1, 2] = 2 * K[1, 1] / height, 2 * (K[1, 2] + offset[1]) / height - 1
    P[2, 2], P[2, 3], P[3, 2] = -(far + near) / (far - near), -2 * far * near / (far - near), -1
    return [float(value) for value in P.T.ravel()]


def view_matrix(T_world_cam: Array) -> list[float]:
    """OpenGL's view matrix of a camera with OpenCV axes, column-major."""
    V = np.diag([1.0, -1.0, -1.0, 1.0]) @ invert_transform(T_world_cam)
    return [float(value) for value in V.T.ravel()]


class BulletRenderer:
    """Renders scenes like `render.Renderer`, with one call of PyBullet's renderer for each label."""

    def __init__(self, library: Library, width: int, height: int, near: float, egl: bool = False) -> None:
        self.library, self.width, self.height, self.near, self.egl = library, width, height, near, egl
        self.bullet = import_pybullet()
        self._folder = tempfile.TemporaryDirectory(prefix="deeprob-")
        for number, model in enumerate(library.objects):
            write_obj(model.mesh, Path(self._folder.name) / f"{number}.obj")
        with captured() as chatter:
            self.client = self.bullet.connect(self.bullet.DIRECT)
            plugin = self._load_egl() if egl else 0
        if plugin < 0:
            raise InputError(
                f"PyBullet's EGL renderer does not start ({chatter.text or 'no message'})",
                where="sim.renderer=egl",
                fix="use sim.renderer=ours, which needs no graphics driver",
            )
        self._scene: Scene | None = None
        self._bodies: list[int] = []
        self._table = -1

    def _load_egl(self) -> int:
        import importlib.util

        spec = importlib.util.find_spec("eglRenderer")
        if spec is None or spec.origin is None:
            return -1
        plugin: int = self.bullet.loadPlugin(spec.origin, "_eglRendererPlugin", physicsClientId=self.client)
        return plugin

    def close(self) -> None:
        """Disconnect the client and remove the temporary meshes."""
        if self.client >= 0:
            with captured():
                self.bullet.disconnect(physicsClientId=self.client)
            self.client = -1
        self._folder.cleanup()

    def render(self, scene: Scene, K: Array, T_world_cam: Array, look: Look) -> Rendering:
        """The picture and all labels of a scene; amodal masks cost one more call for each object."""
        if scene is not self._scene:
            self._load(scene)
        self._paint(scene, look)
        image, depth, owner = self._shoot(K, T_world_cam, look, self.width, self.height)
        count = scene.labelled
        cover = np.zeros((self.height, self.width), np.uint32)
        visible, amodal, whole = np.zeros((3, count, 5), np.int64)
        corner = np.array([0, self.width, self.height, self.width, self.height])
        wide = K + np.array([[0, 0, self.width], [0, 0, self.height], [0, 0, 0]])
        for i in range(count):
            self._show(scene, (i,))
            _, _, alone = self._shoot(K, T_world_cam, look, self.width, self.height)
            cover |= (alone == i).astype(np.uint32) << np.uint32(i)
            visible[i], amodal[i] = _count(owner == i), _count(alone == i)
            whole[i] = amodal[i]
            if not whole[i, 0] or _touches(amodal[i], self.width, self.height):
                _, _, around = self._shoot(wide, T_world_cam, look, 3 * self.width, 3 * self.height)
                whole[i] = np.asarray(_count(around == i)) - corner
        self._show(scene, range(count))
        return Rendering(image, depth, owner, cover, visible, amodal, whole, K, T_world_cam)

    def _load(self, scene: Scene) -> None:
        """Put the scene's objects, without physics, and the table's box into an empty client."""
        p, client = self.bullet, self.client
        with captured() as chatter:
            p.resetSimulation(physicsClientId=client)
            self._bodies = []
            seen: dict[int, int] = {}
            for model, scale in zip(scene.models, scene.scale, strict=True):
                seen[model] = seen.get(model, -1) + 1
                path = str(self._file(model, seen[model]))
                size = 3 * [float(scale)]
                shape = p.createVisualShape(
                    p.GEOM_MESH, fileName=path, meshScale=size, physicsClientId=client
                )
                self._bodies.append(p.createMultiBody(0, -1, shape, physicsClientId=client))
            self._table = -1
            if (self.library.table > 0).all():
                half = [*self.library.table, 0.01]
                shape = p.createVisualShape(p.GEOM_BOX, halfExtents=half, physicsClientId=client)
                self._table = p.createMultiBody(0, -1, shape, [0, 0, -half[2]], physicsClientId=client)
        if min(self._bodies, default=0) < 0:
            raise InputError(f"PyBullet cannot load an object ({chatter.text})", where=scene.key)
        self._scene = scene
        self._show(scene, range(len(scene.models)))

    def _file(self, model: int, copy: int) -> Path:
        """The mesh of a model under a name of its own for each time that it is in a scene.

        Of one file in several sizes, the EGL renderer draws all in the size of the first.
        """
        folder = Path(self._folder.name)
        path = folder / (f"{model}-{copy}.obj" if copy else f"{model}.obj")
        if not path.exists():
            os.link(folder / f"{model}.obj", path)
        return path

    def _show(self, scene: Scene, visible: Any) -> None:
        """Put these instances where they belong, and the others away; with fewer than all, the table too."""
        from scipy.spatial.transform import Rotation

        p, client = self.bullet, self.client
        for i, body in enumerate(self._bodies):
            T = scene.T_world_obj[i]
            position = T[:3, 3].tolist() if i in visible else _AWAY
            turn = Rotation.from_matrix(T[:3, :3]).as_quat().tolist()
            p.resetBasePositionAndOrientation(body, position, turn, physicsClientId=client)
        if self._table >= 0:
            whole = len(visible) == len(self._bodies)
            place = [0, 0, -0.01] if whole else _AWAY
            p.resetBasePositionAndOrientation(self._table, place, [0, 0, 0, 1], physicsClientId=client)

    def _paint(self, scene: Scene, look: Look) -> None:
        """Set the colours of objects and table."""
        p, client = self.bullet, self.client
        textured = self.library.textured[scene.models]
        color = np.where(np.isnan(look.recolor), look.tint * self.library.color[scene.models], look.recolor)
        color = np.where(textured[:, None], look.tint, color)
        for body, (red, green, blue) in zip(self._bodies, np.clip(color, 0, 1), strict=True):
            p.changeVisualShape(body, -1, rgbaColor=[red, green, blue, 1], physicsClientId=client)
        if self._table >= 0:
            red, green, blue = np.clip(0.6 * look.table_tint, 0, 1)
            p.changeVisualShape(self._table, -1, rgbaColor=[red, green, blue, 1], physicsClientId=client)

    def _shoot(self, K: Array, T_world_cam: Array, look: Look, width: int, height: int) -> tuple[U8, F32, U8]:
        """Picture, depth in metres and owner of one call."""
        p = self.bullet
        offset = (0.5, 0.5) if self.egl else (0.0, 1.0)
        with captured() if self.egl else nullcontext():  # the first call prints the driver's name
            _, _, rgba, z, seg = p.getCameraImage(
                width,
                height,
                view_matrix(T_world_cam),
                projection(K, width, height, self.near, offset),
                lightDirection=look.to_light.tolist(),
                lightColor=[1, 1, 1],
                lightDistance=2.0,
                shadow=int(look.shadow_strength > 0),
                lightAmbientCoeff=float(look.ambient.mean()),
                lightDiffuseCoeff=float(look.diffuse.mean()),
                lightSpecularCoeff=look.specular,
                renderer=p.ER_BULLET_HARDWARE_OPENGL if self.egl else p.ER_TINY_RENDERER,
                physicsClientId=self.client,
            )
        z = np.asarray(z, np.float64).reshape(height, width)
        seg = np.asarray(seg, np.int32).reshape(height, width)
        depth = np.where((seg >= 0) & (z < 0.999999), FAR * self.near / (FAR - (FAR - self.near) * z), 0.0)
        image = np.ascontiguousarray(np.asarray(rgba, np.uint8).reshape(height, width, 4)[..., :3])
        return image, depth.astype(np.float32), self._owners(seg, self._scene.labelled if self._scene else 0)

    def _owners(self, seg: I32, labelled: int) -> U8:
        """Instance of each pixel from PyBullet's body ids."""
        table = np.full(max([*self._bodies, self._table, 0]) + 2, NOBODY, np.uint8)
        table[self._bodies[:labelled]] = np.arange(labelled)
        return np.asarray(table[np.where(seg >= 0, seg & ((1 << 24) - 1), len(table) - 1)])


def _count(mask: Any) -> tuple[int, int, int, int, int]:
    """Pixels of a mask, and their left, top, right, bottom."""
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return 0, width, height, -1, -1
    return int(mask.sum()), int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


def _touches(box: Any, width: int, height: int) -> bool:
    return bool(box[1] <= 0 or box[2] <= 0 or box[3] >= width - 1 or box[4] >= height - 1)
