"""Losses of how far label maps overlap."""

import torch
from torch import Tensor

from ..losses.lovasz import lovasz_softmax_loss
from ._entry import Draw, Layer, bench, kink, real, tiny
from .classification import ignoring, shares


def composed_lovasz(p: Tensor, target: Tensor, ignore_index: int = -100, per_image: bool = False) -> Tensor:
    """The loss as its authors compose it: image by image, class by class."""
    exact = p.float() if p.dtype in (torch.bfloat16, torch.float16) else p
    if per_image:
        pairs = zip(exact, target, strict=True)
        of_images = [composed_lovasz(x[None], t[None], ignore_index) for x, t in pairs]
        return torch.stack(of_images).mean().to(p.dtype) if of_images else exact.sum().to(p.dtype)
    rows, labels = exact.movedim(1, -1).flatten(0, -2), target.flatten()
    rows, labels = rows[labels != ignore_index], labels[labels != ignore_index]
    losses = []
    for c in sorted(set(labels.tolist())):
        own = (labels == c).to(rows.dtype)
        errors, order = (own - rows[:, c]).abs().sort(descending=True, stable=True)
        own = own[order]
        union = own.sum() + (1 - own).cumsum(0)
        jaccard = 1 - (own.sum() - own.cumsum(0)) / union
        jaccard = torch.cat([jaccard[:1], jaccard[1:] - jaccard[:-1]])
        losses.append((errors * jaccard).sum())
    return torch.stack(losses).mean().to(p.dtype) if losses else (0 * exact.sum()).to(p.dtype)


def _maps(d: Draw, n: int, classes: int, *size: int) -> list[Tensor]:
    return [shares(d, n, classes, *size), d.classes(classes, n, *size)]


def _ignored(d: Draw, n: int, classes: int, *size: int, index: int = -100) -> list[Tensor]:
    p, target = _maps(d, n, classes, *size)
    return [p, ignoring(target, index)]


LAYERS = [
    Layer(
        "lovasz_softmax_loss",
        lovasz_softmax_loss,
        composed_lovasz,
        batched=(0, 1),
        samples=[
            tiny("batch", lambda d: _maps(d, 2, 3, 4, 3)),
            tiny("image by image", lambda d: _maps(d, 3, 2, 3, 4), per_image=True),
            tiny("a class that does not occur", lambda d: [shares(d, 2, 4, 5), d.classes(2, 2, 5)]),
            tiny("class 255 ignored", lambda d: _ignored(d, 2, 3, 5, index=255), ignore_index=255),
            kink("alike", lambda d: [torch.full_like(d(2, 2, 7), 0.5), d.classes(2, 2, 7)]),
            kink("all ignored", lambda d: [shares(d, 2, 3, 4), d.classes(1, 2, 4) - 100]),
            real("maps", lambda d: _ignored(d, 2, 5, 20, 16)),
            bench("4x11x60x80", lambda d: _maps(d, 4, 11, 60, 80)),
        ],
        rejects=[
            (lambda d: [shares(d, 5, 4), d.classes(4, 5)], {}),
            (lambda d: [shares(d, 2, 4, 5), d.classes(4, 2, 6)], {}),
            (lambda d: [shares(d, 2, 4, 3), d.classes(4, 2, 3) + 4], {}),
            (lambda d: [d.classes(4, 2, 4, 3), d.classes(4, 2, 3)], {}),
        ],
    ),
]
