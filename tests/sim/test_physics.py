import dataclasses
import sys

import numpy as np
import pytest

from deeprob.errors import InputError
from deeprob.geometry.transform import transform_points
from deeprob.sim.objects import load_objects
from deeprob.sim.physics import Simulator
from deeprob.sim.settings import ObjectSettings, SceneSettings


@pytest.fixture(scope="module")
def simulator():
    objects = load_objects(ObjectSettings())
    simulator = Simulator(objects, SceneSettings(objects=[5, 5]))
    yield simulator
    simulator.close()


def world_points(simulator, scene, i):
    mesh = simulator.objects[scene.models[i]].mesh
    return transform_points(scene.T_world_obj[i], scene.scale[i] * mesh.vertices)


def test_every_object_rests_on_the_table_or_on_another(simulator):
    for index in range(4):
        scene = simulator.settle(0, "train", index)
        lowest = [world_points(simulator, scene, i)[:, 2].min() for i in range(len(scene.models))]
        assert min(lowest) > -0.004
        assert min(lowest) < 0.004


def test_objects_put_down_standing_mostly_stand_and_those_that_fall_do_not(simulator):
    standing = Simulator(simulator.objects, SceneSettings(objects=[3, 3], upright=1.0))
    scenes = [standing.settle(0, "train", index) for index in range(4)]
    standing.close()
    up = np.concatenate([scene.T_world_obj[:, 2, 2] for scene in scenes])
    assert (up > 0.99).mean() > 0.7
    fallen = np.concatenate([simulator.settle(0, "train", i).T_world_obj[:, 2, 2] for i in range(4)])
    assert (fallen > 0.99).mean() < 0.4


def test_poses_are_rigid(simulator):
    R = simulator.settle(0, "train", 0).T_world_obj[:, :3, :3]
    np.testing.assert_allclose(R @ R.transpose(0, 2, 1), np.broadcast_to(np.eye(3), R.shape), atol=1e-9)


def test_a_scene_does_not_depend_on_what_was_settled_before(simulator):
    first = simulator.settle(0, "train", 7)
    simulator.settle(0, "train", 3)
    again = simulator.settle(0, "train", 7)
    np.testing.assert_array_equal(first.T_world_obj, again.T_world_obj)
    fresh = Simulator(simulator.objects, simulator.settings)
    np.testing.assert_array_equal(first.T_world_obj, fresh.settle(0, "train", 7).T_world_obj)
    fresh.close()


@pytest.mark.parametrize("other", [(1, "train", 7), (0, "test", 7), (0, "train", 8)])
def test_seed_split_and_index_all_matter(simulator, other):
    first, second = simulator.settle(0, "train", 7), simulator.settle(*other)
    assert not np.array_equal(first.T_world_obj, second.T_world_obj)


def test_objects_with_a_displaced_origin_rest_in_the_same_place(simulator):
    mug = next(model for model in simulator.objects if model.name == "mug")
    shift = np.array([0.5, -0.3, 0.2])
    moved = dataclasses.replace(
        mug, mesh=mug.mesh.transformed(np.block([[np.eye(3), shift[:, None]], [0, 0, 0, 1]]))
    )
    settings = SceneSettings(objects=[1, 1])
    scenes = [Simulator([model], settings).settle(0, "train", 0) for model in (mug, moved)]
    points = [
        transform_points(scene.T_world_obj[0], scene.scale[0] * model.mesh.vertices)
        for scene, model in zip(scenes, (mug, moved), strict=True)
    ]
    np.testing.assert_allclose(points[0], points[1], atol=1e-3)


def test_a_scene_without_room_is_one_line(simulator):
    crowded = Simulator(simulator.objects, SceneSettings(objects=[8, 8], table=[0.05, 0.05], attempts=2))
    with pytest.raises(
        InputError, match="no scene could be placed in 2 attempts: an object fell off the table"
    ):
        crowded.settle(0, "train", 0)
    crowded.close()


def test_memory_does_not_grow_with_the_number_of_scenes(simulator):
    def settle(first, last):
        for index in range(first, last):
            simulator.settle(0, "memory", index)
        return sys.getallocatedblocks()

    before = settle(0, 10)
    assert settle(10, 30) - before < 2000  # a scene's hulls alone are as many numbers


def test_a_larger_object_rests_higher(simulator):
    cube = next(model for model in simulator.objects if model.name == "lego_brick")
    heights = []
    for scale in (0.5, 1.5):
        own = Simulator([cube], SceneSettings(objects=[1, 1], scale=[scale, scale]))
        scene = own.settle(0, "train", 0)
        heights.append(scene.centres[0, 2])
        lowest = (transform_points(scene.T_world_obj[0], scale * cube.mesh.vertices))[:, 2].min()
        assert abs(lowest) < 0.003
        own.close()
    assert heights[1] > 2 * heights[0]
