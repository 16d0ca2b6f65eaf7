"""A two-stage detector: where is anything, then what is it, and where exactly.

    images -> body -> pyramid -> region proposals (rpn.py) -> each proposal's class and box (roi_heads.py)

With a cascade, the boxes that one head gives are the proposals of the next, which asks for more overlap; the
class probabilities are the mean over all heads (Cai and Vasconcelos, Cascade R-CNN, 2018).

The loss is the sum of four terms: objectness and boxes of the first stage, classes and boxes of the second.
Both stages learn from some of their boxes only, drawn at random, with a share of objects that is kept up.
Parameter names are torchvision's fasterrcnn_resnet50_fpn, so its state dicts load.
Source: Ren et al., Faster R-CNN: towards real-time object detection with region proposal networks (2015);
on a pyramid: Lin et al., Feature pyramid networks for object detection (2017), section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from deeprob import layers
from deeprob.errors import InputError
from deeprob.models.backend import check_least, check_positive
from deeprob.models.detection.assignment import Truth, truth_of
from deeprob.models.detection.contract import Detections, Targets
from deeprob.models.detection.decode import Decoding, decode
from deeprob.models.detection.fixed import fixed_candidates
from deeprob.models.detection.roi_heads import WEIGHTS, Drawn, RoIHeads, Verdicts
from deeprob.models.detection.rpn import Proposals, RegionProposalNetwork
from deeprob.models.detection.test_time import Looks
from deeprob.models.pyramid import Backbone


class TwoStageOutputs(NamedTuple):
    """What both stages say.

    levels: the maps (B, width, H, W) of each level. proposals: see rpn.py. verdicts: of the proposals, see
    roi_heads.py; None in training, where the second stage reads proposals drawn for the loss. size: int64
    (2,), height and width of the images.
    """

    levels: tuple[Tensor, ...]
    proposals: Proposals
    verdicts: Verdicts | None
    size: Tensor


class FasterRCNN(nn.Module):
    """Two-stage detector: images float32 (B, in_channels, H, W) -> TwoStageOutputs.

    backbone, widths, blocks, stem, strides, width, neck_norm, fused, backend: see FCOS. Levels above the
    body's are read by the first stage alone.
    anchor_scale: side of a level's anchors, in strides; anchor_sides: instead, each level's in pixels.
    ratios: of the anchors, height over width.
    rpn_low, rpn_high, rpn_samples, rpn_before, rpn_after, rpn_nms: see RegionProposalNetwork.
    roi_cells, roi_features, roi_convs, roi_samples, roi_share, roi_iou: see RoIHeads.
    cascade: `roi_iou` of each further head, such as [0.6, 0.7]; none: one head.
    corners: cells, anchors and features lie as torchvision's weights expect.
    score_threshold, candidates, nms_iou, max_detections, soft_nms: of `detect`, see Decoding.
    test_scales, test_flip: see test_time.py.
    Raises InputError where an argument is wrong.
    """

    head_names = ("rpn", "roi_heads")

    def __init__(
        self,
        num_classes: int,
        backbone: str = "compact",
        widths: Sequence[int] | None = None,
        blocks: Sequence[int] | None = None,
        stem: str | None = None,
        strides: Sequence[int] = (4, 8, 16),
        width: int = 64,
        neck_norm: bool = True,
        anchor_scale: float = 4.0,
        anchor_sides: Sequence[float] | None = None,
        ratios: Sequence[float] = (0.5, 1.0, 2.0),
        rpn_low: float = 0.3,
        rpn_high: float = 0.6,
        rpn_samples: int = 64,
        rpn_before: int = 100,
        rpn_after: int = 100,
        rpn_nms: float = 0.7,
        roi_cells: float = 14.0,
        roi_features: int = 0,
        roi_convs: int = 2,
        roi_samples: int = 64,
        roi_share: float = 0.25,
        roi_iou: float = 0.5,
        cascade: Sequence[float] = (),
        corners: bool = False,
        score_threshold: float = 0.05,
        candidates: int = 1000,
        nms_iou: float = 0.5,
        max_detections: int = 100,
        soft_nms: float = 0.0,
        test_scales: Sequence[float] = (1.0,),
        test_flip: bool = False,
        fused: bool = False,
        in_channels: int = 3,
        backend: str = "deeprob",
    ) -> None:
        super().__init__()
        check_positive("model", num_classes=num_classes, width=width, in_channels=in_channels)
        check_positive("model", candidates=candidates, max_detections=max_detections, roi_samples=roi_samples)
        check_positive("model", rpn_samples=rpn_samples, rpn_before=rpn_before, rpn_after=rpn_after)
        check_least("model", 0, roi_features=roi_features, roi_convs=roi_convs)
        if not all(0 < iou < 1 for iou in cascade):
            raise InputError(f"cascade={list(cascade)}", where="model", expected="overlaps between 0 and 1")
        sides = [anchor_scale * s for s in strides] if anchor_sides is None else list(anchor_sides)
        if len(sides) != len(strides):
            raise InputError(f"anchor_sides={sides}", where="model", expected=f"{len(strides)}, one a level")
        body: dict[str, Any] = {
            "widths": widths,
            "blocks": blocks,
            "stem": stem,
            "fused": fused,
            "in_channels": in_channels,
        }
        self.backbone = Backbone(
            backbone, strides, width, norm=neck_norm, extra="pool", backend=backend, **body
        )
        first = (rpn_low, rpn_high, rpn_samples, rpn_before, rpn_after, rpn_nms)
        self.rpn = RegionProposalNetwork(width, strides, sides, ratios, *first, corners, backend)
        self.read = strides[: self.backbone.maps]
        second = (roi_cells, roi_features, roi_convs, roi_samples, roi_share)
        heads = [
            RoIHeads(num_classes, width, self.read, *second, iou, corners, backend)
            for iou in (roi_iou, *cascade)
        ]
        self.roi_heads, self.cascade = heads[0], nn.ModuleList(heads[1:])
        self.decoding = Decoding(score_threshold, candidates, nms_iou, max_detections, soft_nms).checked()
        self.looks = Looks(tuple(test_scales), test_flip).checked()

    def forward(self, images: Tensor) -> TwoStageOutputs:
        height, width = images.shape[2:]
        levels = self.backbone(images)
        proposals = self.rpn(levels, (height, width))
        read = levels[: len(self.read)]
        verdicts = None
        if not self.training:
            proposals, verdicts = self._judged(read, proposals)
        return TwoStageOutputs(tuple(read), proposals, verdicts, torch.tensor([height, width]))

    def _judged(self, levels: Sequence[Tensor], proposals: Proposals) -> tuple[Proposals, Verdicts]:
        """What the last head says, and of which boxes; the logits are those of all heads' mean."""
        verdicts: Verdicts = self.roi_heads(levels, proposals.rois)
        probabilities = [verdicts.logits.softmax(1)]
        for head in self.cascade:
            proposals = proposals._replace(rois=refined(proposals.rois, verdicts))
            verdicts = head(levels, proposals.rois)
            probabilities.append(verdicts.logits.softmax(1))
        if len(probabilities) > 1:
            mean = torch.stack(probabilities).mean(0)
            verdicts = verdicts._replace(logits=mean.clamp_min(1e-12).log())
        return proposals, verdicts

    def losses(self, outputs: TwoStageOutputs, targets: Targets) -> dict[str, Tensor]:
        """Return the terms: rpn_objectness, rpn_boxes, classes, boxes; of a cascade classes_2, boxes_2 ..."""
        truth = truth_of(targets)
        terms = self.rpn.losses(outputs.proposals, truth, targets.crowds)
        rois = outputs.proposals.rois
        drawn, verdicts, own = self._learned(self.roi_heads, outputs.levels, rois, truth, targets.crowds)
        terms |= own | self.further_losses(outputs, drawn, targets)
        for number, head in enumerate(self.cascade, 2):
            rois = refined(drawn.rois, verdicts)
            drawn, verdicts, own = self._learned(head, outputs.levels, rois, truth, targets.crowds)
            terms |= {f"{name}_{number}": term for name, term in own.items()}
        return terms

    @staticmethod
    def _learned(
        head: Any, levels: Sequence[Tensor], rois: Tensor, truth: Truth, crowds: list[Tensor]
    ) -> tuple[Drawn, Verdicts, dict[str, Tensor]]:
        """What a head learns from, what it says of it, and its losses."""
        with torch.no_grad():
            drawn = head.draw(rois, truth, crowds)
        verdicts = head(levels, drawn.rois)
        return drawn, verdicts, head.losses(verdicts, drawn.rois, drawn.labels, drawn.wanted)

    def further_losses(self, outputs: TwoStageOutputs, drawn: Drawn, targets: Targets) -> dict[str, Tensor]:
        """Terms of what a detector says beside classes and boxes: here nothing."""
        return {}

    def fixed_candidates(self, images: Tensor) -> Detections:
        """What `detect` starts from, of a fixed number, for an exported graph: see fixed.py.

        Raises InputError for a cascade.
        """
        if len(self.cascade):
            raise InputError("a cascade of heads cannot be exported yet", where="model.cascade")
        return fixed_candidates(self, images)

    @torch.no_grad()
    def detect(self, outputs: TwoStageOutputs) -> list[Detections]:
        """Decode the proposals' classes and boxes: see decode.py."""
        proposals, verdicts = outputs.proposals, outputs.verdicts
        if verdicts is None:
            proposals, verdicts = self._judged(outputs.levels, proposals)
        rois = proposals.rois
        scores = verdicts.logits.softmax(1)[:, 1:]
        boxes = layers.deltas_to_boxes(rois[:, None, 1:].to(scores), verdicts.deltas[:, 1:], WEIGHTS)
        height, width = outputs.size.tolist()
        return [
            decode(scores[own], boxes[own], (height, width), self.decoding)
            for own in (rois[:, 0] == i for i in range(len(outputs.levels[0])))
        ]


def refined(rois: Tensor, verdicts: Verdicts) -> Tensor:
    """The boxes that are said to be around rois (K, 5), each by the deltas of its likeliest class: (K, 5)."""
    with torch.no_grad():
        likeliest = verdicts.logits[:, 1:].argmax(1) + 1
        deltas = verdicts.deltas[torch.arange(len(rois), device=rois.device), likeliest]
        boxes = layers.deltas_to_boxes(rois[:, 1:].to(deltas), deltas, WEIGHTS)
        return torch.cat([rois[:, :1].to(boxes), boxes], 1)
