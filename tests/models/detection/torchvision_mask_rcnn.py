"""torchvision's maskrcnn_resnet50_fpn, written once more in torch.nn: the same names, the same numbers.

After torchvision.models.detection (mask_rcnn.py, roi_heads.py).
"""

import math

import torch
from torch import nn

from .torchvision_faster_rcnn import FasterRCNN, align


class MaskRCNN(FasterRCNN):
    def __init__(self, num_classes, *sizes, out=256, masks=256):
        super().__init__(num_classes, *sizes)
        heads = self.roi_heads
        heads.mask_head = nn.Sequential(
            *(nn.Sequential(nn.Conv2d(c, masks, 3, padding=1), nn.ReLU()) for c in (out, *[masks] * 3))
        )
        heads.mask_predictor = nn.Module()
        heads.mask_predictor.conv5_mask = nn.ConvTranspose2d(masks, masks, 2, 2)
        heads.mask_predictor.mask_fcn_logits = nn.Conv2d(masks, num_classes, 1)

    def masks_in(self, n, levels, boxes, labels):
        """Probabilities (K, 28, 28) of the class of each box; labels from 1."""
        pooled = []
        for box in boxes:
            side = math.sqrt((box[2] - box[0]) * (box[3] - box[1]))
            level = min(max(math.floor(4 + math.log2(side / 224) + 1e-6), 2), 5) - 2
            pooled.append(align(levels[level][n], box, 1 / (4 << level), 14))
        predict = self.roi_heads.mask_predictor
        y = predict.conv5_mask(self.roi_heads.mask_head(torch.stack(pooled))).relu()
        return torch.stack([p[c] for p, c in zip(predict.mask_fcn_logits(y).sigmoid(), labels, strict=True)])
