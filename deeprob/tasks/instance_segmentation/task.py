"""Instance segmentation: a mask, a class and a score for every object in a frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from deeprob.data.frame import Frame, Instance
from deeprob.data.predictions.files import Box
from deeprob.data.readers.coco import decode_mask, encode_mask
from deeprob.errors import InputError
from deeprob.models.detection.test_time import Looks, detect
from deeprob.page import drawn
from deeprob.page.overlays import Image
from deeprob.tasks.base import PseudoLabelled, Task, method_of
from deeprob.tasks.deployed import Deployed
from deeprob.tasks.detection.meter import BoxMeter, truths_of
from deeprob.tasks.detection.task import Detection, boxes_of, frame_of
from deeprob.tasks.instance_segmentation.masks import move, paste
from deeprob.tasks.instance_segmentation.view import masks_of

EXPECTED = "a detector that gives masks, such as model=mask_rcnn"


class InstanceSegmentation(Detection):
    """Masks of objects, with their boxes.

    The model is a detector that gives masks too: `masks(outputs, found)` -> for each image the probabilities
    (n, S, S) that cells of the boxes found are the object's. Masks are compared, not boxes.
    """

    name = "instance_segmentation"
    title = "Instance segmentation"

    def deployed(self, model: nn.Module) -> Deployed:
        raise InputError(
            "masks are made of the boxes that the last suppression keeps, which is outside of a graph",
            fix="format=safetensors keeps the weights",
        )

    def predict(self, model: nn.Module, batch: Any) -> list[list[Box]]:
        """The boxes in each frame with their masks, in the frame's own pixels, the best score first."""
        masks_in = method_of(model, "masks", EXPECTED)
        outputs = model(batch.images)
        looks_once = getattr(model, "looks", Looks()) == Looks()
        found = method_of(model, "detect", EXPECTED)(outputs) if looks_once else detect(model, batch.images)
        cells = [of_image.float().cpu().numpy() for of_image in masks_in(outputs, found)]
        places = batch.matrices.double().cpu(), batch.sizes.tolist()
        return [
            [
                replace(box, segmentation=encode_mask(paste(of_box, box.box_xyxy, *size)))
                for box, of_box in zip(boxes_of(of_image, matrix), of_boxes, strict=True)
            ]
            for of_image, of_boxes, matrix, size in zip(found, cells, *places, strict=True)
        ]

    def pseudo_labelled(
        self,
        model: nn.Module,
        weak: Any,
        strong: Any,
        threshold: float,
        soft: bool = False,
        aligned: Callable[[torch.Tensor], torch.Tensor] = lambda p: p,
    ) -> PseudoLabelled:
        return Task.pseudo_labelled(self, model, weak, strong, threshold, soft, aligned)

    def truths(self, samples: Any, batch: Any) -> list[Frame]:
        return [_with_masks(samples, index) for index in batch.indices.tolist()]

    def meter(self, samples: Any) -> BoxMeter:
        return BoxMeter(self.data.classes, self.data.unit, masks=True)

    @classmethod
    def frame_meter(cls, source: Any, unit: str) -> BoxMeter:
        return BoxMeter(source.classes, unit, masks=True)

    @classmethod
    def truth_of(cls, frame: Frame) -> list[Box]:
        return list(truths_of(frame, masks=True))

    def draw(self, frame: Frame, predicted: Sequence[Box]) -> Image:
        size = (frame.image.shape[0], frame.image.shape[1])
        masks = [(decode_mask(box.segmentation, size, box.where), box.class_id) for box in predicted]
        tinted = frame.image if not masks else drawn.masks(frame.image, masks)
        return super().draw(replace(frame, image=tinted), predicted)


def _with_masks(samples: Any, index: int) -> Frame:
    """The frame that a sample was made of, as far as its boxes and masks go."""
    frame = frame_of(samples, index)
    back = torch.linalg.inv(samples.matrices[index]).numpy().round(9)
    size = int(samples.images.shape[1]), int(samples.images.shape[2])

    def masked(marked: tuple[Instance, ...], runs: Any, lengths: Any) -> tuple[Instance, ...]:
        found: list[NDArray[np.bool_]] = masks_of(runs[index], lengths[index], range(len(marked)), size)
        moved = [move(mask, back, *frame.image.shape[:2]) for mask in found]
        return tuple(replace(of, mask=mask) for of, mask in zip(marked, moved, strict=True))

    return replace(
        frame,
        instances=masked(frame.instances, samples.mask_runs, samples.mask_lengths),
        crowds=masked(frame.crowds, samples.crowd_runs, samples.crowd_lengths),
    )
