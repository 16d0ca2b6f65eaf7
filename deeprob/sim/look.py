"""Domain randomisation: what a view looks like, drawn from the settings' ranges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeprob.geometry.camera import Array, intrinsics_from_fov, look_at, make_intrinsics
from deeprob.sim.physics import Scene
from deeprob.sim.settings import CameraSettings, LookSettings


def draw(rng: np.random.Generator, ends: list[float]) -> float:
    """A number between two ends, uniformly."""
    return float(rng.uniform(ends[0], ends[1]))


@dataclass(frozen=True)
class Look:
    """Light, colours and sensor of one view.

    to_light: unit vector (3,) from the table to the lamp; ambient, diffuse (3,); tint (n, 3), a factor on
    each object's colour, and recolour (n, 3), the colour of objects without a texture, NaN keeps their own;
    table: index of its texture, table_turn (2, 3): point of the table to texture metres, table_tint (3,);
    background: index, its shift (2,) and tint (3,); blur pixels; noise grey levels; gain, offset: exposure
    and contrast; seed of the noise.
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
    seed: int


def draw_look(settings: LookSettings, instances: int, pool: int, rng: np.random.Generator) -> Look:
    """A look for a scene of so many instances, with textures from a pool of this size."""
    azimuth = rng.uniform(0, 2 * np.pi)
    elevation = np.radians(draw(rng, settings.light_elevation))
    flat = np.cos(elevation)
    lamp = 1 + settings.light_tint * rng.uniform(-1, 1, 3)
    hue = rng.uniform(0.05, 0.95, (instances, 3))
    keeps = rng.uniform(size=instances) >= settings.recolour
    turn = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(turn), np.sin(turn)
    contrast, exposure = draw(rng, settings.contrast), draw(rng, settings.exposure)
    return Look(
        to_light=np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)]),
        ambient=draw(rng, settings.ambient) * lamp,
        diffuse=draw(rng, settings.diffuse) * lamp,
        specular=draw(rng, settings.specular),
        shadow_strength=settings.shadows * draw(rng, settings.shadow_strength),  # drawn in any case
        tint=1 + settings.tint * rng.uniform(-1, 1, (instances, 3)),
        recolor=np.where(keeps[:, None], np.nan, hue),
        table=int(rng.integers(pool)),
        table_turn=np.array([[c, -s, rng.uniform(0, 1)], [s, c, rng.uniform(0, 1)]]),
        table_tint=1 + settings.tint * rng.uniform(-1, 1, 3),
        background=int(rng.integers(pool)),
        background_shift=rng.integers(0, 1 << 16, 2),
        background_tint=rng.uniform(0.5, 1.1) * (1 + settings.tint * rng.uniform(-1, 1, 3)),
        blur=draw(rng, settings.blur),
        noise=draw(rng, settings.noise),
        gain=float(contrast * exposure),
        offset=float(128 * (1 - contrast)),
        seed=int(rng.integers(1 << 62)),
    )


def draw_camera(settings: CameraSettings, scene: Scene, rng: np.random.Generator) -> tuple[Array, Array]:
    """K (3, 3) and T_world_cam (4, 4) on the shell around the scene's centre."""
    if settings.K:
        K = make_intrinsics(*settings.K)
    else:
        K = intrinsics_from_fov(settings.width, settings.height, draw(rng, settings.field_of_view))
    target = scene.T_world_obj[:, :3, 3].mean(axis=0) + settings.look_at_jitter * rng.uniform(-1, 1, 3)
    distance = draw(rng, settings.distance)
    elevation, azimuth = (
        np.radians(draw(rng, settings.elevation)),
        np.radians(draw(rng, settings.azimuth)),
    )
    flat = distance * np.cos(elevation)
    eye = target + np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), distance * np.sin(elevation)])
    return K, look_at(eye, target, np.radians(draw(rng, settings.roll)))
