"""Detection: a box, a class and a score for every object in a frame."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from deeprob.data.frame import Frame, Instance
from deeprob.data.predictions.files import Box
from deeprob.data.predictions.names import Names, Naming
from deeprob.data.predictions.outputs import BoxOutput, Output
from deeprob.errors import InputError
from deeprob.metrics.scores import Scores
from deeprob.models.detection.boxes import iou
from deeprob.models.detection.decode import Decoding
from deeprob.models.detection.test_time import Looks, detect
from deeprob.page import drawn
from deeprob.page.overlays import Image
from deeprob.tasks.base import Block, Loss, PseudoLabelled, method_of
from deeprob.tasks.deployed import Candidates, Deployed
from deeprob.tasks.detection.meter import BoxMeter, RankedScores, truths_of
from deeprob.tasks.frames import Drawing, FramePredictor, FrameTask
from deeprob.tasks.pseudo_labels import check_places
from deeprob.writing import write_text

OPERATING_TERMS = ("box_precision", "box_recall", "box_f1", "false_positives_per_image")

EXPECTED = "a detector, such as model=fcos"


class Detection(FrameTask):
    """Boxes of objects.

    The model is a detector (deeprob.models.detection): `forward(images)` -> outputs, `losses(outputs,
    targets)` -> named terms, `detect(outputs)` -> boxes, scores and labels of each image, the best first.
    """

    name = "detection"
    title = "Detection"
    headline = "mean_ap"
    overfit_at = ("ap50", 0.95)
    finds_boxes = True
    drawn_from = 0.3  # a detector lists a hundred boxes of a frame, most of them unlikely
    headlines = ("mean_ap", "ap50", "average_recall")
    per_class = ("class_ap", "class_ap50")
    legend = (
        "At the score of the best F1. Green: ground truth, named where it is missed. Blue: right "
        "detections, red: wrong ones, with class and score."
    )
    own_drawings = ("operating", "recall_over_false", "reliability")

    def loss(self, model: nn.Module, batch: Any) -> Loss:
        """The sum of the detector's named terms."""
        terms = method_of(model, "losses", EXPECTED)(model(batch.images), batch)
        return Loss(sum(terms.values()), {name: term.detach() for name, term in terms.items()})

    def predict(self, model: nn.Module, batch: Any) -> list[list[Box]]:
        """The boxes in each frame, in the frame's own pixels, the best score first."""
        method_of(model, "detect", EXPECTED)
        found = detect(model, batch.images)
        return [
            boxes_of(of_image, matrix)
            for of_image, matrix in zip(found, batch.matrices.double().cpu(), strict=True)
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
        """Images with a box of a score of `threshold` at least; right: those boxes that overlap by half."""
        check_places(weak, strong, soft)
        method_of(model, "detect", EXPECTED)
        return label_by_boxes(detect(model, weak.images), strong, threshold)

    def truths(self, samples: Any, batch: Any) -> list[Frame]:
        return [frame_of(samples, index) for index in batch.indices.tolist()]

    def meter(self, samples: Any) -> BoxMeter:
        return BoxMeter(self.data.classes, self.data.unit)

    @classmethod
    def frame_meter(cls, source: Any, unit: str) -> BoxMeter:
        return BoxMeter(source.classes, unit, convention=source.box_convention)

    @classmethod
    def truth_of(cls, frame: Frame) -> list[Box]:
        return list(truths_of(frame, masks=False))

    def write(self, found: Mapping[str, Sequence[Box]], split: str, file: Path) -> FramePredictor:
        names = Names(self.data.source, split if split in self.data.source.splits else "train")
        output = BoxOutput(names)
        entries = [output.entry(key, box) for key, boxes in found.items() for box in boxes]
        write_text(file, json.dumps(entries))
        return lambda _, frame: found.get(frame.key, [])

    def deployed(self, model: nn.Module) -> Deployed:
        method_of(model, "fixed_candidates", EXPECTED)
        detector: Any = model
        settings: Decoding = detector.decoding
        if settings.soft_nms or getattr(detector, "looks", Looks()) != Looks():
            raise InputError(
                "an exported detector looks once, and drops overlaps",
                where="model.soft_nms, model.test_scales, model.test_flip",
                fix="evaluate a copy of the run without them, and export that",
            )
        outputs = {
            "boxes": "float32 (N, K, 4), left, top, right, bottom, pixels of the input image, best first; "
            "a whole number is a pixel's centre",
            "scores": "float32 (N, K), 0 to 1",
            "labels": "int64 (N, K), index into classes",
        }
        decode: dict[str, Any] = {
            "nms": "not in the graph: drop scores below, then overlaps by class, then keep the best"
        }
        decode |= {
            "min_score": settings.score_threshold,
            "iou": settings.nms_iou,
            "max_detections": settings.max_detections,
        }
        return Deployed(Candidates(model), outputs, decode, ranked=True)

    def output(self, names: Naming) -> Output:
        return BoxOutput(names)

    def draw(self, frame: Frame, predicted: Sequence[Box]) -> Image:
        return drawn.boxes(
            frame.image,
            [(b.box_xyxy, b.class_id, f"{self.data.classes[b.class_id]} {b.score:.2f}") for b in predicted],
        )

    @classmethod
    def predictions_file(cls, split: str) -> str:
        return f"predictions_{split}.json"

    @classmethod
    def own_blocks(cls, results: Mapping[str, Any], drawings: Mapping[str, Drawing]) -> list[Block]:
        """Kinds of errors, and operating points with the calibration of scores; results of old lack both."""
        blocks = []
        if "error_kinds" in results:
            terms = ("ap50_cost", "at_best_f1", *(f"error_{kind}" for kind in results["error_kinds"]))
            blocks.append(Block("error-kinds", "Kinds of errors", "errors_of_boxes", terms=terms))
        if "operating_points" in results:
            terms = ("best_f1", "recall_90", *OPERATING_TERMS, "detection_calibration_error")
            shown = {"drawings": list(drawings.values())}
            blocks.append(Block("operating", "Operating points", "operating_points", shown, terms))
        return blocks

    @classmethod
    def scores_from(cls, arrays: Mapping[str, Any]) -> Scores:
        return RankedScores.of_arrays(arrays)


def label_by_boxes(found: Sequence[Any], batch: Any, threshold: float) -> PseudoLabelled:
    """Label a batch by detections of each image; images in which nothing is confident are left out."""
    kept = [(of.boxes[of.scores >= threshold], of.labels[of.scores >= threshold]) for of in found]
    seen = [i for i, (boxes, _) in enumerate(kept) if len(boxes)]
    right = [
        bool(((iou(box[None], batch.boxes[i]) >= 0.5) & (batch.labels[i] == label)).any())
        for i in seen
        for box, label in zip(*kept[i], strict=True)
    ]
    chosen = torch.tensor(seen, dtype=torch.int64, device=batch.images.device)
    boxes, labels = [kept[i][0] for i in seen], [kept[i][1] for i in seen]
    labelled = batch._replace(
        images=batch.images[chosen],
        boxes=boxes,
        labels=labels,
        crowds=[of.new_zeros(0, 4) for of in boxes],  # an annotator's, like all labels here
        matrices=batch.matrices[chosen.to(batch.matrices.device)],
        indices=batch.indices[chosen.to(batch.indices.device)],
    )
    share = torch.tensor(len(seen) / max(1, len(found)))
    return PseudoLabelled(labelled, share, share * (sum(right) / max(1, len(right))))


def boxes_of(found: Any, matrix: torch.Tensor) -> list[Box]:
    """Detections of an image as boxes of its frame. matrix: (3, 3), from the frame to the image."""
    back = torch.linalg.inv(matrix)
    corners = found.boxes.double().cpu().view(-1, 2, 2) @ back[:2, :2].T + back[:2, 2]
    boxes = corners.view(-1, 4).numpy()
    return [
        Box(int(c), float(score), box)
        for c, score, box in zip(found.labels.tolist(), found.scores.tolist(), boxes, strict=True)
    ]


def frame_of(samples: Any, index: int) -> Frame:
    """The frame that a sample was made of, as far as its boxes go."""
    height, width = samples.sizes[index].tolist()
    back = torch.linalg.inv(samples.matrices[index])

    def instances(boxes: Any, labels: Any, areas: Any) -> tuple[Instance, ...]:
        corners = boxes[index].double().view(-1, 2, 2) @ back[:2, :2].T + back[:2, 2]
        rows = zip(corners.view(-1, 4).numpy(), labels[index].tolist(), areas[index].tolist(), strict=True)
        return tuple(Instance(label, box, area=area) for box, label, area in rows)

    return Frame(
        np.empty((height, width, 3), np.uint8),
        instances(samples.boxes, samples.labels, samples.areas),
        "",
        samples.keys[index],
        samples.group_names[int(samples.groups[index])],
        crowds=instances(samples.crowds, samples.crowd_labels, samples.crowd_areas),
    )
