from types import SimpleNamespace

import numpy as np
import pytest
import torch

from deeprob.data.batches.datamodule import PerceptionData
from deeprob.data.frame import Frame, Instance
from deeprob.data.readers.reading import Frames
from deeprob.data.source import Source
from deeprob.tasks.detection.task import Detection
from deeprob.tasks.detection.view import DetectionView


class Annotated(Source):
    """A frame of 80 x 60 with three objects: one with an area of its own, one with a mask; and a crowd."""

    name, real, classes, splits = "annotated", True, ("a", "b"), ("train",)

    def frames(self, split: str) -> Frames[int]:
        return Frames([0], self._frame)

    def _frame(self, _: int) -> Frame:
        mask = np.zeros((60, 80), bool)
        mask[20:40, 30:50] = np.arange(20) < 10
        boxes = np.array([[9.5, 9.5, 29.5, 19.5], [29.5, 19.5, 39.5, 39.5], [49.5, 9.5, 69.5, 49.5]])
        objects = (
            Instance(0, boxes[0], area=120.0),
            Instance(1, boxes[1], mask=mask),
            Instance(1, boxes[2]),
        )
        crowd = Instance(0, np.array([-0.5, 39.5, 19.5, 59.5]), area=77.0)
        return Frame(np.zeros((60, 80, 3), np.uint8), objects, "annotated", "0", "0", crowds=(crowd,))


def test_areas_of_the_annotation_reach_the_meter_in_the_pixels_of_the_frame():
    data = PerceptionData(Annotated(), DetectionView(40, 30), progress=False)
    frame = Detection(data).truths(data.split("train"), SimpleNamespace(indices=torch.tensor([0])))[0]
    assert [i.size_in_pixels for i in frame.instances] == pytest.approx([120, 200, 800])
    assert [i.size_in_pixels for i in frame.crowds] == pytest.approx([77])
