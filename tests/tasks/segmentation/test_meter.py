"""Label maps beside frames: which of them are shown as the worst."""

import numpy as np

from deeprob.data.frame import Frame, Instance
from deeprob.tasks.frames import evaluate_frames
from deeprob.tasks.segmentation.meter import label_map_of
from deeprob.tasks.segmentation.task import Segmentation


class Set:
    classes, name, real = ("cup",), "set", True


def test_the_worst_are_found_again_where_only_some_frames_are_evaluated():
    mask = np.zeros((20, 30), bool)
    mask[5:15, 5:15] = True
    cup = Instance(0, np.array([4.5, 4.5, 14.5, 14.5]), mask)
    frames = [Frame(np.zeros((20, 30, 3), np.uint8), (cup,), "set", f"f{i}", f"f{i}") for i in range(6)]

    def answer(index, frame):
        return label_map_of(frame) * (index != 5)

    evaluation = evaluate_frames(
        Segmentation, Set, frames, "frame", answer, {}, samples=10, seed=0, keys={"f4", "f5"}
    )
    assert [(shown["key"], shown["said"]) for shown in evaluation.worst] == [("f5", "16.7 % wrong")]
