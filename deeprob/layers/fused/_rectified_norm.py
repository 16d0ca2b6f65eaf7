"""relu(batch_norm(z) + s), one product, sum and comparison an entry, and what relu(batch_norm(z)) sends back.

y = max(0, a z + c + b s)     a = w r, c = b - mu a, one number a channel each: batch_norm.py
Faster forms: kernels/rectified_norm.py.
"""

from torch import Tensor

from .._fast import or_faster
from ..batch_norm import batch_norm_backward, per_channel
from ..kernels import rectified_norm as fast
from ..relu import relu_backward


def coefficients(
    scale: Tensor, shift: Tensor, mean: Tensor, var: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Return a and c (C), so that a z + c is the normalised z."""
    a = (var + eps).rsqrt() * scale
    return a, shift - mean * a


@or_faster(fast.rectified)
def rectified(z: Tensor, a: Tensor, c: Tensor, side: Tensor | None = None, b: Tensor | None = None) -> Tensor:
    """Return max(0, a z + c + b s) of maps z and s (N, C, H, W) and a, b, c (C); b None: 1, side None: 0."""
    y = z * per_channel(a, z) + per_channel(c, z)
    if side is not None:
        y = y + (side if b is None else side * per_channel(b, z))
    return y.to(z.dtype).relu()


@or_faster(fast.rectified_backward)
def rectified_backward(
    dy: Tensor,
    y: Tensor,
    z: Tensor,
    scale: Tensor,
    shift: Tensor,
    mean: Tensor,
    var: Tensor,
    eps: float,
    training: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return dz, dscale and dshift of y = relu(batch_norm(z)). Nobody may read dy afterwards."""
    return batch_norm_backward(relu_backward(y, dy), z, scale, mean, var, eps, training)
