"""Activations of a residual network as chains of sums, so that one can be made again: residual.py."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from .._function import expect, may_overwrite
from .._window import Geometry
from ..batch_norm import moments
from ..conv import convolution
from ._rectified_norm import coefficients, rectified

LONGEST = 4  # links of a chain, then an activation is kept


class Norm(NamedTuple):
    """A batch norm that is still to come: of z (N, C, H, W); vectors (C).

    image, kernel, geometry: z is their convolution and need not be kept.
    """

    z: Tensor
    scale: Tensor
    shift: Tensor
    mean: Tensor
    var: Tensor
    eps: float
    training: bool
    image: Tensor | None = None
    kernel: Tensor | None = None
    geometry: Any = None


class Link(NamedTuple):
    """How one x is made from tensors (`kept`) and, where kind is "sum", from the x of the link before.

    kind: "kept": of x itself; "stem": image, kernel and a norm's four vectors; "sum": z and its norm's four;
    "projection": those twice.
    """

    kind: str
    eps: tuple[float, ...] = ()
    training: tuple[bool, ...] = ()
    geometry: Any = None

    @property
    def num_kept(self) -> int:
        return {"kept": 1, "stem": 6, "sum": 5, "projection": 10}[self.kind]


class Activation(NamedTuple):
    """An x, and how to make it again: its links, newest first, and their tensors."""

    x: Tensor
    links: tuple[Link, ...]
    kept: tuple[Tensor, ...]

    @classmethod
    def keep(cls, x: Tensor) -> "Activation":
        """Start a chain at x, which then is kept."""
        return cls(x, (Link("kept"),), (x,))


def make(links: tuple[Link, ...], tensors: Any, given: Tensor | None = None) -> Tensor:
    """Make x. given: s of a sum, or z of a stem, in the forward; the backward makes them too."""
    link = links[0]
    if link.kind == "kept":
        return tensors[0]  # type: ignore[no-any-return]
    again = given is None and not may_overwrite(tensors[0])
    if link.kind == "stem":
        image, kernel, *vectors = tensors[:6]
        z = convolve(image, kernel, link.geometry) if given is None else given
        return rectified(*norm_map((z, *vectors), link, 0, again))
    z, a, c = norm_map(tensors[:5], link, 0, again)
    if link.kind == "sum":
        return rectified(z, a, c, make(links[1:], tensors[5:]) if given is None else given)
    side, b, c_side = norm_map(tensors[5:10], link, 1, again)
    return rectified(z, a, c + c_side, side, b)


def convolve(x: Tensor, weight: Tensor, geometry: Any) -> Tensor:
    """Return W * x, geometry being stride and padding."""
    return convolution(x, weight, None, Geometry(*geometry))


def norm_map(norm: Sequence[Tensor], link: Link, i: int, again: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return z and a, c of its norm a z + c; again: mean and var as functions of z, to derive twice."""
    z, scale, shift, mean, var = norm
    if again and link.training[i]:
        mean, var = moments(z)
    return z, *coefficients(scale, shift, mean, var, link.eps[i])


def chain_of(
    norm: Norm, shortcut: Activation | Norm | None
) -> tuple[tuple[Link, ...], tuple[Tensor, ...], Tensor | None]:
    """Return the links of x, their tensors, and what is given beside."""
    if isinstance(shortcut, Norm):
        link = Link("projection", (norm.eps, shortcut.eps), (norm.training, shortcut.training))
        return (link,), (*norm[:5], *shortcut[:5]), None
    if shortcut is not None:
        link = Link("sum", (norm.eps,), (norm.training,))
        return (link, *shortcut.links), (*norm[:5], *shortcut.kept), shortcut.x
    expect(norm.image is not None, "residual_join", "a shortcut, or a norm of an image", shortcut)
    assert norm.image is not None
    assert norm.kernel is not None
    link = Link("stem", (norm.eps,), (norm.training,), norm.geometry)
    return (link,), (norm.image, norm.kernel, *norm[1:5]), norm.z
