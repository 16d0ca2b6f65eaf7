"""Scene, camera and look in; picture and every label out."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeprob.data.frame import Frame, Instance
from deeprob.errors import InputError
from deeprob.geometry import raster
from deeprob.geometry.boxes import from_pixels
from deeprob.geometry.camera import Array, invert_intrinsics
from deeprob.geometry.transform import invert_transform
from deeprob.sim import shade as shading
from deeprob.sim import silhouettes
from deeprob.sim import table as table_top
from deeprob.sim.library import Library
from deeprob.sim.light import Lighting
from deeprob.sim.look import Look
from deeprob.sim.physics import Scene
from deeprob.sim.planes import Bodies, make_planes
from deeprob.sim.sensor import disturb_depth, disturb_image, make_noise_tile
from deeprob.sim.settings import LookSettings
from deeprob.sim.shadow import NOTHING, shadow_map
from deeprob.sim.textures import TEXTURE_SIZE, TexturePool


@dataclass(frozen=True)
class Rendering:
    """One picture with its labels; instances are 0..n-1 in the scene's order.

    image uint8 (H, W, 3); depth_m float32 (H, W), 0 = nothing; owner uint8 (H, W), the instance that a pixel
    shows, raster.NOBODY for none; cover uint32 (H, W), bit i: inside instance i's silhouette; visible, amodal
    int64 (n, 5): pixels, left, top, right, bottom (inclusive); whole the same for the silhouette
    on a canvas of three by three pictures around this one; K (3, 3), T_world_cam (4, 4).
    """

    image: NDArray[np.uint8]
    depth_m: NDArray[np.float32]
    owner: NDArray[np.uint8]
    cover: NDArray[np.uint32]
    visible: NDArray[np.int64]
    amodal: NDArray[np.int64]
    whole: NDArray[np.int64]
    K: Array
    T_world_cam: Array

    @property
    def visible_fraction(self) -> Array:
        """Visible pixels over all pixels of each silhouette (n,), 0 for one that lies wholly outside."""
        return np.asarray(self.visible[:, 0] / np.maximum(self.whole[:, 0], 1))


class Renderer:
    """Renders scenes of one set of objects at one size; buffers and textures are made once."""

    def __init__(
        self, library: Library, width: int, height: int, near: float, look: LookSettings, texture_seed: int
    ) -> None:
        self.library, self.width, self.height, self.near = library, width, height, near
        self.pool = TexturePool(texture_seed, max(width, height), look)
        self.noise = make_noise_tile()
        self._make_buffers()

    def _make_buffers(self) -> None:
        """Make what pictures are drawn into."""
        size = 128 if max(self.width, self.height) <= 256 else 256
        self.shadow = np.empty((size, size), np.float32)
        self.roof = np.empty((size - 1, size - 1), np.float32)
        self._buffers = raster.make_buffers(self.height, self.width, 0, 0, 0)
        self._planes = make_planes(0)
        self._picture = np.empty((self.height, self.width), np.uint32)
        self._canvas = np.empty((3 * self.height, 3 * self.width), np.uint8)
        casters = self.library.casters
        self._casters = casters._replace(points=np.empty_like(casters.points))

    def twin(self) -> Renderer:
        """A renderer for another thread: objects and textures are shared, buffers are its own."""
        twin = copy.copy(self)
        twin._make_buffers()
        return twin

    def render(self, scene: Scene, K: Array, T_world_cam: Array, look: Look) -> Rendering:
        """The picture of a scene. Raises InputError for more instances than a picture can label."""
        count = scene.labelled
        if count > raster.MAX_INSTANCES:
            raise InputError(
                f"{count} objects in one scene",
                where="sim.scene.objects",
                expected=f"at most {raster.MAX_INSTANCES}",
            )
        meshes = self.library.meshes
        shape = (self.height, self.width)
        buffers = self._room(scene)._replace(
            owner=np.empty(shape, np.uint8), cover=np.empty(shape, np.uint32)
        )
        T_cam_obj = invert_transform(T_world_cam) @ scene.T_world_obj
        similarity = T_cam_obj[:, :3].copy()
        similarity[:, :, :3] *= scene.scale[:, None, None]
        P = np.ascontiguousarray(K @ similarity)
        raster.rasterize(meshes, scene.models, P, self.near, count, buffers)
        depth = np.empty((self.height, self.width), np.float32)
        visible = np.empty((count, 5), np.int64)
        image = self._shade(scene, K, T_world_cam, look, buffers, depth, visible)
        disturb_image(image, look, self.noise)
        disturb_depth(depth, K, look, self.noise)
        amodal = buffers.amodal[:count].copy()
        whole = amodal.copy()
        for i in self._not_inside(amodal):
            whole[i] = self._whole_silhouette(int(scene.models[i]), P[i], buffers)
        return Rendering(image, depth, buffers.owner, buffers.cover, visible, amodal, whole, K, T_world_cam)

    def _room(self, scene: Scene) -> raster.Buffers:
        """Buffers that this scene fits in."""
        library, room, models = self.library, self._buffers, scene.models
        had = len(room.start), room.points.shape[1], len(room.drawn)
        wanted = len(models), int(library.vertex_count[models].sum()), int(library.face_count[models].sum())
        if any(a < b for a, b in zip(had, wanted, strict=True)):
            count, vertices, faces = map(
                max, had, wanted
            )  # never smaller: scenes of two kinds may take turns
            self._buffers = raster.make_buffers(self.height, self.width, count, vertices, faces)
            self._planes = make_planes(faces)
        return self._buffers

    def _shade(
        self,
        scene: Scene,
        K: Array,
        T_world_cam: Array,
        look: Look,
        buffers: raster.Buffers,
        depth: NDArray[np.float32],
        visible: NDArray[np.int64],
    ) -> NDArray[np.uint8]:
        """The picture of what was rasterised; depth and visible are filled."""
        import cv2

        rotation = scene.T_world_obj[:, :3, :3]
        eye = T_world_cam[:3, 3]
        ray = T_world_cam[:3, :3] @ invert_intrinsics(K)
        half = _unit(_unit(eye - scene.centres) + look.to_light)
        own = self.library.textured[scene.models] | (look.skin >= 0) | np.isnan(look.recolor[:, 0])
        tint = np.where(own[:, None], look.tint, look.recolor / self.library.color[scene.models])
        light = self._light(scene, look, eye, ray)
        bodies = Bodies(
            scene.scale,
            look.to_light @ rotation,
            (half[:, None] @ rotation)[:, 0],
            tint * light.ambient,
            tint * light.diffuse,
            look.skin,
            look.skin_place,
            *self.pool.skins,
        )
        table = table_top.Surface(
            self.library.table,
            float(look.to_light[2]),
            *self.pool.table(look.table),
            look.table_turn * TEXTURE_SIZE,
            look.table_tint,
            self.pool.background(look.background)[: self.height, : self.width],
            look.background_shift,
            look.background_tint * look.gain,
        )
        table_top.shade_table(eye, ray, table, light, buffers, self._picture, depth)
        shading.shade_objects(
            self.library.meshes,
            scene.models,
            buffers,
            self._planes,
            float(K[0, 0]),
            bodies,
            light,
            self._picture,
            depth,
            visible,
        )
        rgb = cv2.cvtColor(self._picture.view(np.uint8).reshape(*depth.shape, 4), cv2.COLOR_RGBA2RGB)
        return np.asarray(rgb, np.uint8)

    def _light(self, scene: Scene, look: Look, eye: Array, ray: Array) -> Lighting:
        """The lamp, with a shadow map that spans the objects."""
        x, y, z = look.to_light
        level = math.hypot(
            x, y
        )  # across = z axis x to_light, level with the table; any axis under a lamp overhead
        ax, ay = (-y / level, x / level) if level > 1e-6 else (1.0, 0.0)
        frame = np.array([[ax, ay, 0.0], [-z * ay, z * ax, x * ay - y * ax], [x, y, z]])
        size = len(self.shadow)
        spots = scene.centres @ frame[:2].T
        radius = (self.library.radius[scene.models] * scene.scale)[:, None]
        low, high = (spots - radius).min(axis=0), (spots + radius).max(axis=0)
        texel = float((high - low).max()) / (size - 3)
        to_shadow = np.zeros((3, 4))
        to_shadow[:2, :3] = frame[:2] / texel
        to_shadow[:2, 3] = 1 - low / texel
        to_shadow[2, :3] = frame[2]
        if look.shadow_strength > 0:
            A = to_shadow[:, :3] @ scene.T_world_obj[:, :3]
            A[:, :, :3] *= scene.scale[:, None, None]
            A[:, :, 3] += to_shadow[:, 3]
            shadow_map(self._casters, scene.models, A, self.shadow, self.roof)
        else:
            self.shadow[:] = self.roof[:] = NOTHING
        from_camera = np.empty((3, 4))
        from_camera[:, :3] = to_shadow[:, :3] @ ray
        from_camera[:, 3] = to_shadow[:, :3] @ eye + to_shadow[:, 3]
        return Lighting(
            look.ambient * look.gain,
            look.diffuse * look.gain,
            255.0 * look.specular * look.gain,
            look.shadow_strength,
            0.003 + 1.5 * texel,
            self.shadow,
            self.roof.reshape(-1),
            from_camera,
            look.offset,
        )

    def _not_inside(self, amodal: NDArray[np.int64]) -> list[int]:
        """The instances whose silhouette may lie, or go on, outside the picture."""
        right, bottom = self.width - 1, self.height - 1
        return [
            i
            for i, (pixels, x0, y0, x1, y1) in enumerate(amodal.tolist())
            if pixels == 0 or x0 == 0 or y0 == 0 or x1 == right or y1 == bottom
        ]

    def _whole_silhouette(
        self, model: int, P: Array, buffers: raster.Buffers
    ) -> tuple[int, int, int, int, int]:
        """Pixels and box of a silhouette on a canvas of three by three pictures around this one."""
        return silhouettes.silhouette(
            self.library.meshes, model, P, self.near, buffers.points, self._canvas, -self.width, -self.height
        )


def _unit(vectors: Array) -> Array:
    """Vectors (n, 3), each of length one."""
    return np.asarray(vectors / (np.sqrt((vectors * vectors).sum(axis=1))[:, None] + 1e-12))


def to_frame(rendering: Rendering, scene: Scene, *, source: str, key: str, min_visible: float) -> Frame:
    """The Frame of a rendering; what is seen of instances less visible than `min_visible` is its crowds."""
    fractions = rendering.visible_fraction
    seen = np.flatnonzero(rendering.visible[:, 0] > 0)
    # One block: the system hands out large ones by large pages, and only the boxes in it are written.
    masks = np.zeros((len(seen), 2, *rendering.owner.shape), np.bool_)
    silhouettes.write_masks(
        rendering.owner, rendering.cover, seen, rendering.visible, rendering.amodal, masks
    )
    boxes = from_pixels(rendering.visible[seen, 1:])
    T_cam_obj = invert_transform(rendering.T_world_cam) @ scene.T_world_obj[seen]
    marked = [
        Instance(
            class_id=int(scene.models[i]),
            box_xyxy=boxes[k],
            mask=masks[k, 0],
            amodal_mask=masks[k, 1],
            T_cam_obj=T_cam_obj[k],
            visible_fraction=float(fractions[i]),
        )
        for k, i in enumerate(seen)
    ]
    return Frame(
        image=rendering.image,
        depth_m=rendering.depth_m,
        K=rendering.K,
        instances=tuple(i for i in marked if (i.visible_fraction or 0) >= min_visible),
        source=source,
        key=key,
        group=scene.key,
        crowds=tuple(i for i in marked if (i.visible_fraction or 0) < min_visible),
    )
