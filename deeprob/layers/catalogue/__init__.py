"""Every layer there is: the contract test, `deeprob gradcheck` and `deeprob benchmark layers` walk this list.

A new layer is one file beside `deeprob/layers/linear.py` and one entry in its family's list here.
"""

from . import (
    activation,
    attention,
    boxes,
    classification,
    contrastive,
    convolution,
    dense,
    element_losses,
    fused,
    gates,
    motions,
    norm,
    overlap,
    places,
    pooling,
    pose,
    rendering,
    sampling,
)
from ._entry import Draw, Layer, ModuleSample, Sample, bench, drawn_on, kink, module, real, tiny

LAYERS: list[Layer] = [
    *dense.LAYERS,
    *convolution.LAYERS,
    *norm.LAYERS,
    *pooling.LAYERS,
    *classification.LAYERS,
    *fused.LAYERS,
    *activation.LAYERS,
    *gates.LAYERS,
    *attention.LAYERS,
    *element_losses.LAYERS,
    *overlap.LAYERS,
    *contrastive.LAYERS,
    *pose.LAYERS,
    *motions.LAYERS,
    *rendering.LAYERS,
    *sampling.LAYERS,
    *places.LAYERS,
    *boxes.LAYERS,
]

__all__ = [
    "LAYERS",
    "Draw",
    "Layer",
    "ModuleSample",
    "Sample",
    "bench",
    "drawn_on",
    "kink",
    "module",
    "real",
    "tiny",
]
