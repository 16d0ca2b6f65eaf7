"""Settled scenes: PyBullet drops objects on a table until they rest.

A scene is a pure function of (settings, seed, split, index). Keeping bodies loaded leaks solver and
broadphase state from one scene into the next, so every attempt starts with resetSimulation and fresh bodies.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeprob.errors import InputError
from deeprob.geometry.rotation import quaternion_to_matrix, random_quaternion, random_turn
from deeprob.geometry.transform import invert_transform, make_transform
from deeprob.sim.capture import captured, import_pybullet
from deeprob.sim.fixtures import Box, find_place
from deeprob.sim.object_model import ObjectModel
from deeprob.sim.settings import SceneSettings

STEP = 1 / 120  # seconds; coarser steps let objects sink into each other by a centimetre
SOLVER_ITERATIONS = 10
GAP = 0.004  # metres an object is let go above what it falls on
PLACE_ATTEMPTS = 20
MIN_SECONDS = 0.25  # nothing is at rest in the moment it is let go


@dataclass(frozen=True)
class Scene:
    """Objects at rest: models int64 (n,), class ids; scale float64 (n,); T_world_obj float64 (n, 4, 4).

    centres float64 (n, 3): their middles in the world; an object's origin may lie anywhere.
    The object's points in the world are T_world_obj @ (scale * mesh vertices). The first `labelled` of them
    are objects of a class, the first `loose` move; the others are distractors, and furniture.
    """

    key: str
    models: NDArray[np.int64]
    scale: NDArray[np.float64]
    T_world_obj: NDArray[np.float64]
    centres: NDArray[np.float64]
    labelled: int
    loose: int


def scene_rng(seed: int, split: str, index: int, *more: int) -> np.random.Generator:
    """The random numbers of one scene (or of one view of it): the same for any worker, order or restart."""
    return np.random.default_rng([seed, zlib.crc32(split.encode()), index, *more])


class Simulator:
    """A PyBullet client that settles scenes. One per process.

    objects: of the classes. distractors: shapes of no class. Scene.models counts them in this order,
    furniture last.
    """

    def __init__(
        self, objects: Sequence[ObjectModel], settings: SceneSettings, distractors: Sequence[ObjectModel] = ()
    ) -> None:
        self.objects, self.distractors, self.settings = tuple(objects), tuple(distractors), settings
        self.place = find_place(settings.arrangement, settings.spread, settings.table)
        self.bullet = import_pybullet()
        with captured() as chatter:
            self.client = self.bullet.connect(self.bullet.DIRECT)
        if self.client < 0:
            raise RuntimeError(f"PyBullet does not start: {chatter.text}")

    def close(self) -> None:
        """Disconnect the client."""
        if self.client >= 0:
            self.bullet.disconnect(physicsClientId=self.client)
            self.client = -1

    def settle(self, seed: int, split: str, index: int) -> Scene:
        """The scene of this index. Raises InputError where none could be placed in `attempts` tries."""
        reason = ""
        for attempt in range(self.settings.attempts):
            rng = scene_rng(seed, split, index, attempt)
            scene, reason = self._attempt(rng, f"{split}/{index:06d}")
            if scene is not None:
                return scene
        raise InputError(
            f"no scene could be placed in {self.settings.attempts} attempts: {reason}",
            where=f"scene {split}/{index}",
            fix="lower sim.scene.objects, or raise sim.scene.spread, sim.scene.table or sim.scene.attempts",
        )

    def _attempt(self, rng: np.random.Generator, key: str) -> tuple[Scene | None, str]:
        """One try: the scene, or None and why it was rejected."""
        settings, p, client = self.settings, self.bullet, self.client
        models, labelled = self._cast(rng)
        scale = rng.uniform(settings.scale[0], settings.scale[1], len(models))
        p.resetSimulation(physicsClientId=client)
        p.setTimeStep(STEP, physicsClientId=client)
        p.setPhysicsEngineParameter(
            numSolverIterations=SOLVER_ITERATIONS, deterministicOverlappingPairs=1, physicsClientId=client
        )
        p.setGravity(0, 0, -9.81, physicsClientId=client)
        self._fix(Box((0.0, 0.0, -0.05), (settings.table[0], settings.table[1], 0.05)))
        for box in self.place.boxes:
            self._fix(box)
        bodies, frames = [], []
        placed: list[tuple[NDArray[np.float64], float, float]] = []
        everything = self.objects + self.distractors
        for model, factor in zip(models, scale, strict=True):
            hull = everything[model].hull * factor
            standing = settings.upright > 0 and rng.random() < settings.upright
            q = random_turn(rng) if standing else random_quaternion(rng)
            R = quaternion_to_matrix(q)
            turned = hull @ R.T
            middle = (turned.max(axis=0) + turned.min(axis=0)) / 2
            radius = float(np.linalg.norm((turned - middle)[:, :2], axis=1).max())
            xy, bottom = self._free_place(rng, radius, placed)
            height = float(np.ptp(turned[:, 2]))
            placed.append((xy, radius, bottom + height))
            origin = np.array([xy[0] - middle[0], xy[1] - middle[1], bottom - turned[:, 2].min()])
            centre = (hull.max(axis=0) + hull.min(axis=0)) / 2
            bodies.append(self._drop(everything[model], float(factor), origin + R @ centre, q))
            frames.append(make_transform(t=centre))
        rested = self._rest(bodies)
        inertial = np.stack([self._pose(body) for body in bodies])
        centres = inertial[:, :3, 3]
        poses = np.stack([T @ invert_transform(frame) for T, frame in zip(inertial, frames, strict=True)])
        if not np.isfinite(poses).all():
            return None, "an object flew off"
        if (np.abs(centres[:, :2]) > self.place.limit).any() or (centres[:, 2] < -0.02).any():
            return None, f"an object fell off the {self.place.name}"
        if not rested:
            return None, f"it was still moving after {settings.max_seconds:g} s"
        contacts = p.getContactPoints(physicsClientId=client)
        if min((contact[8] for contact in contacts), default=0.0) < -settings.max_penetration:
            return None, f"objects overlap by more than {1000 * settings.max_penetration:g} mm"
        if self.place.boxes:
            models = np.append(models, len(everything))
            scale, poses = np.append(scale, 1.0), np.concatenate([poses, np.eye(4)[None]])
            centres = np.concatenate([centres, np.zeros((1, 3))])
        return Scene(key, models, scale, poses, centres, labelled, len(bodies)), ""

    def _cast(self, rng: np.random.Generator) -> tuple[NDArray[np.int64], int]:
        """Which objects are in a scene, and how many of them are of a class."""
        settings, kinds = self.settings, len(self.objects)
        count = int(rng.integers(settings.objects[0], settings.objects[1] + 1))
        if settings.arrangement == "turntable":
            count = 1
        models = rng.integers(kinds, size=count) if settings.repeats else rng.permutation(kinds)[:count]
        extra = (
            int(rng.integers(settings.distractors[0], settings.distractors[1] + 1)) if self.distractors else 0
        )
        others = kinds + rng.integers(max(1, len(self.distractors)), size=extra)
        return np.concatenate([models, others]).astype(np.int64), len(models)

    def _fix(self, box: Box) -> None:
        """Put a box that does not move into the world."""
        p, client = self.bullet, self.client
        shape = p.createCollisionShape(p.GEOM_BOX, halfExtents=list(box.half), physicsClientId=client)
        body = p.createMultiBody(0, shape, -1, list(box.centre), physicsClientId=client)
        p.changeDynamics(body, -1, lateralFriction=0.8, physicsClientId=client)

    def _drop(
        self, model: ObjectModel, scale: float, centre: NDArray[np.float64], q: NDArray[np.float64]
    ) -> int:
        """Create a body around its centre of mass, whose frame is the one that PyBullet places and reports.

        The list of vertices must be the model's own, again and again: PyBullet never gives back the numbers
        in it.
        """
        p, client = self.bullet, self.client
        shape = p.createCollisionShape(
            p.GEOM_MESH, vertices=model.centred_hull, meshScale=3 * [scale], physicsClientId=client
        )
        volume = scale**3 * float(np.prod(np.ptp(model.hull, axis=0)))
        body: int = p.createMultiBody(
            baseMass=max(1e-3, 300 * volume),  # kilograms: a third of water fills the bounding box
            baseCollisionShapeIndex=shape,
            basePosition=centre.tolist(),
            baseOrientation=[*q[1:], q[0]],
            physicsClientId=client,
        )
        p.changeDynamics(
            body,
            -1,
            lateralFriction=0.8,
            rollingFriction=0.002,
            spinningFriction=0.002,
            linearDamping=0.1,
            angularDamping=0.3,
            physicsClientId=client,
        )
        return body

    def _rest(self, bodies: list[int]) -> bool:
        """Step until every body is slow; False where time ran out."""
        p, client = self.bullet, self.client
        for step in range(int(self.settings.max_seconds / STEP)):
            p.stepSimulation(physicsClientId=client)
            if step * STEP < MIN_SECONDS or step % 6:
                continue
            if all(self._speed(body) < self.settings.rest_speed for body in bodies):
                return True
        return False

    def _speed(self, body: int) -> float:
        """Metres a second of about its fastest point: the centre's speed plus its turning 5 cm away."""
        linear, angular = self.bullet.getBaseVelocity(body, physicsClientId=self.client)
        return float(np.linalg.norm(linear) + 0.05 * np.linalg.norm(angular))

    def _pose(self, body: int) -> NDArray[np.float64]:
        """T_world_inertial of a body."""
        position, (x, y, z, w) = self.bullet.getBasePositionAndOrientation(body, physicsClientId=self.client)
        return make_transform(quaternion_to_matrix([w, x, y, z]), position)

    def _free_place(
        self, rng: np.random.Generator, radius: float, placed: list[tuple[NDArray[np.float64], float, float]]
    ) -> tuple[NDArray[np.float64], float]:
        """Where to let an object go: beside the others where there is room, else above those it would hit."""
        floor = self.place.floors[int(rng.integers(len(self.place.floors)))] + GAP
        for _ in range(PLACE_ATTEMPTS):
            angle, distance = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform())
            xy = distance * np.array([np.cos(angle), np.sin(angle)]) * self.place.spread
            below = [
                top
                for other, size, top in placed
                if top > floor and np.linalg.norm(xy - other) < radius + size
            ]
            if not below:
                return xy, floor
        return xy, max(below) + GAP
