import dataclasses
import json

import numpy as np
import pytest

from deeprob.errors import InputError
from deeprob.geometry.camera import look_at, project_points
from deeprob.geometry.transform import invert_transform, transform_points
from deeprob.sim.look import draw_camera, draw_look
from deeprob.sim.physics import Scene
from deeprob.sim.settings import CameraSettings, LookSettings, SimSettings, check_settings


def scene(centre=(0.0, 0.0, 0.05)):
    return Scene("train/000000", np.zeros(1, np.int64), np.ones(1), np.eye(4)[None], np.array([centre]), 1, 1)


def camera(settings, turn=0.0, radius=0.05, seed=0):
    return draw_camera(settings, scene(), np.array([radius]), np.random.default_rng(seed), turn)


def test_the_camera_stands_on_the_shell_and_sees_the_scene():
    settings = CameraSettings(distance=[0.5, 0.6], elevation=[30, 40], look_at_jitter=0.0)
    for seed in range(20):
        K, T_world_cam = camera(settings, seed=seed)
        offset = T_world_cam[:3, 3] - [0, 0, 0.05]
        distance = np.linalg.norm(offset)
        assert 0.5 <= distance <= 0.6
        assert 30 <= np.degrees(np.arcsin(offset[2] / distance)) <= 40
        seen = project_points(K, transform_points(invert_transform(T_world_cam), [[0, 0, 0.05]]))
        np.testing.assert_allclose(seen, [[95.5, 95.5]], atol=1e-6)


def test_an_orbit_goes_around_evenly():
    settings = CameraSettings(path="orbit", look_at_jitter=0.0)
    angles = [np.arctan2(*camera(settings, turn=k / 4)[1][[1, 0], 3]) for k in range(4)]
    np.testing.assert_allclose(np.diff(np.unwrap(angles)), np.pi / 2, atol=1e-9)


def test_given_poses_are_taken_in_order(tmp_path):
    poses = [look_at([0.5, 0.1 * k, 0.4], [0, 0, 0]) for k in range(3)]
    path = tmp_path / "poses.json"
    path.write_text(json.dumps([pose.tolist() for pose in poses]))
    settings = CameraSettings(path=str(path))
    for k, pose in enumerate(poses):
        np.testing.assert_allclose(camera(settings, turn=k / 3)[1], pose)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "cannot be read"),
        ("[]", "no list of 4x4"),
        ("[[1, 2], [3, 4]]", "no list of 4x4"),
        (json.dumps([(2 * np.eye(4)).tolist()]), "no rotation and translation"),
    ],
)
def test_bad_camera_poses_name_their_file(tmp_path, text, message):
    path = tmp_path / "poses.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        camera(CameraSettings(path=str(path)))
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    "settings", [CameraSettings(distance=[0.1, 0.1]), CameraSettings(elevation=[-40, -30])]
)
def test_a_camera_inside_an_object_or_under_the_table_is_refused(settings):
    with pytest.raises(InputError, match="the camera is inside an object or below the table"):
        camera(settings, radius=0.2)


def test_the_same_numbers_give_the_same_look():
    a, b = (draw_look(LookSettings(), 3, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(a.tint, b.tint)
    assert a.seed == b.seed


def test_switching_one_knob_off_leaves_the_others_as_they_were():
    a, b = (draw_look(LookSettings(shadows=on), 3, np.random.default_rng(5)) for on in (True, False))
    assert (a.seed, a.table, a.noise) == (b.seed, b.table, b.noise)
    assert b.shadow_strength == 0 < a.shadow_strength


RANGES = [
    *("ambient", "diffuse", "specular", "light_elevation", "light_azimuth", "shadow_strength"),
    *("texture_size", "background_brightness", "blur", "noise", "exposure", "contrast", "saturation", "hue"),
    *("depth_noise", "depth_disparity", "depth_holes"),
]


def test_every_setting_of_the_look_is_a_range_a_share_a_switch_or_a_folder():
    kinds = {
        field.name: type(getattr(LookSettings(), field.name)) for field in dataclasses.fields(LookSettings)
    }
    assert {name for name, kind in kinds.items() if kind is list} == set(RANGES)
    assert set(kinds.values()) == {list, float, bool, str}


@pytest.mark.parametrize("name", RANGES)
def test_a_range_of_the_look_that_makes_no_sense_is_one_line(name):
    with pytest.raises(InputError, match=f"sim.look.{name}"):
        check_settings(SimSettings(look=dataclasses.replace(LookSettings(), **{name: [2, 1]})))


@pytest.mark.parametrize("name", ["retexture", "recolour", "tint", "light_tint"])
def test_a_share_above_one_is_one_line(name):
    with pytest.raises(InputError, match=f"sim.look.{name}"):
        check_settings(SimSettings(look=dataclasses.replace(LookSettings(), **{name: 1.5})))


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        *(("blur", "blur"), ("noise", "noise"), ("saturation", "saturation"), ("hue", "hue")),
        *(("depth_noise", "depth_noise"), ("depth_disparity", "depth_disparity"), ("specular", "specular")),
    ],
)
def test_a_knob_is_drawn_from_its_range(name, drawn):
    settings = dataclasses.replace(LookSettings(), **{name: [0.25, 0.75]})
    values = [getattr(draw_look(settings, 1, np.random.default_rng(k)), drawn) for k in range(50)]
    assert 0.25 <= min(values) < 0.35
    assert 0.65 < max(values) <= 0.75


def test_intrinsics_jitter_about_k():
    settings = CameraSettings(K=[300, 310, 100, 90], K_jitter=0.1)
    drawn = np.stack([camera(settings, seed=seed)[0] for seed in range(200)])
    zoom = drawn[:, 0, 0] / 300
    np.testing.assert_allclose(drawn[:, 1, 1] / 310, zoom)
    assert 0.9 <= zoom.min() < 0.92
    assert 1.08 < zoom.max() <= 1.1
    for k, centre in ((0, 100), (1, 90)):
        assert np.abs(drawn[:, k, 2] - centre).max() <= 0.1 * settings.width
        assert np.abs(drawn[:, k, 2] - centre).max() > 0.08 * settings.width
    np.testing.assert_array_equal(drawn[:, 2], np.tile([0, 0, 1], (200, 1)))
