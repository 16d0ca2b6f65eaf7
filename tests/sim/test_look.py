import json

import numpy as np
import pytest

from deeprob.errors import InputError
from deeprob.geometry.camera import look_at, project_points
from deeprob.geometry.transform import invert_transform, transform_points
from deeprob.sim.look import draw_camera, draw_look
from deeprob.sim.physics import Scene
from deeprob.sim.settings import CameraSettings, LookSettings


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
