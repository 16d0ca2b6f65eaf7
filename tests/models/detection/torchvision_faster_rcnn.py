"""torchvision's fasterrcnn_resnet50_fpn, written once more in torch.nn: the same names, the same numbers.

After torchvision.models.detection (faster_rcnn.py, rpn.py, roi_heads.py, _utils.py) and ops/poolers.py,
without its resizing. Boxes are in its convention: pixel i covers [i, i + 1].
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from .torchvision_fcos import Backbone, anchors_of, clip_to, flat

RATIOS = (0.5, 1.0, 2.0)


def apply_deltas(deltas, boxes, weights):
    size = boxes[:, 2:] - boxes[:, :2]
    middle = boxes[:, :2] + size / 2
    deltas = deltas / torch.tensor(weights, dtype=deltas.dtype)
    middle = middle + deltas[:, :2] * size
    size = size * deltas[:, 2:].clamp(max=math.log(1000 / 16)).exp()
    return torch.cat([middle - size / 2, middle + size / 2], 1)


def align(x, box, scale, bins=7):
    """RoIAlign of one box, bins of 2 x 2 reads, not aligned: (C, bins, bins)."""
    x1, y1, x2, y2 = (box * scale).tolist()
    steps = (torch.arange(2 * bins, dtype=x.dtype) + 0.5) / (2 * bins)
    columns, rows = x1 + steps * max(x2 - x1, 1.0), y1 + steps * max(y2 - y1, 1.0)
    grid_y, grid_x = torch.meshgrid(rows, columns, indexing="ij")
    height, width = x.shape[1:]
    grid = torch.stack([grid_x / max(width - 1, 1), grid_y / max(height - 1, 1)], 2) * 2 - 1
    read = F.grid_sample(x[None], grid[None], align_corners=True, padding_mode="border")
    return F.avg_pool2d(read, 2)[0]


class FasterRCNN(nn.Module):
    def __init__(self, num_classes, blocks=(3, 4, 6, 3), width=64, out=256, features=1024):
        """num_classes: with the background, as torchvision counts."""
        super().__init__()
        self.backbone = Backbone(blocks, width, out, 0, "pool")
        self.rpn = nn.Module()
        self.rpn.head = nn.Module()
        self.rpn.head.conv = nn.Sequential(nn.Sequential(nn.Conv2d(out, out, 3, padding=1), nn.ReLU()))
        self.rpn.head.cls_logits = nn.Conv2d(out, 3, 1)
        self.rpn.head.bbox_pred = nn.Conv2d(out, 12, 1)
        heads = self.roi_heads = nn.Module()
        heads.box_head = nn.Module()
        heads.box_head.fc6, heads.box_head.fc7 = nn.Linear(out * 49, features), nn.Linear(features, features)
        heads.box_predictor = nn.Module()
        heads.box_predictor.cls_score = nn.Linear(features, num_classes)
        heads.box_predictor.bbox_pred = nn.Linear(features, 4 * num_classes)

    def first_stage(self, images):
        levels, head = self.backbone(images), self.rpn.head
        features = [head.conv(x) for x in levels]
        logits = [flat(head.cls_logits(x), 1)[..., 0] for x in features]
        deltas = [flat(head.bbox_pred(x), 4) for x in features]
        anchors = anchors_of(levels, images.shape[-2:], (32, 64, 128, 256, 512), RATIOS)
        return levels, logits, deltas, anchors

    def propose(self, n, image, logits, deltas, anchors, suppress, before, after):
        found = []
        for level, (score, delta, anchor) in enumerate(zip(logits, deltas, anchors, strict=True)):
            top = score[n].topk(min(before, score.shape[1])).indices
            boxes = clip_to(apply_deltas(delta[n, top], anchor[top], (1.0,) * 4), image)
            found.append((boxes, score[n, top], torch.full_like(top, level)))
        boxes, scores, level = (torch.cat(parts) for parts in zip(*found, strict=True))
        seen = (boxes[:, 2:] - boxes[:, :2] >= 1e-3).all(1)
        boxes, scores, level = boxes[seen], scores[seen], level[seen]
        kept = suppress(boxes, scores.tolist(), level.tolist(), 0.7)[:after]
        return boxes[kept]

    def second_stage(self, n, levels, boxes):
        pooled = []
        for box in boxes:
            side = math.sqrt((box[2] - box[0]) * (box[3] - box[1]))
            level = min(max(math.floor(4 + math.log2(side / 224) + 1e-6), 2), 5) - 2
            pooled.append(align(levels[level][n], box, 1 / (4 << level)))
        head, predict = self.roi_heads.box_head, self.roi_heads.box_predictor
        features = head.fc7(head.fc6(torch.stack(pooled).flatten(1)).relu()).relu()
        return predict.cls_score(features), predict.bbox_pred(features)

    @torch.no_grad()
    def detect(self, images, suppress, before=1000, after=1000):
        image, results = images.shape[-2:], []
        levels, *said = self.first_stage(images)
        for n in range(len(images)):
            proposals = self.propose(n, image, *said, suppress, before, after)
            logits, deltas = self.second_stage(n, levels, proposals)
            scores, found = logits.softmax(1), []
            for c in range(1, logits.shape[1]):
                boxes = apply_deltas(deltas[:, 4 * c : 4 * c + 4], proposals, (10.0, 10.0, 5.0, 5.0))
                boxes = clip_to(boxes, image)
                seen = (scores[:, c] > 0.05) & (boxes[:, 2:] - boxes[:, :2] >= 1e-2).all(1)
                found.append((boxes[seen], scores[seen, c], torch.full((int(seen.sum()),), c - 1)))
            boxes, scores, labels = (torch.cat(parts) for parts in zip(*found, strict=True))
            kept = suppress(boxes, scores.tolist(), labels.tolist(), 0.5)[:100]
            results.append((proposals, logits, boxes[kept], scores[kept], labels[kept]))
        return results
