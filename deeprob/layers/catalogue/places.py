"""What moves numbers and leaves them as they are: concatenation, splitting, taking rows."""

import torch
from torch import Tensor

from ..class_channels import class_channels
from ..concat import concat, split
from ..take_rows import take_rows
from ._entry import Layer, bench, kink, real, tiny


def _concat(*tensors: Tensor, dim: int = 0) -> Tensor:
    return concat(tensors, dim)


def _own(x: Tensor, labels: Tensor) -> Tensor:
    """The class's channels by advanced indexing."""
    rows = x.movedim(2, -1)  # (N, C, *S, K)
    at = torch.meshgrid(*(torch.arange(n, device=x.device) for n in (len(x), *x.shape[3:])), indexing="ij")
    labels = labels.view(len(x), *(labels.shape[1:] or [1] * (x.dim() - 3))).expand_as(at[0])
    index = (at[0], labels, *at[1:])
    return rows[index].movedim(-1, 1)


LAYERS = [
    Layer(
        "concat",
        _concat,
        lambda *tensors, dim=0: torch.cat(tensors, dim),
        samples=[
            tiny("channels", lambda d: [d(2, 3, 4, 2), d(2, 1, 4, 2), d(2, 2, 4, 2)], dim=1),
            tiny("from the end, one part empty", lambda d: [d(3, 4), d(3, 0)], dim=-1),
            tiny("one", lambda d: [d(3, 4)], dim=1),
            real("levels", lambda d: [d(2, 320, 6), d(2, 80, 6), d(2, 20, 6)], dim=1),
            bench("skip, 8x64x64x64 and 8x64x64x64", lambda d: [d(8, 64, 64, 64), d(8, 64, 64, 64)], dim=1),
            bench(
                "levels, 8x(7600, 1900, 475)x10", lambda d: [d(8, n, 10) for n in (7600, 1900, 475)], dim=1
            ),
        ],
        rejects=[
            (lambda d: [], {}),
            (lambda d: [d(3, 4), d(3, 5)], {}),
            (lambda d: [d(3, 4), d(3)], {}),
            (lambda d: [d(3, 4), d(3, 4).float()], {}),
            (lambda d: [d.classes(3, 4)], {}),
            (lambda d: [d(3, 4)], {"dim": 2}),
        ],
        batched=(0, 1, 2),
    ),
    Layer(
        "split",
        split,
        torch.split,
        samples=[
            tiny("sizes", lambda d: [d(2, 7, 3)], split_size_or_sections=[1, 4, 2], dim=1),
            tiny("one size, a rest", lambda d: [d(2, 3, 5, 2)], split_size_or_sections=2, dim=-2),
            real("classes and boxes", lambda d: [d(4, 100, 9)], split_size_or_sections=[5, 4], dim=2),
            bench("8x128x64x64 in two", lambda d: [d(8, 128, 64, 64)], split_size_or_sections=64, dim=1),
        ],
        rejects=[
            (lambda d: [d(3, 4)], {"split_size_or_sections": 0}),
            (lambda d: [d(3, 4)], {"split_size_or_sections": [1, 1]}),
            (lambda d: [d(3, 4)], {"split_size_or_sections": [4, -1]}),
            (lambda d: [d(3, 4)], {"split_size_or_sections": 1, "dim": -3}),
            (lambda d: [d.classes(3, 4)], {"split_size_or_sections": 1}),
        ],
    ),
    Layer(
        "take_rows",
        take_rows,
        lambda x, *indices: x[tuple(i.long() for i in indices)],
        samples=[
            tiny("rows, some twice", lambda d: [d(4, 3), d.classes(4, 7)]),
            tiny("of two axes", lambda d: [d(2, 5, 3, 2), d.classes(2, 4), d.classes(5, 4)]),
            tiny("numbers, a map of indices", lambda d: [d(6), d.classes(6, 2, 3)]),
            tiny("int32", lambda d: [d(4, 3), d.classes(4, 2).int()]),
            kink("one row alone", lambda d: [d(1, 3), d.classes(1, 5)]),
            real("positives", lambda d: [d(4, 300, 9), d.classes(4, 50), d.classes(300, 50)]),
            bench("800 of 8x9975x10", lambda d: [d(8, 9975, 10), d.classes(8, 800), d.classes(9975, 800)]),
            bench("kept tokens, 512 of 32x64x192", lambda d: [d(2048, 192), d.classes(2048, 512)]),
            bench(
                "masks of their class, 256x10x28x28",
                lambda d: [d(256, 10, 28, 28), torch.arange(256, device=d.device), d.classes(10, 256)],
            ),
        ],
        rejects=[
            (lambda d: [d(3, 4)], {}),
            (lambda d: [d(3), d.classes(3, 2), d.classes(3, 2)], {}),
            (lambda d: [d(3, 4), d(2)], {}),
            (lambda d: [d(3, 4), d.classes(3, 2), d.classes(3, 3)], {}),
            (lambda d: [d(3, 4), torch.tensor([0, 3], device=d.device)], {}),
            (lambda d: [d(3, 4), torch.tensor([-1, 0], device=d.device)], {}),
            (lambda d: [d.classes(2, 3, 4), d.classes(3, 2)], {}),
        ],
        batched=(1, 2),
    ),
    Layer(
        "class_channels",
        class_channels,
        _own,
        samples=[
            tiny("a class a pixel", lambda d: [d(2, 3, 2, 4, 3), d.classes(3, 2, 4, 3)]),
            tiny("a class a sample", lambda d: [d(3, 4, 2, 5), d.classes(4, 3)]),
            tiny("vectors", lambda d: [d(3, 2, 4), d.classes(2, 3)]),
            real("directions", lambda d: [d(2, 10, 3, 15, 20), d.classes(10, 2, 15, 20)]),
            bench("8x10x3x60x80", lambda d: [d(8, 10, 3, 60, 80), d.classes(10, 8, 60, 80)]),
        ],
        rejects=[
            (lambda d: [d(2, 3), d.classes(3, 2)], {}),
            (lambda d: [d(2, 3, 2, 4), d.classes(3, 2, 5)], {}),
            (lambda d: [d(2, 3, 2, 4), d.classes(3, 2, 4).int()], {}),
            (lambda d: [d(2, 3, 2), torch.tensor([0, 3], device=d.device)], {}),
            (lambda d: [d.classes(9, 2, 3, 2), d.classes(3, 2)], {}),
        ],
        batched=(0, 1),
    ),
]
