"""A network that is only asked for predictions: batch norms folded into the convolutions before them.

    gamma (w x + b - mean) / sqrt(var + eps) + beta = (s w) x + s (b - mean) + beta
    s = gamma / sqrt(var + eps)

Convolutions and rectifiers then run without checks, and without a Function, which only a gradient needs. On a
CPU the convolutions' weights are brought once into the order that oneDNN multiplies them in, as onnxruntime
does when it opens a file; else each call does it again, for ResNet-18 a quarter of a frame. Where tiles take
fewer products (kernels/winograd.py) they are used all the same.
Source: Jacob et al., Quantization and training of neural networks (2018), section 3.2.
"""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils import _pytree as pytree

from deeprob import layers
from deeprob.layers._window import Geometry
from deeprob.layers.conv import convolution
from deeprob.layers.kernels.winograd import suits as suits_tiles

LINEAR = (nn.Conv2d, nn.Conv1d, nn.Linear)
TOLERANCE = 1e-4  # of the largest output


def fold_norms(model: nn.Module, example: Tensor) -> nn.Module:
    """The same network, in eval mode, without the batch norms that follow a convolution or linear layer.

    example: inputs of any batch. The network itself is left as it is; it is returned where nothing can be
    folded, or where its outputs for the example would change by more than rounding.
    """
    if not is_foldable(model):
        return model
    with torch.no_grad():
        expected = model(example)
        folded = _unfused(copy.deepcopy(model).eval())
        for layer, norm in _pairs(folded, example):
            _fold(layer, norm)
        for parent in list(folded.modules()):
            for name, child in parent.named_children():
                setattr(parent, name, _bare(child))
        _pack(folded, example)
        return folded if _alike(folded(example), expected) else model


def is_foldable(model: nn.Module) -> bool:
    """Whether a network has batch norms, or convolutions with checks."""
    return any(isinstance(m, (_BatchNorm, layers.Conv2d)) for m in model.modules())


def _unfused(model: nn.Module) -> nn.Module:
    """The model with norms that are layers of their own: see resnet.Block."""
    for module in model.modules():
        if getattr(module, "fused", None) is True:
            module.fused = False  # type: ignore[assignment]
    return model


def _pairs(model: nn.Module, example: Tensor) -> list[tuple[Any, Any]]:
    """Each norm that always reads what one layer has made, which no other norm reads; and that layer."""
    made: dict[int, tuple[nn.Module, Tensor]] = {}
    before: dict[nn.Module, set[nn.Module | None]] = {}
    after: dict[nn.Module, set[nn.Module]] = {}

    def made_by(layer: nn.Module, _: Any, output: Any) -> None:
        made[id(output)] = layer, output  # held, so that no other tensor gets its number

    def read_by(norm: nn.Module, inputs: Any) -> None:
        layer = made.get(id(inputs[0]), (None, None))[0]
        before.setdefault(norm, set()).add(layer)
        if layer is not None:
            after.setdefault(layer, set()).add(norm)

    hooks = [m.register_forward_hook(made_by) for m in model.modules() if isinstance(m, LINEAR)]
    hooks += [m.register_forward_pre_hook(read_by) for m in model.modules() if isinstance(m, _BatchNorm)]
    model(example)
    for hook in hooks:
        hook.remove()
    return [
        (layer, norm)
        for norm, layers in before.items()
        for layer in layers
        if len(layers) == 1 and layer is not None and len(after[layer]) == 1
    ]


class BareConv2d(nn.Conv2d):
    """A convolution whose input is known to fit, without a gradient.

    packed: its weight in oneDNN's order, None where it is none of oneDNN's.
    """

    packed: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        stride, padding, dilation, groups = geometry = Geometry(
            *cast("Any", (self.stride, self.padding, self.dilation, self.groups))
        )
        if self.packed is None or suits_tiles(x, self.weight.shape, geometry):
            return convolution(x, self.weight, self.bias, geometry)
        y: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self.packed, self.bias, padding, stride, dilation, groups, "none", [], ""
        )
        return y


def _pack(model: nn.Module, example: Tensor) -> None:
    """Keep each convolution's weight as oneDNN multiplies it with inputs of the example's size."""
    if example.device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return

    def pack(conv: BareConv2d, inputs: Any) -> None:
        x, geometry = inputs[0], (conv.padding, conv.stride, conv.dilation, conv.groups)
        if x.dtype is torch.float32 and x.dim() == 4 and x.numel():
            conv.packed = torch.ops.mkldnn._reorder_convolution_weight(
                conv.weight.detach(), *geometry, list(x.shape)
            )

    hooks = [m.register_forward_pre_hook(pack) for m in model.modules() if isinstance(m, BareConv2d)]
    model(example)
    for hook in hooks:
        hook.remove()


def _bare(module: nn.Module) -> nn.Module:
    """What takes a module's place."""
    if getattr(module, "is_folded", False):
        return nn.Identity()
    if type(module) is layers.ReLU:
        return nn.ReLU()
    if type(module) is layers.Conv2d and not isinstance(module.padding, str):
        module.__class__ = BareConv2d  # type: ignore[assignment]  # the same parameters and geometry
    return module


def _fold(layer: Any, norm: Any) -> None:
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight
    shift = -norm.running_mean * scale
    shift = shift if layer.bias is None else shift + layer.bias * scale
    shift = shift if norm.bias is None else shift + norm.bias
    weight = layer.weight * scale.view(-1, *[1] * (layer.weight.dim() - 1))
    kept = torch.empty_like(layer.weight).copy_(weight)  # lies in memory as it did
    layer.weight = nn.Parameter(kept, requires_grad=False)
    layer.bias = nn.Parameter(shift.to(layer.weight.dtype), requires_grad=False)
    norm.is_folded = True


def _alike(found: Any, expected: Any) -> bool:
    """Whether outputs are the same to rounding; a number of proposals that rounding changes is another."""
    pairs = zip(pytree.tree_leaves(found), pytree.tree_leaves(expected), strict=True)
    return all(
        a.shape == b.shape
        and (not b.numel() or float((a - b).abs().max()) <= TOLERANCE * max(1.0, float(b.abs().max())))
        for a, b in pairs
        if isinstance(b, Tensor) and b.is_floating_point()
    )
