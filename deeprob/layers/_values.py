"""Looking at the values of an input, to refuse wrong ones: only where that costs nothing but a pass."""

import torch
from torch import Tensor

from ._function import expect, is_watched


def may_read(x: Tensor) -> bool:
    """Whether x is an ordinary CPU tensor: a GPU's makes one wait, a trace's has no values to rely on."""
    return (
        x.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
        and not is_watched()
    )


def expect_indices(layer: str, indices: Tensor, count: int) -> None:
    """Raise ValueError unless all indices that may be read lie in [0, count)."""
    if may_read(indices) and indices.numel():
        low, high = (int(i) for i in torch.aminmax(indices))
        expect(low >= 0 and high < count, layer, f"indices in [0, {count})", f"{low} to {high}")
