"""The elementary operations of a computational graph, and the batched matrix product."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..elementary import exp, log, reciprocal, sigmoid, tanh
from ..gates import add, copy, maximum, mul
from ..matmul import matmul
from ._entry import Draw, Inputs, Layer, ModuleSample, Sample, bench, kink, module, real, tiny


def _binary(name: str, call: Callable[..., Any], reference: Callable[..., Any], *extra: Sample) -> Layer:
    return Layer(
        name,
        call,
        reference,
        samples=[
            tiny("alike", lambda d: [d.distinct(3, 4), d(3, 4)]),
            tiny("a row onto a map", lambda d: [d(2, 3, 1, 5), d(2, 1, 4, 1)]),
            kink("ties", lambda d: [d.coarse(4, 6), d.coarse(4, 6)]),
            real("map 4x16x8x8", lambda d: [d.distinct(4, 16, 8, 8), d(4, 16, 8, 8)]),
            bench("map 32x64x32x32", lambda d: [d(32, 64, 32, 32), d(32, 64, 32, 32)]),
            *extra,
        ],
        rejects=[
            (lambda d: [d(3, 4), d(3, 5)], {}),
            (lambda d: [d(3, 4), d(3, 4).float()], {}),
            (lambda d: [d.classes(3, 4), d.classes(3, 4)], {}),
        ],
        batched=(0, 1),
    )


def _unary(
    name: str,
    call: Callable[..., Any],
    reference: Callable[..., Any],
    draw: Callable[..., Tensor] = Draw.__call__,
    modules: Sequence[ModuleSample] = (),
) -> Layer:
    def inputs(*shape: int) -> Inputs:
        return lambda d: [draw(d, *shape)]

    return Layer(
        name,
        call,
        reference,
        samples=[
            tiny("matrix", inputs(3, 7)),
            tiny("map", inputs(2, 3, 4, 3)),
            real("map 4x16x8x8", inputs(4, 16, 8, 8)),
            bench("map 32x64x32x32", inputs(32, 64, 32, 32)),
        ],
        modules=modules,
        rejects=[(lambda d: [d.classes(3, 4)], {})],
    )


LAYERS = [
    _binary("add", add, torch.add),
    _binary("mul", mul, torch.mul),
    _binary("maximum", maximum, torch.maximum),
    Layer(
        "copy",
        copy,
        lambda x, num_copies=2: tuple(x * 1 for _ in range(num_copies)),
        samples=[
            tiny("two branches", lambda d: [d(3, 4)]),
            tiny("three branches", lambda d: [d(3, 4)], num_copies=3),
            real("map 4x16x8x8", lambda d: [d(4, 16, 8, 8)]),
            bench("map 32x64x32x32", lambda d: [d(32, 64, 32, 32)]),
        ],
        rejects=[(lambda d: [d(3, 4)], {"num_copies": 0})],
    ),
    _unary("exp", exp, torch.exp),
    _unary("log", log, torch.log, Draw.positive),
    _unary("reciprocal", reciprocal, torch.reciprocal, Draw.positive),
    _unary("tanh", tanh, torch.tanh, modules=[module("Tanh", lambda d: [d(3, 5)])]),
    _unary("sigmoid", sigmoid, torch.sigmoid, modules=[module("Sigmoid", lambda d: [d(3, 5)])]),
    Layer(
        "matmul",
        matmul,
        torch.matmul,
        samples=[
            tiny("matrices", lambda d: [d(3, 5), d(5, 4)]),
            tiny("a batch and a matrix", lambda d: [d(2, 3, 5), d(5, 4)]),
            tiny("a batch and a column", lambda d: [d(2, 3, 5), d(5)]),
            tiny("a batch that broadcasts", lambda d: [d(2, 1, 3, 5), d(3, 5, 2)]),
            real("tokens", lambda d: [d(4, 17, 48), d(48, 24)]),
            bench("1024x1024", lambda d: [d(1024, 1024), d(1024, 1024)]),
        ],
        rejects=[
            (lambda d: [d(3, 5), d(4, 5)], {}),
            (lambda d: [d(2, 3, 5), d(3, 5, 4)], {}),
            (lambda d: [d(3, 5), d(5, 4).float()], {}),
        ],
    ),
    Layer(
        "batched matmul",
        matmul,
        torch.matmul,
        samples=[
            tiny("batches", lambda d: [d(2, 3, 5), d(2, 5, 4)]),
            tiny("two batch axes", lambda d: [d(2, 3, 4, 2), d(2, 1, 2, 3)]),
            real("heads", lambda d: [d(2, 3, 17, 8), d(2, 3, 8, 17)]),
            bench("heads 32x3x65x64", lambda d: [d(32, 3, 65, 64), d(32, 3, 64, 65)]),
        ],
        batched=(0, 1),
    ),
]
