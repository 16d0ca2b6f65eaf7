"""Vectors of three: cross products as matrices, and the maps v + b w x v + c w x (w x v) of motions."""

from math import factorial

import torch
from torch import Tensor

SERIES_UNTIL = 2.0  # squared radians; beyond, the closed forms lose no digits
TERMS = 11  # of the series: the next is below 2e-18 there


def skew(v: Tensor) -> Tensor:
    """[v]_x (..., 3, 3) of v (..., 3): [v]_x u = v x u."""
    x, y, z = v.unbind(-1)
    zero = torch.zeros_like(x)
    rows = [zero, -z, y, z, zero, -x, -y, x, zero]
    return torch.stack(rows, -1).reshape(*v.shape[:-1], 3, 3)


def axial(M: Tensor) -> Tensor:
    """Return the vector (..., 3) in <M, [v]_x> = v . axial, the adjoint of `skew`, of M (..., 3, 3)."""
    return torch.stack(
        [
            M[..., 2, 1] - M[..., 1, 2],
            M[..., 0, 2] - M[..., 2, 0],
            M[..., 1, 0] - M[..., 0, 1],
        ],
        -1,
    )


def cross(u: Tensor, v: Tensor) -> Tensor:
    """The product u x v (..., 3)."""
    product: Tensor = torch.linalg.cross(u, v)
    return product


def dot(u: Tensor, v: Tensor) -> Tensor:
    """The product u . v (..., 1)."""
    return (u * v).sum(-1, keepdim=True)


def stumpff(x: Tensor, count: int) -> list[Tensor]:
    """The functions c_0 ... c_count-1 at x = |w|^2 (..., 1): c_n(x) = sum_k (-x)^k / (2 k + n)!.

    c_0 = cos |w|, c_1 = sin |w| / |w|, c_2 = (1 - cos |w|) / |w|^2, and c_n = 1 / n! - x c_n+2. The last two
    are summed for small x, and follow from the first two for large; neither divides by zero, also in its
    derivatives.
    """
    small = x < SERIES_UNTIL
    low, high = torch.where(small, x, 0), torch.where(small, 1, x)
    last = [[1 / factorial(2 * k + n) for n in (count - 2, count - 1)] for k in range(TERMS)]
    rows = torch.tensor(last, dtype=x.dtype, device=x.device).unbind(0)
    series = rows[-1]
    for row in rows[-2::-1]:
        series = row - low * series
    angle = high.sqrt()
    closed = [angle.cos(), angle.sin() / angle]
    for n in range(count - 2):
        closed.append((1 / factorial(n) - closed[n]) / high)
    values = [
        torch.where(small, series[..., :1], closed[-2]),
        torch.where(small, series[..., 1:], closed[-1]),
    ]
    for n in range(count - 3, -1, -1):
        values.insert(0, 1 / factorial(n) - x * values[1])
    return values


def slope(c: list[Tensor], n: int) -> Tensor:
    """The derivative of c_n: (n c_n+2 - c_n+1) / 2."""
    return (n * c[n + 2] - c[n + 1]) / 2


def bent(w: Tensor, v: Tensor, b: Tensor | float, c: Tensor) -> Tensor:
    """The map v + b w x v + c w x (w x v); with -b its adjoint in v."""
    across = cross(w, v)
    return v + b * across + c * cross(w, across)


def bent_slope(
    w: Tensor, v: Tensor, g: Tensor, b: Tensor | float, c: Tensor, db: Tensor | float, dc: Tensor
) -> Tensor:
    """The gradient in w of g . bent(w, v, b, c), where b and c are functions of |w|^2 of slopes db and dc."""
    across = cross(w, v)
    along = db * dot(g, across) + dc * dot(g, cross(w, across))
    return b * cross(v, g) + c * (cross(across, g) + cross(v, cross(g, w))) + 2 * along * w


def bent_dot(
    w: Tensor,
    v: Tensor,
    w_dot: Tensor,
    v_dot: Tensor,
    b: Tensor | float,
    c: Tensor,
    db: Tensor | float,
    dc: Tensor,
) -> Tensor:
    """The derivative of bent(w, v, b, c) along w_dot and v_dot."""
    across, turned = cross(w, v), cross(w_dot, v)
    change = b * turned + c * (cross(w_dot, across) + cross(w, turned))
    rate = 2 * dot(w, w_dot)
    return bent(w, v_dot, b, c) + change + rate * (db * across + dc * cross(w, across))
