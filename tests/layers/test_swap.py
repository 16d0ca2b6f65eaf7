"""A model written for torch.nn keeps its outputs, gradients and state dict when built of deeprob.layers."""

import pytest
import torch
from torch import nn

from deeprob import layers


def small_resnet(ns):
    class Block(nn.Module):
        def __init__(self, c_in, c_out, stride):
            super().__init__()
            self.conv1 = ns.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
            self.bn1 = ns.BatchNorm2d(c_out)
            self.conv2 = ns.Conv2d(c_out, c_out, 3, padding="same", bias=False)
            self.bn2 = ns.BatchNorm2d(c_out)
            self.relu = ns.ReLU(inplace=True)
            self.shortcut = ns.Conv2d(c_in, c_out, 1, stride)

        def forward(self, x):
            y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
            return self.relu(y + self.shortcut(x))

    stem = [
        ns.Conv2d(3, 8, 7, 2, 3),
        ns.BatchNorm2d(8, momentum=None),
        ns.LeakyReLU(0.1),
        ns.MaxPool2d(3, 2, 1),
    ]
    blocks = [Block(8, 8, 1), Block(8, 16, 2)]
    return ns.Sequential(*stem, *blocks, ns.AdaptiveAvgPool2d(1), ns.Flatten(), ns.Linear(16, 5))


def small_mixer(ns):
    return ns.Sequential(
        ns.Conv2d(3, 12, 4, 4),
        ns.GroupNorm(3, 12),
        ns.SiLU(),
        ns.AvgPool2d(2, ceil_mode=True),
        ns.Flatten(),
        ns.Linear(12 * 16, 32),
        ns.LayerNorm(32),
        ns.GELU(),
        ns.Dropout(0.0),
        ns.Linear(32, 5),
        ns.LogSoftmax(1),
    )


def point_classifier(ns):
    class Points(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = ns.Sequential(
                ns.Conv1d(96, 32, 1), ns.BatchNorm1d(32), ns.ReLU(), ns.Conv1d(32, 48, 1), ns.RMSNorm(32)
            )
            self.head = ns.Sequential(ns.Linear(48, 5), ns.Softmax(dim=1))

        def forward(self, x):
            return self.head(self.features(x.flatten(1, 2)).amax(2))

    return Points()


@pytest.mark.parametrize("make", [small_resnet, small_mixer, point_classifier])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_swapped_model_has_the_same_outputs_gradients_and_state(make, layout):
    torch.manual_seed(0)
    theirs, ours = make(nn).double(), make(layers).double()
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(4, 3, 32, 32, dtype=torch.float64).contiguous(memory_format=layout)
    results = []
    for model in (ours, theirs):
        x = images.clone(memory_format=torch.preserve_format).requires_grad_()
        y = model(x)
        (y**2).sum().backward()
        results.append([y, x.grad, *(p.grad for p in model.parameters()), *model.state_dict().values()])
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("make", [small_resnet, small_mixer, point_classifier])
def test_swapped_model_agrees_in_float32(make):
    torch.manual_seed(1)
    theirs, ours = make(nn), make(layers)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(4, 3, 32, 32)
    results = []
    for model in (ours, theirs):
        y = model(x)
        model.zero_grad()
        (y**2).sum().backward()
        results.append((y, torch.cat([p.grad.flatten() for p in model.parameters()])))
    for got, expected in zip(*results, strict=True):
        assert float((got - expected).norm() / expected.norm()) < 1e-5


def test_weights_go_both_ways():
    ours, theirs = small_resnet(layers), small_resnet(nn)
    theirs.load_state_dict(ours.state_dict())
    assert list(theirs.state_dict()) == list(ours.state_dict())
