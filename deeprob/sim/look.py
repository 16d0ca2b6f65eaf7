"""Domain randomisation: what a view looks like, drawn from the settings' ranges."""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprob.errors import InputError
from deeprob.geometry.camera import Array, intrinsics_from_fov, look_at, make_intrinsics
from deeprob.sim.physics import Scene
from deeprob.sim.settings import CameraSettings, LookSettings
from deeprob.sim.textures import POOL

CAMERA_ATTEMPTS = 20


def draw(rng: np.random.Generator, ends: list[float]) -> float:
    """A number between two ends, uniformly: what rng.uniform draws, in a third of the time."""
    return ends[0] + (ends[1] - ends[0]) * rng.random()


def jitter(rng: np.random.Generator, *shape: int) -> Array:
    """Numbers from -1 to 1, uniformly."""
    return 2 * rng.random(shape) - 1


@dataclass(frozen=True)
class Look:
    """Light, colours and sensor of one view.

    to_light: unit vector (3,) from the table to the lamp. ambient, diffuse (3,), specular, shadow_strength:
    of light. tint (n, 3): a factor on each object's colour. recolor (n, 3): the colour of objects without a
    texture, NaN keeps their own. table: index of its texture. table_turn (2, 3): point (x, y, 1) of the table
    to texture metres. table_tint (3,). background: index of the picture, background_shift (2,) pixels,
    background_tint (3,).
    blur: pixels. noise: grey levels. gain, offset: exposure and contrast. saturation; hue, degrees;
    depth_noise, depth_disparity, depth_holes: as in LookSettings. seed: of the noise.
    skin (n,): the texture that each object is wrapped in, -1 for its own; skin_place (n, 3): the metres that
    it spans, and where it begins, in shares of it.
    """

    to_light: Array
    ambient: Array
    diffuse: Array
    specular: float
    shadow_strength: float
    tint: Array
    recolor: Array
    table: int
    table_turn: Array
    table_tint: Array
    background: int
    background_shift: NDArray[np.int64]
    background_tint: Array
    blur: float
    noise: float
    gain: float
    offset: float
    saturation: float
    hue: float
    depth_noise: float
    depth_disparity: float
    depth_holes: int
    seed: int
    skin: NDArray[np.int64]
    skin_place: Array


def draw_look(settings: LookSettings, instances: int, rng: np.random.Generator) -> Look:
    """A look for a scene of so many instances."""
    azimuth = math.radians(draw(rng, settings.light_azimuth))
    elevation = math.radians(draw(rng, settings.light_elevation))
    flat = math.cos(elevation)
    lamp = 1 + settings.light_tint * jitter(rng, 3)
    hue = 0.05 + 0.9 * rng.random((instances, 3))
    keeps = rng.random(instances) >= settings.recolour
    turn = 2 * math.pi * rng.random()
    c, s = math.cos(turn), math.sin(turn)
    contrast, exposure = draw(rng, settings.contrast), draw(rng, settings.exposure)
    look = Look(
        to_light=np.array([flat * math.cos(azimuth), flat * math.sin(azimuth), math.sin(elevation)]),
        ambient=draw(rng, settings.ambient) * lamp,
        diffuse=draw(rng, settings.diffuse) * lamp,
        specular=draw(rng, settings.specular),
        shadow_strength=settings.shadows * draw(rng, settings.shadow_strength),  # drawn in any case
        tint=1 + settings.tint * jitter(rng, instances, 3),
        recolor=np.where(keeps[:, None], np.nan, hue),
        table=int(rng.integers(POOL)),
        table_turn=np.array([[c, -s, rng.random()], [s, c, rng.random()]]),
        table_tint=1 + settings.tint * jitter(rng, 3),
        background=int(rng.integers(POOL)),
        background_shift=rng.integers(0, 1 << 16, 2),
        background_tint=draw(rng, settings.background_brightness) * (1 + settings.tint * jitter(rng, 3)),
        blur=draw(rng, settings.blur),
        noise=draw(rng, settings.noise),
        gain=float(contrast * exposure),
        offset=float(128 * (1 - contrast)),
        saturation=draw(rng, settings.saturation),
        seed=int(rng.integers(1 << 62)),
        hue=draw(rng, settings.hue),
        depth_noise=draw(rng, settings.depth_noise),
        depth_disparity=draw(rng, settings.depth_disparity),
        depth_holes=int(rng.integers(settings.depth_holes[0], settings.depth_holes[1] + 1)),
        skin=np.full(instances, -1),
        skin_place=np.zeros((instances, 3)),
    )
    return replace(look, **_draw_skins(settings, instances, rng)) if settings.retexture > 0 else look


