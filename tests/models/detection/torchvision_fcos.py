"""torchvision's fcos_resnet50_fpn, written once more in torch.nn: the same parameter names, the same numbers.

After torchvision.models.detection (fcos.py, anchor_utils.py, backbone_utils.py, _utils.py), without its
resizing. Boxes are in its convention: pixel i covers [i, i + 1].
"""

import torch
from torch import nn
from torch.nn import functional as F


class Bottleneck(nn.Module):
    def __init__(self, channels, width, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.downsample = None
        if stride > 1 or channels != 4 * width:
            projection = nn.Conv2d(channels, 4 * width, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(4 * width))

    def forward(self, x):
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn3(self.conv3(self.bn2(self.conv2(y)).relu()))
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


class Body(nn.Module):
    def __init__(self, blocks, width):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
        channels = width
        for stage, count in enumerate(blocks):
            layer = []
            for i in range(count):
                layer.append(Bottleneck(channels, width << stage, 2 if stage and not i else 1))
                channels = 4 * width << stage
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layer))

    def forward(self, x):
        x = F.max_pool2d(self.bn1(self.conv1(x)).relu(), 3, 2, 1)
        maps = []
        for stage in range(4):
            x = getattr(self, f"layer{stage + 1}")(x)
            maps.append(x)
        return maps


class Pyramid(nn.Module):
    def __init__(self, channels, width, extra):
        super().__init__()
        self.inner_blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(c, width, 1)) for c in channels)
        self.layer_blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, padding=1)) for _ in channels
        )
        self.extra = extra
        if extra == "p6p7":
            self.extra_blocks = nn.Module()
            self.extra_blocks.p6 = nn.Conv2d(width, width, 3, 2, 1)
            self.extra_blocks.p7 = nn.Conv2d(width, width, 3, 2, 1)

    def forward(self, maps):
        last = self.inner_blocks[-1](maps[-1])
        levels = [self.layer_blocks[-1](last)]
        for i in reversed(range(len(maps) - 1)):
            here = self.inner_blocks[i](maps[i])
            last = here + F.interpolate(last, size=here.shape[-2:], mode="nearest")
            levels.insert(0, self.layer_blocks[i](last))
        if self.extra == "p6p7":
            p6 = self.extra_blocks.p6(levels[-1])
            return [*levels, p6, self.extra_blocks.p7(F.relu(p6))]
        return [*levels, F.max_pool2d(levels[-1], 1, 2, 0)]


class Backbone(nn.Module):
    def __init__(self, blocks, width, out, first, extra):
        super().__init__()
        self.body, self.first = Body(blocks, width), first
        self.fpn = Pyramid([4 * width << stage for stage in range(first, 4)], out, extra)

    def forward(self, x):
        return self.fpn(self.body(x)[self.first :])


def anchors_of(levels, image, sizes, ratios):
    """Anchors of each level (cells x len(ratios), 4), their middles stepping by image / map, rounded down."""
    result = []
    for level, size in zip(levels, sizes, strict=True):
        rows, columns = level.shape[-2:]
        ratio = torch.tensor(ratios).sqrt()
        widths, heights = size / ratio, size * ratio
        base = (torch.stack([-widths, -heights, widths, heights], 1) / 2).round()
        x = torch.arange(columns) * (image[1] // columns)
        y = torch.arange(rows) * (image[0] // rows)
        grid_y, grid_x = (g.reshape(-1) for g in torch.meshgrid(y, x, indexing="ij"))
        shifts = torch.stack([grid_x, grid_y, grid_x, grid_y], 1)
        result.append((shifts[:, None] + base).reshape(-1, 4).to(level))
    return result


def clip_to(boxes, image):
    x, y = boxes[..., 0::2].clamp(0, image[1]), boxes[..., 1::2].clamp(0, image[0])
    return torch.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], -1)


def head_tower(width):
    layers = []
    for _ in range(4):
        layers += [nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(32, width), nn.ReLU()]
    return nn.Sequential(*layers)


def flat(x, k):
    """(B, A k, H, W) -> (B, H W A, k)."""
    n, _, h, w = x.shape
    return x.view(n, -1, k, h, w).permute(0, 3, 4, 1, 2).reshape(n, -1, k)


class FCOS(nn.Module):
    def __init__(self, num_classes, blocks=(3, 4, 6, 3), width=64, out=256):
        super().__init__()
        self.backbone = Backbone(blocks, width, out, 1, "p6p7")
        self.head = nn.Module()
        classes, boxes = nn.Module(), nn.Module()
        self.head.classification_head, self.head.regression_head = classes, boxes
        classes.conv, boxes.conv = head_tower(out), head_tower(out)
        classes.cls_logits = nn.Conv2d(out, num_classes, 3, padding=1)
        boxes.bbox_reg = nn.Conv2d(out, 4, 3, padding=1)
        boxes.bbox_ctrness = nn.Conv2d(out, 1, 3, padding=1)
        self.num_classes = num_classes

    def forward(self, images):
        """Logits, distances and centre-ness of each level (B, cells, k)."""
        levels = self.backbone(images)
        classes, boxes = self.head.classification_head, self.head.regression_head
        logits = [flat(classes.cls_logits(classes.conv(x)), self.num_classes) for x in levels]
        distances = [flat(boxes.bbox_reg(boxes.conv(x)).relu(), 4) for x in levels]
        quality = [flat(boxes.bbox_ctrness(boxes.conv(x)), 1) for x in levels]
        anchors = anchors_of(levels, images.shape[-2:], (8, 16, 32, 64, 128), (1.0,))
        return logits, distances, quality, anchors

    @torch.no_grad()
    def detect(self, images, suppress, score_thresh=0.2, topk=1000, nms=0.6, most=100):
        image, results = images.shape[-2:], []
        outputs = self(images)
        for n in range(len(images)):
            found = []
            for logits, distances, quality, anchors in zip(*outputs, strict=True):
                scores = (logits[n].sigmoid() * quality[n].sigmoid()).sqrt().flatten()
                index = (scores > score_thresh).nonzero()[:, 0]
                scores, order = scores[index].topk(min(topk, len(index)))
                index = index[order]
                at = torch.div(index, self.num_classes, rounding_mode="floor")
                a, d = anchors[at], distances[n][at]
                middle, size = (a[:, :2] + a[:, 2:]) / 2, (a[:, 2:] - a[:, :2]).repeat(1, 2)
                d = d * size
                boxes = torch.cat([middle - d[:, :2], middle + d[:, 2:]], 1)
                found.append((clip_to(boxes, image), scores, index % self.num_classes))
            boxes, scores, labels = (torch.cat(parts) for parts in zip(*found, strict=True))
            kept = suppress(boxes, scores.tolist(), labels.tolist(), nms)[:most]
            results.append((boxes[kept], scores[kept], labels[kept]))
        return results
