"""torchvision's deeplabv3_resnet50 and fcn_resnet50, written once more in torch.nn: the same names, the
same numbers.

After torchvision.models.segmentation (deeplabv3.py, fcn.py, _utils.py) and models/resnet.py.
"""

from torch import cat, nn
from torch.nn import functional as F


class Bottleneck(nn.Module):
    def __init__(self, given, width, stride, dilation):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(given, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.downsample = None
        if stride != 1 or given != 4 * width:
            project = nn.Conv2d(given, 4 * width, 1, stride, bias=False)
            self.downsample = nn.Sequential(project, nn.BatchNorm2d(4 * width))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + (x if self.downsample is None else self.downsample(x)))


class Backbone(nn.Module):
    def __init__(self, blocks, width, dilate):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
        given, dilation = width, 1
        for stage, count in enumerate(blocks):
            stride, before = 1 if stage == 0 else 2, dilation
            if dilate[stage]:
                dilation, stride = dilation * stride, 1
            members = []
            for i in range(count):
                members.append(
                    Bottleneck(given, width << stage, stride if i == 0 else 1, before if i == 0 else dilation)
                )
                given = 4 * width << stage
            setattr(self, f"layer{stage + 1}", nn.Sequential(*members))

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.layer4(x), x


class Pooling(nn.Sequential):
    def __init__(self, given, width):
        conv = nn.Conv2d(given, width, 1, bias=False)
        super().__init__(nn.AdaptiveAvgPool2d(1), conv, nn.BatchNorm2d(width), nn.ReLU())

    def forward(self, x):
        return F.interpolate(super().forward(x), x.shape[2:], mode="bilinear", align_corners=False)


def branch(given, width, kernel, rate=1):
    conv = nn.Conv2d(given, width, kernel, padding=rate * (kernel // 2), dilation=rate, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU())


class ASPP(nn.Module):
    def __init__(self, given, rates, width):
        super().__init__()
        dilated = [branch(given, width, 3, rate) for rate in rates]
        self.convs = nn.ModuleList([branch(given, width, 1), *dilated, Pooling(given, width)])
        joined = nn.Conv2d(len(self.convs) * width, width, 1, bias=False)
        self.project = nn.Sequential(joined, nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.5))

    def forward(self, x):
        return self.project(cat([conv(x) for conv in self.convs], 1))


def deeplab_head(given, num_classes, width, rates):
    conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
    last = nn.Conv2d(width, num_classes, 1)
    return nn.Sequential(ASPP(given, rates, width), conv, nn.BatchNorm2d(width), nn.ReLU(), last)


def fcn_head(given, num_classes):
    conv = nn.Conv2d(given, given // 4, 3, padding=1, bias=False)
    last = nn.Conv2d(given // 4, num_classes, 1)
    return nn.Sequential(conv, nn.BatchNorm2d(given // 4), nn.ReLU(), nn.Dropout(0.1), last)


class Segmentation(nn.Module):
    def __init__(self, num_classes, head, blocks=(3, 4, 6, 3), width=64, inner=256, rates=(12, 24, 36)):
        super().__init__()
        self.backbone = Backbone(blocks, width, (False, False, True, True))
        if head == "deeplab":
            self.classifier = deeplab_head(32 * width, num_classes, inner, rates)
        else:
            self.classifier = fcn_head(32 * width, num_classes)
        self.aux_classifier = fcn_head(16 * width, num_classes)

    def forward(self, images):
        coarse, before = self.backbone(images)
        maps = self.classifier(coarse), self.aux_classifier(before)
        return tuple(F.interpolate(m, images.shape[2:], mode="bilinear", align_corners=False) for m in maps)
