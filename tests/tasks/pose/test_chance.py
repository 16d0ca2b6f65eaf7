"""The baseline that looks at no image."""

import numpy as np
import pytest

from deeprob.data.frame import Frame, Instance
from deeprob.tasks.pose.task import Pose


def frame(key, group, *classes):
    """A frame whose objects lie so many metres away as the key says."""
    T = np.eye(4)
    T[2, 3] = float(key)
    instances = tuple(Instance(c, np.zeros(4), T_cam_obj=T) for c in classes)
    return Frame(np.zeros((4, 4, 3), np.uint8), instances, "set", key, group)


@pytest.mark.parametrize(
    ("frames", "depths"),
    [
        ([frame("1", "a", 0), frame("2", "a", 0), frame("3", "b", 0)], [3.0]),  # not the same scene's
        ([frame("1", "a", 0, 1), frame("2", "a", 0, 1), frame("3", "b", 0)], [3.0]),  # 1 is in no other scene
        ([frame("1", "a", 0), frame("2", "a", 0)], [2.0]),  # there is one scene alone
    ],
)
def test_a_pose_is_of_another_scene_where_there_is_one(frames, depths):
    chance = Pose.chance("group", 0)
    for index, each in enumerate(frames):
        chance.note(index, each)
    assert [e.T_cam_obj[2, 3] for e in chance.predict(0, frames[0], frames)] == depths
