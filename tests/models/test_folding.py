"""Networks without their batch norms give the same outputs."""

import pytest
import torch
from torch import nn

from deeprob import layers
from deeprob.models.detection.fcos import FCOS
from deeprob.models.folding import fold_norms
from deeprob.models.pointnet import PointNet
from deeprob.models.resnet import ResNet


def with_statistics(model):
    """Batch norms as after a training."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for vector in (module.running_mean, module.weight, module.bias):
                nn.init.uniform_(vector, 0.2, 1.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return model.eval()


def norms(model):
    return [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (ResNet(3, [1, 1], width=8, stem="small", fused=True), (2, 3, 16, 16)),
        (ResNet(3, [1], width=8, backend="torch"), (1, 3, 32, 32)),
        (FCOS(2, width=8, widths=(8, 8, 8, 8), blocks=(0, 0, 0, 0), strides=(8, 16)), (1, 3, 32, 32)),
        (PointNet(3), (2, 16, 3)),
    ],
    ids=["fused", "torch", "detector", "points"],
)
def test_the_outputs_stay_and_the_norms_go(model, shape):
    x = torch.randn(shape)
    before = [t.clone() for t in with_statistics(model).state_dict().values()]
    folded = fold_norms(model, x)
    assert not norms(folded)
    with torch.inference_mode():
        for a, b in zip(
            torch.utils._pytree.tree_leaves(folded(x)), torch.utils._pytree.tree_leaves(model(x)), strict=True
        ):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(a, b) for a, b in zip(before, model.state_dict().values(), strict=True))


class Twice(nn.Module):
    """One convolution, read by two norms; or by a norm and beside it."""

    def __init__(self, norms):
        super().__init__()
        self.conv, self.norms = layers.Conv2d(3, 4, 1), nn.ModuleList(norms)

    def forward(self, x):
        y = self.conv(x)
        return sum(norm(y) for norm in self.norms) + y


@pytest.mark.parametrize("count", [1, 2])
def test_what_is_read_twice_is_not_folded(count):
    model = with_statistics(Twice([layers.BatchNorm2d(4) for _ in range(count)]))
    x = torch.randn(2, 3, 5, 5)
    folded = fold_norms(model, x)
    assert len(norms(folded)) == count
    torch.testing.assert_close(folded(x), model(x))


def test_kernels_lie_in_memory_as_they_did():
    model = with_statistics(ResNet(3, [1], width=8, stem="small")).to(memory_format=torch.channels_last)
    folded = fold_norms(model, torch.randn(1, 3, 8, 8).contiguous(memory_format=torch.channels_last))
    kernels = [p for p in folded.parameters() if p.dim() == 4]
    assert all(k.is_contiguous(memory_format=torch.channels_last) for k in kernels)
    assert type(folded.conv1) is not layers.Conv2d  # no checks


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
def test_packed_weights_take_batches_and_images_of_any_size():
    model = with_statistics(FCOS(2, width=8, widths=(8, 8, 8, 8), blocks=(1, 0, 0, 0), strides=(8, 16)))
    folded = fold_norms(model, torch.randn(1, 3, 32, 32))
    assert all(m.packed is not None for m in folded.modules() if isinstance(m, nn.Conv2d))
    with torch.inference_mode():
        for shape in ((3, 3, 32, 32), (2, 3, 64, 96)):
            x = torch.randn(shape).contiguous(memory_format=torch.channels_last)
            torch.testing.assert_close(folded(x).boxes, model(x).boxes, rtol=1e-4, atol=1e-4)
