"""The faster form of the product of the linear layer: oneDNN's, on processors where it beats torch's BLAS."""

from typing import Any

import torch
from torch import Tensor

from .._function import is_plain

# With 256-bit vectors torch's own BLAS is as fast, and twice as fast where an input has to be turned around.
WIDE = torch.backends.cpu.get_cpu_capability() == "AVX512"
# private to torch, and float32 on the CPU only
ONEDNN: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if WIDE else None
ONEDNN_FROM = 1 << 20  # multiplications from which its set-up pays


def matmul_transposed(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, relu: bool = False
) -> Tensor | None:
    """Return x W^T + b, then max(0, .) if `relu`."""
    # plain first: an export would take the comparison of a size for a limit on the batch
    if ONEDNN is None or not is_plain(x, weight, bias) or x.numel() * weight.shape[0] < ONEDNN_FROM:
        return None
    y: Tensor = ONEDNN(x, weight, bias, "relu" if relu else "none", [], "")
    return y
