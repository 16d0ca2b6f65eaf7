"""Mask R-CNN: a two-stage detector that says which pixels of each box are the object's.

    images -> FasterRCNN -> boxes and classes; and for each box a mask of its class (mask_heads.py)

The loss has a fifth term, `masks`. While training, masks are asked for in the proposals drawn that hold an
object; when detecting, in the boxes that were found, so that a mask costs nothing for what is no detection.
Parameter names are torchvision's maskrcnn_resnet50_fpn, so its state dicts load.
Source: He et al., Mask R-CNN (2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from deeprob import layers
from deeprob.errors import InputError
from deeprob.models.backend import check_least, check_positive
from deeprob.models.detection.contract import Detections
from deeprob.models.detection.faster_rcnn import FasterRCNN, TwoStageOutputs
from deeprob.models.detection.mask_heads import BINS, MaskHead, MaskPredictor, cut_masks, mask_loss
from deeprob.models.detection.roi_heads import Drawn


class MaskRCNN(FasterRCNN):
    """Two-stage detector with masks: images float32 (B, in_channels, H, W) -> TwoStageOutputs.

    mask_width: channels of the mask branch. mask_convs: its 3x3 convolutions. mask_norm: batch norms in it.
    The other arguments: see FasterRCNN. Raises InputError where an argument is wrong.
    """

    def __init__(
        self,
        num_classes: int,
        mask_width: int = 64,
        mask_convs: int = 4,
        mask_norm: bool = True,
        width: int = 64,
        backend: str = "deeprob",
        **options: Any,
    ) -> None:
        super().__init__(num_classes, width=width, backend=backend, **options)
        check_positive("model", mask_width=mask_width)
        check_least("model", 0, mask_convs=mask_convs)
        head = MaskHead(width, mask_width, mask_convs, mask_norm, backend)
        self.roi_heads.mask_head = head
        self.roi_heads.mask_predictor = MaskPredictor(head.out, mask_width, num_classes, backend)

    def mask_logits(self, levels: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Logits (K, C + 1, 28, 28) of the masks in rois (K, 5), image and box."""
        features = self.roi_heads.align(levels, rois, BINS)
        logits: Tensor = self.roi_heads.mask_predictor(self.roi_heads.mask_head(features))
        return logits

    def further_losses(self, outputs: TwoStageOutputs, drawn: Drawn, targets: Any) -> dict[str, Tensor]:
        """The term of the masks. Raises InputError for targets without any."""
        if not hasattr(targets, "masks"):
            raise InputError(
                "these samples have no masks", fix="set data/view=instances, or model=faster_rcnn"
            )
        holds = drawn.labels.nonzero().squeeze(1)
        if not len(holds):
            return {"masks": drawn.rois.new_zeros(())}
        rois = drawn.rois[holds]
        pairs = zip(rois[:, 0].long().tolist(), drawn.winner[holds].tolist(), strict=True)
        masks = torch.stack([targets.masks[image][number] for image, number in pairs])
        logits = self.mask_logits(outputs.levels, rois)
        return {"masks": mask_loss(logits, drawn.labels[holds], cut_masks(masks, rois[:, 1:], 2 * BINS))}

    @torch.no_grad()
    def masks(self, outputs: TwoStageOutputs, found: Sequence[Detections]) -> list[Tensor]:
        """For each image the probabilities (n, 28, 28) that cells of the boxes found are the object's."""
        counts = [len(of_image.boxes) for of_image in found]
        boxes = torch.cat([of_image.boxes for of_image in found])
        if not len(boxes):
            return [boxes.new_zeros(0, 2 * BINS, 2 * BINS) for _ in found]
        image = torch.arange(len(found), device=boxes.device).repeat_interleave(
            torch.tensor(counts, device=boxes.device)
        )
        logits = self.mask_logits(outputs.levels, torch.cat([image[:, None].to(boxes), boxes], 1))
        labels = torch.cat([of_image.labels for of_image in found]) + 1
        own = layers.take_rows(logits, torch.arange(len(labels), device=labels.device), labels)
        return list(torch.split(own.sigmoid(), counts))
