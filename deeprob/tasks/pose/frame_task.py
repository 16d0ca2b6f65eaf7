"""6-D pose from whole frames: a network that finds the objects, and says how each lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn

from deeprob.data.frame import Frame, Instance
from deeprob.data.predictions.files import Pose as Estimate
from deeprob.errors import InputError
from deeprob.tasks.base import EvaluationOptions, method_of
from deeprob.tasks.frames import RANDOM, FramePredictor
from deeprob.tasks.pose.boxes import TRUE
from deeprob.tasks.pose.task import Decoded, Pose, predictor_of_keys

EXPECTED = "a pose network of whole frames, such as model=posecnn"


class FramePose(Pose):
    """Poses of objects in a frame that nobody has cut out."""

    counted_cost = "a frame"

    def predict(self, model: nn.Module, batch: Any) -> list[list[Estimate]]:
        """The objects found in each frame, in its own camera, with the poses of the decodes `compared`.

        The model's method `estimates(outputs, batch, decode)` gives for each image its objects, the best
        score first.
        """
        of = method_of(model, "estimates", EXPECTED)
        outputs = self._timed("network", model, batch.images)
        found = [self._timed(d or "", of, outputs, batch, d) for d in (None, *self.compared)]
        back = batch.turns.double().cpu().numpy().transpose(0, 2, 1)
        estimates = []
        for turn, *decodes in zip(back, *found, strict=True):
            objects = []
            for own, *others in zip(*([_turned(turn, one) for one in each] for each in decodes), strict=True):
                also = dict(zip(self.compared, others, strict=True))
                objects.append(Decoded(**vars(own), also=also) if also else own)
            estimates.append(objects)
        return estimates

    def checked(self, samples: Any, options: EvaluationOptions, split: str) -> Any:
        if options.boxes != TRUE:
            raise InputError(f"boxes={options.boxes}", expected="none: this network finds the objects itself")
        return samples

    def baselines(
        self, samples: Any, found: Mapping[str, Any], options: EvaluationOptions
    ) -> dict[str, FramePredictor | None]:
        """The labels of another image, and the other decodes."""
        return {RANDOM: None, **{name: predictor_of_keys(of) for name, of in self.decoded(found).items()}}

    def truths(self, samples: Any, batch: Any) -> list[Frame]:
        return [_frame_of(samples, index) for index in batch.indices.tolist()]

    def collect(self, found: dict[str, Any], key: str, prediction: Sequence[Estimate]) -> None:
        found[key] = list(prediction)


def _turned(turn: Any, one: Any) -> Estimate:
    T = one.T.copy()
    T[:3] = turn @ T[:3]
    return Estimate(one.label, one.score, T)


def _frame_of(samples: Any, index: int) -> Frame:
    """The frame of a sample, without its image."""
    height, width = samples.sizes[index].tolist()
    of = zip(samples.labels[index], samples.T_cam_obj[index], samples.visible[index], strict=True)
    instances = tuple(
        Instance(
            int(label),
            np.zeros(4),
            T_cam_obj=T.numpy(),
            visible_fraction=None if np.isnan(float(visible)) else float(visible),
        )
        for label, T, visible in of
    )
    unit = samples.group_names[int(samples.groups[index])]
    image = np.empty((height, width, 3), np.uint8)
    return Frame(image, instances, "", samples.keys[index], unit, samples.K[index].numpy())