def _draw_skins(settings: LookSettings, instances: int, rng: np.random.Generator) -> dict[str, Any]:
    """Which objects are wrapped in which texture."""
    wrapped = rng.random(instances) < settings.retexture
    low, high = settings.texture_size
    place = rng.random((instances, 3)) * [high - low, 1, 1] + [low, 0, 0]
    return {"skin": np.where(wrapped, rng.integers(POOL, size=instances), -1), "skin_place": place}


def draw_camera(
    settings: CameraSettings, scene: Scene, radius: Array, rng: np.random.Generator, turn: float
) -> tuple[Array, Array]:
    """K (3, 3) and T_world_cam (4, 4).

    radius (n,): of the instances, metres; the camera stays out of them. turn: where on an orbit this view
    lies, 0..1. Raises InputError where no place outside the objects is found.
    """
    if settings.K:
        K = make_intrinsics(*settings.K)
    else:
        K = intrinsics_from_fov(settings.width, settings.height, draw(rng, settings.field_of_view))
    if settings.K_jitter > 0:
        zoom, right, down = settings.K_jitter * jitter(rng, 3)
        K = np.diag([1 + zoom, 1 + zoom, 1]) @ K
        K[:2, 2] = K[:2, 2] / (1 + zoom) + settings.width * np.array([right, down])
    for _ in range(CAMERA_ATTEMPTS):
        if settings.path in ("shell", "orbit"):
            T_world_cam = _on_the_shell(settings, scene, rng, turn if settings.path == "orbit" else None)
        else:
            poses = read_poses(Path(settings.path))
            T_world_cam = poses[round(turn * len(poses)) % len(poses)]
        away = scene.centres - T_world_cam[:3, 3]
        clear = (away * away).sum(axis=1) > (radius + settings.near) ** 2
        if T_world_cam[2, 3] > settings.near and clear[: scene.loose].all():
            return K, T_world_cam
    raise InputError(
        "the camera is inside an object or below the table",
        where=f"{scene.key}, sim.camera",
        expected="a distance larger than the objects and an elevation above 0",
    )


def _on_the_shell(
    settings: CameraSettings, scene: Scene, rng: np.random.Generator, turn: float | None
) -> Array:
    ex, ey, ez = jitter(rng, 3).tolist()
    x, y, z = (scene.centres[: scene.labelled].sum(axis=0) / scene.labelled).tolist()
    wander = settings.look_at_jitter
    target = x + wander * ex, y + wander * ey, z + wander * ez
    distance = draw(rng, settings.distance)
    elevation, azimuth = (
        math.radians(draw(rng, settings.elevation)),
        math.radians(draw(rng, settings.azimuth)),
    )
    if turn is not None:
        azimuth = 2 * math.pi * turn
    flat = distance * math.cos(elevation)
    eye = (
        target[0] + flat * math.cos(azimuth),
        target[1] + flat * math.sin(azimuth),
        target[2] + distance * math.sin(elevation),
    )
    return look_at(eye, target, math.radians(draw(rng, settings.roll)))


@functools.lru_cache(maxsize=4)
def read_poses(path: Path) -> Array:
    """T_world_cam (N, 4, 4) from a JSON file. Raises InputError where they are no rigid transforms."""
    try:
        poses = np.asarray(json.loads(path.read_text(encoding="utf-8-sig")), np.float64)
    except (OSError, ValueError) as error:
        raise InputError(
            f"camera poses cannot be read ({error})", where=path, expected="a JSON list"
        ) from error
    if poses.ndim != 3 or poses.shape[1:] != (4, 4) or not len(poses) or not np.isfinite(poses).all():
        raise InputError("no list of 4x4 matrices of finite numbers", where=path)
    R = poses[:, :3, :3]
    if not np.allclose(R @ R.transpose(0, 2, 1), np.eye(3), atol=1e-4) or (np.linalg.det(R) < 0).any():
        raise InputError("a camera pose is no rotation and translation", where=path, expected="T_world_cam")
    return poses
