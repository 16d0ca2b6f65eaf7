"""What a simulated data set is made of: every setting, its unit, its default.

Plain dataclasses without heavy imports, so that Hydra can use them as schema. A range is `[low, high]`, drawn
uniformly; equal ends fix the value. The docstrings say which value switches a knob off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from deeprob.errors import InputError


@dataclass
class ObjectSettings:
    """Which objects there are.

    folder: `everyday` (ten models that ship with PyBullet), `random_urdfs` (its thousand random shapes), or a
        folder of one's own: OBJ, PLY, STL or URDF files, a BOP `models` folder, or a PROPS `model` folder.
    names: take only these, in this order; empty takes all.
    limit: take the first so many; 0 takes all.
    scale: multiplies the size of every object read from a folder (0.001 for meshes in millimetres); a BOP
        folder is in millimetres already.
    centre: move each object's origin to the middle of its bounding box.
    max_faces: thin meshes with more faces than this; 0 keeps all. Each face costs time at every picture.
    """

    folder: str = "everyday"
    names: list[str] = field(default_factory=list)
    limit: int = 0
    scale: float = 1.0
    centre: bool = False
    max_faces: int = 0


@dataclass
class SceneSettings:
    """How objects come to lie where they lie.

    arrangement: `scatter` over the table, `stack` on one spot, in a `bin`, on a `shelf`, or one object alone
        on a `turntable` that turns evenly from view to view.
    objects: fewest and most objects in a scene.
    repeats: whether a kind of object may be in a scene more than once.
    distractors: fewest and most shapes of no class (from `random_urdfs`) that lie among the objects,
        unlabelled.
    table: half width and half depth of the table top, metres; the table is centred on the origin, its top is
        z = 0.
    spread: objects are dropped within this distance of the centre, metres.
    scale: range of a factor on every object's size, 1 is its true size.
    upright: share of the objects that are put down standing, their z axis up, turned about it at random; the
        rest fall in any orientation.
    max_seconds: simulated time within which a scene must come to rest. rest_speed: at rest means every object
        is slower than this, metres a second.
    max_penetration: a scene whose objects overlap more than this is rejected, metres. attempts: a scene that
        was rejected so often is given up with an error.
    """

    arrangement: str = "scatter"
    objects: list[int] = field(default_factory=lambda: [3, 6])
    repeats: bool = True
    distractors: list[int] = field(default_factory=lambda: [0, 0])
    table: list[float] = field(default_factory=lambda: [0.6, 0.6])
    spread: float = 0.2
    scale: list[float] = field(default_factory=lambda: [0.85, 1.15])
    upright: float = 0.0
    max_seconds: float = 3.0
    rest_speed: float = 0.05
    max_penetration: float = 0.003
    attempts: int = 30


@dataclass
class CameraSettings:
    """Where the camera stands, and its intrinsics.

    width, height: pixels.
    field_of_view: horizontal, degrees. Used where K is empty.
    K: fx, fy, cx, cy in pixels, an integer pixel is a pixel's centre; empty draws from field_of_view.
    K_jitter: largest deviation of the focal lengths, relative, and of the principal point, in shares of the
        picture's width; 0 keeps them.
    distance, elevation, azimuth, roll: a shell around the scene's centre; metres, and degrees.
    path: `shell` draws each view from it; `orbit` goes around it, evenly from view to view; or a JSON file
        with a list of 4x4 matrices T_world_cam, metres, OpenCV axes: view k is seen from the k-th of them.
    look_at_jitter: the camera aims within this distance of the scene's centre, metres.
    near: nothing closer is seen, metres.
    pixel_center: 0 where an integer pixel is a pixel's centre (OpenCV, real calibrations); 0.5 where that is
        its corner, as in bop_toolkit's renderer: the picture moves by half a pixel under the same K.
    """

    path: str = "shell"
    width: int = 192
    height: int = 192
    field_of_view: list[float] = field(default_factory=lambda: [38.0, 50.0])
    K: list[float] = field(default_factory=list)
    K_jitter: float = 0.0
    distance: list[float] = field(default_factory=lambda: [0.4, 0.6])
    elevation: list[float] = field(default_factory=lambda: [25.0, 70.0])
    azimuth: list[float] = field(default_factory=lambda: [0.0, 360.0])
    roll: list[float] = field(default_factory=lambda: [-8.0, 8.0])
    look_at_jitter: float = 0.05
    near: float = 0.05
    pixel_center: float = 0.0


@dataclass
class LookSettings:
    """Domain randomisation: everything that changes the picture and leaves the geometry alone.

    ambient, diffuse, specular: strength of each light term; diffuse and specular [0, 0] switch the lamp off.
    light_elevation, light_azimuth: where the lamp stands: degrees above the table, and around it.
    light_tint: largest relative deviation of the light's red, green and blue from white; 0 is white light.
    shadows: objects throw shadows on the table and on one another.
    shadow_strength: share of the lamp that a shadow takes away.
    tint: largest relative deviation of an object's colour, each channel; 0 keeps the model's own colours.
    recolour: probability that an object without a texture gets a random colour.
    retexture: probability that an object, with a texture of its own or without, is wrapped in one of
        object_textures instead; 0 switches it off.
    object_textures: `random` procedural patterns, `plain`, or a folder of pictures.
    texture_size: what one repetition of such a texture spans on the object, metres.
    table_textures: `random` procedural patterns, `plain` one grey, or a folder of pictures.
    backgrounds: behind the table: `random`, `plain`, or a folder of pictures.
    background_brightness: factor on it; [1, 1] switches it off.
    blur: standard deviation of the lens blur, pixels; [0, 0] switches it off.
    noise: standard deviation of the sensor noise, grey levels of 255; [0, 0] switches it off.
    exposure: factor on the brightness; [1, 1] switches it off.
    contrast: factor on the contrast; [1, 1] switches it off.
    saturation: factor on the saturation; [1, 1] switches it off.
    hue: turn of all colours about the grey axis, degrees; [0, 0] switches it off.
    depth_noise: of an RGB-D camera, times its usual deviation 1.2 mm + 1.9 mm (Z - 0.4 m)^2 / m^2; [0, 0]
        switches it off.
    depth_disparity: smallest step of the disparity that depth is measured by, pixels; [0, 0] switches it off.
    depth_holes: readings are lost within so many pixels of a depth edge; [0, 0] switches it off.
    Textures, background and sensor are `ours` only: PyBullet's renderers see one plain table and no noise.
    """

    ambient: list[float] = field(default_factory=lambda: [0.4, 0.6])
    diffuse: list[float] = field(default_factory=lambda: [0.4, 0.75])
    specular: list[float] = field(default_factory=lambda: [0.0, 0.25])
    light_elevation: list[float] = field(default_factory=lambda: [45.0, 85.0])
    light_azimuth: list[float] = field(default_factory=lambda: [0.0, 360.0])
    light_tint: float = 0.08
    shadows: bool = True
    shadow_strength: list[float] = field(default_factory=lambda: [0.3, 0.7])
    tint: float = 0.12
    recolour: float = 0.1
    retexture: float = 0.0
    object_textures: str = "random"
    texture_size: list[float] = field(default_factory=lambda: [0.05, 0.2])
    table_textures: str = "random"
    backgrounds: str = "random"
    background_brightness: list[float] = field(default_factory=lambda: [0.5, 1.1])
    blur: list[float] = field(default_factory=lambda: [0.0, 0.7])
    noise: list[float] = field(default_factory=lambda: [0.0, 4.0])
    exposure: list[float] = field(default_factory=lambda: [0.85, 1.15])
    contrast: list[float] = field(default_factory=lambda: [0.85, 1.15])
    saturation: list[float] = field(default_factory=lambda: [1.0, 1.0])
    hue: list[float] = field(default_factory=lambda: [0.0, 0.0])
    depth_noise: list[float] = field(default_factory=lambda: [0.0, 0.0])
    depth_disparity: list[float] = field(default_factory=lambda: [0.0, 0.0])
    depth_holes: list[int] = field(default_factory=lambda: [0, 0])


@dataclass
class SimSettings:
    """A simulated data set: the same settings give the same pictures, whatever the number of workers.

    train_scenes, val_scenes, test_scenes: settled scenes a split; no scene is in two splits.
    views: pictures of each scene, each with its own camera, light and colours.
    renderer: `ours`, or PyBullet's own `tiny` (slow, the same geometry) or `egl` (needs a graphics driver).
    min_visible: an object is a target only when this share of its silhouette is visible, also of what lies
        outside the picture. The others are regions that are left out of training and judgement: COCO's
        iscrowd. Formats that have no such regions label them where a tenth of the silhouette is visible, or
        they fill a hundredth of the picture.
    """

    name: str = "everyday"
    seed: int = 0
    train_scenes: int = 400
    val_scenes: int = 40
    test_scenes: int = 80
    views: int = 4
    renderer: str = "ours"
    min_visible: float = 0.6
    objects: ObjectSettings = field(default_factory=ObjectSettings)
    scene: SceneSettings = field(default_factory=SceneSettings)
    camera: CameraSettings = field(default_factory=CameraSettings)
    look: LookSettings = field(default_factory=LookSettings)


@dataclass
class RenderOptions:
    """What `deeprob render` writes: see deeprob.cli.render."""

    format: str = "bop"
    out: str | None = None
    num: int = 100
    splits: list[str] = field(default_factory=lambda: ["train"])
    workers: int = 2
    part: int = 0
    parts: int = 1
    preview: bool = False


RENDER_KEYS = tuple(entry.name for entry in fields(RenderOptions))


PATH_KEYS = (
    *("sim.objects.folder", "sim.camera.path"),
    *("sim.look.table_textures", "sim.look.object_textures", "sim.look.backgrounds"),
)


def long_override(override: str) -> str:
    """An override of `deeprob render` as one of `deeprob train`: `sim.x` is short for `data.sim.x`.

    Paths are quoted, so that any folder's name passes Hydra's grammar.
    """
    key, equals, value = override.partition("=")
    if key == "sim.objects":
        key = "sim.objects.folder"
    if key in PATH_KEYS and value and value[0] not in "'\"":
        value = "'" + value.replace("'", "\\'") + "'"
    return f"data.{key}{equals}{value}" if key.startswith("sim.") else override


def check_settings(settings: SimSettings) -> None:
    """Raise InputError for a value that no scene can have, naming the field."""
    _check_ranges(settings, "sim")
    scene, camera = settings.scene, settings.camera
    _require(
        scene.arrangement in ARRANGEMENTS, "sim.scene.arrangement", scene.arrangement, "|".join(ARRANGEMENTS)
    )
    _require(settings.renderer in RENDERERS, "sim.renderer", settings.renderer, "|".join(RENDERERS))
    _require(scene.distractors[0] >= 0, "sim.scene.distractors", scene.distractors, "0 or more")
    _require(scene.objects[0] >= 1, "sim.scene.objects", scene.objects, "at least one object")
    table = len(scene.table) == 2 and all(0 < side < 100 for side in scene.table)
    _require(table, "sim.scene.table", scene.table, "two lengths above 0 m")
    _require(0 < settings.objects.scale < math.inf, "sim.objects.scale", settings.objects.scale, "above 0")
    most = settings.objects.max_faces
    _require(most == 0 or most >= 20, "sim.objects.max_faces", most, "0, or at least 20")
    _require(scene.scale[0] > 0, "sim.scene.scale", scene.scale, "factors above 0")
    _require(0 <= scene.upright <= 1, "sim.scene.upright", scene.upright, "a share from 0 to 1")
    _require(scene.attempts >= 1, "sim.scene.attempts", scene.attempts, "at least 1")
    _require(
        min(camera.width, camera.height) >= 8,
        "sim.camera.width, height",
        (camera.width, camera.height),
        "at least 8 pixels",
    )
    _require(
        max(camera.width, camera.height) <= 8192,
        "sim.camera.width, height",
        (camera.width, camera.height),
        "at most 8192 pixels",
    )
    _require(camera.near > 0, "sim.camera.near", camera.near, "above 0 m")
    _require(
        camera.distance[0] > camera.near, "sim.camera.distance", camera.distance, "farther than camera.near"
    )
    _require(camera.pixel_center in (0.0, 0.5), "sim.camera.pixel_center", camera.pixel_center, "0 or 0.5")
    _require(0 <= camera.K_jitter < 0.5, "sim.camera.K_jitter", camera.K_jitter, "a share from 0 to 0.5")
    _require(len(camera.K) in (0, 4), "sim.camera.K", camera.K, "fx, fy, cx, cy, or nothing")
    _require(settings.views >= 1, "sim.views", settings.views, "at least 1")
    _require(0 <= settings.min_visible <= 1, "sim.min_visible", settings.min_visible, "a share from 0 to 1")
    _require(settings.seed >= 0, "sim.seed", settings.seed, "0 or more")
    _check_look(settings.look)
    if camera.K:
        from deeprob.geometry.camera import make_intrinsics

        make_intrinsics(*camera.K)


def _check_look(look: LookSettings) -> None:
    for name in ("retexture", "recolour", "tint", "light_tint"):
        value = getattr(look, name)
        _require(0 <= value <= 1, f"sim.look.{name}", value, "a share from 0 to 1")
    for name in ("ambient", "diffuse", "specular", "blur", "noise", "exposure", "contrast", "saturation"):
        value = getattr(look, name)
        _require(value[0] >= 0, f"sim.look.{name}", value, "0 or more")
    for name in ("depth_noise", "depth_disparity", "depth_holes", "background_brightness"):
        value = getattr(look, name)
        _require(value[0] >= 0, f"sim.look.{name}", value, "0 or more")
    _require(look.texture_size[0] > 0, "sim.look.texture_size", look.texture_size, "lengths above 0 m")
    share = look.shadow_strength
    _require(share[0] >= 0 and share[1] <= 1, "sim.look.shadow_strength", share, "shares from 0 to 1")
    height = look.light_elevation
    _require(height[0] > 0 and height[1] <= 90, "sim.look.light_elevation", height, "0 to 90 degrees")


ARRANGEMENTS = ("scatter", "stack", "bin", "shelf", "turntable")
RENDERERS = ("ours", "tiny", "egl")
_NOT_RANGES = ("names", "table", "K")


def _check_ranges(node: Any, where: str) -> None:
    """Every list of two numbers is a range, and finite."""
    for entry in fields(node):
        value, name = getattr(node, entry.name), f"{where}.{entry.name}"
        if is_dataclass(value):
            _check_ranges(value, name)
        elif isinstance(value, list) and entry.name not in _NOT_RANGES:
            finite = len(value) == 2 and all(math.isfinite(end) for end in value)
            _require(finite and value[0] <= value[1], name, value, "[low, high], low <= high")
        elif isinstance(value, float):
            _require(math.isfinite(value), name, value, "a finite number")


def _require(good: bool, where: str, value: object, expected: str) -> None:
    if not good:
        raise InputError(f"{value} cannot be used", where=where, expected=expected)
