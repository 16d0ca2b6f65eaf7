"""Reading an image between its pixels: the weights of linear interpolation."""

import torch
from torch import Tensor


def hat(position: Tensor, size: int) -> Tensor:
    """Return the weights (..., size) with which positions (...) read pixels i: max(0, 1 - |position - i|).

    The two pixels next to a position share 1 in proportion to nearness; outside [0, size - 1] it fades to 0.
    """
    pixels = torch.arange(size, dtype=position.dtype, device=position.device)
    return (1 - (position[..., None] - pixels).abs()).clamp_min(0)
