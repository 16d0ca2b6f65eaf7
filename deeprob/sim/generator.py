"""One process's means to make scenes and views: objects, physics, renderer, in one place."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path

import numpy as np

from deeprob.sim.bullet import BulletRenderer
from deeprob.sim.fixtures import find_place, fixture_mesh
from deeprob.sim.library import Library
from deeprob.sim.look import draw_camera, draw_look
from deeprob.sim.object_model import ObjectModel
from deeprob.sim.objects import load_objects
from deeprob.sim.physics import Scene, Simulator, scene_rng
from deeprob.sim.render import Renderer, Rendering
from deeprob.sim.settings import ObjectSettings, SimSettings
from deeprob.sim.textures import find_pictures

VERSION = 6  # raise it whenever the same settings give other pictures: caches made before are then left alone
DISTRACTORS = 40  # shapes to draw distractors from
_VIEW = 1 << 20  # keeps the random numbers of views apart from those of a scene's attempts
_ENDS = 1 << 16  # bytes of a picture that are looked at, first and last
_PIXEL_FREE = ("name", "train_scenes", "val_scenes", "test_scenes", "min_visible")


class Generator:
    """Makes the scenes and views of a data set, each a pure function of (settings, split, index, view)."""

    def __init__(self, settings: SimSettings) -> None:
        self.settings = settings
        self.objects = load_objects(settings.objects)
        distractors = ObjectSettings(folder="random_urdfs", limit=DISTRACTORS)
        others = load_objects(distractors) if settings.scene.distractors[1] else ()
        self.distractors = others
        scene = settings.scene
        boxes = find_place(scene.arrangement, scene.spread, scene.table).boxes
        fixture = (ObjectModel("fixture", fixture_mesh(boxes), Path()),) if boxes else ()
        self.library = Library((*self.objects, *others, *fixture), settings.scene.table)
        self.renderer = make_renderer(settings, self.library)
        turntable = settings.scene.arrangement == "turntable" and settings.camera.path == "shell"
        self.camera = replace(settings.camera, path="orbit") if turntable else settings.camera

    def twin(self) -> Generator:
        """A generator that makes the same views in another thread, with our own renderer."""
        assert isinstance(self.renderer, Renderer)
        twin = copy.copy(self)
        twin.renderer = self.renderer.twin()
        return twin

    @functools.cached_property
    def simulator(self) -> Simulator:
        """The physics, made when the first scene is settled: views of settled scenes need none."""
        return Simulator(self.objects, self.settings.scene, self.distractors)

    def scene(self, split: str, index: int) -> Scene:
        """The settled scene of this index."""
        return self.simulator.settle(self.settings.seed, split, index)

    def view(self, scene: Scene, split: str, index: int, view: int) -> Rendering:
        """A picture of the scene with its own camera, light and colours."""
        rng = scene_rng(self.settings.seed, split, index, _VIEW + view)
        turn = view / self.settings.views
        radius = self.library.radius[scene.models] * scene.scale
        K, T_world_cam = draw_camera(self.camera, scene, radius, rng, turn)
        look = draw_look(self.settings.look, len(scene.models), rng)
        if not self.camera.pixel_center:
            return self.renderer.render(scene, K, T_world_cam, look)
        shift = np.zeros((3, 3))
        shift[:2, 2] = self.camera.pixel_center
        return replace(self.renderer.render(scene, K - shift, T_world_cam, look), K=K)

    def views(self, split: str, index: int) -> Iterator[tuple[Scene, Rendering]]:
        """A scene and all its pictures."""
        scene = self.scene(split, index)
        for view in range(self.settings.views):
            yield scene, self.view(scene, split, index, view)


def make_renderer(settings: SimSettings, library: Library) -> Renderer | BulletRenderer:
    """The renderer that the settings ask for."""
    camera = settings.camera
    if settings.renderer == "ours":
        return Renderer(library, camera.width, camera.height, camera.near, settings.look, settings.seed)
    return BulletRenderer(library, camera.width, camera.height, camera.near, egl=settings.renderer == "egl")


def fingerprint(settings: SimSettings, objects: Sequence[ObjectModel]) -> str:
    """A hash of everything that determines the pictures: settings, objects, code version, physics version."""
    relevant = {key: value for key, value in asdict(settings).items() if key not in _PIXEL_FREE}
    digest = hashlib.sha256(json.dumps([VERSION, metadata.version("pybullet"), relevant]).encode())
    for model in objects:
        for part in (
            model.mesh.vertices,
            model.mesh.faces,
            model.mesh.normals,
            model.mesh.colors,
            model.mesh.uv,
            model.mesh.face_texture,
            *model.mesh.textures,
        ):
            digest.update(np.ascontiguousarray(part).tobytes())
    for path in _other_files(settings):
        with path.open("rb") as file:
            size = path.stat().st_size
            digest.update(f"{path.name} {size}".encode() + file.read(_ENDS))
            file.seek(max(size - _ENDS, 0))  # a checksum of the pixels stands at the end
            digest.update(file.read(_ENDS))
    return digest.hexdigest()[:12]


def _other_files(settings: SimSettings) -> list[Path]:
    """The files beside the objects that the settings name: pictures, and camera poses."""
    look = settings.look
    folders = (look.table_textures, look.backgrounds, look.object_textures)
    files = [path for folder in folders for path in find_pictures(folder)]
    if settings.camera.path not in ("shell", "orbit"):
        files.append(Path(settings.camera.path))
    return [path for path in files if path.is_file()]
