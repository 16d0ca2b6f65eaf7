"""RoIPool: the largest value in each bin of a box on a feature map.

    x (N, C, H, W) feature maps    boxes (K, 5): (sample, x1, y1, x2, y2) in image pixels    y (K, C, P, Q)

    y[k, c, p, q] = x[n(k), c, i, j], the largest in bin (p, q) of box k       0 where the bin is empty

    dx[n, c, i, j] = sum over the bins that (i, j) won of their dy             a maximum routes its gradient

Edges are rounded to whole pixels, twice: the box's, then the bins'; that is what RoIAlign does away with.
Rows floor(p h / P) to ceil((p + 1) h / P) of a box h pixels high make a bin: neighbours may share a row. At a
tie the first pixel wins, row by row. The boxes are constants.
Cost: one comparison a pixel of each bin forward, one addition a bin backward; saves the winners' indices.
Source: Girshick 2015, Fast R-CNN, section 2.1; torchvision.ops.roi_pool for the conventions.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from ._fast import or_faster
from ._function import Function, may_overwrite
from .kernels import resize as fast
from .roi_align import expect_boxes


class RoIPoolFunction(Function):
    """Gather the winners (K, C, P Q), flat indices into (N C H W); -1 is an empty bin."""

    autocast_dtype = "widest"

    @staticmethod
    def forward(x: Tensor, winners: Tensor) -> Tensor:
        return gather_winners(x, winners)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, winners = inputs
        ctx.save_for_backward(winners)
        ctx.save_for_forward(winners)
        ctx.shape = x.shape

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (winners,) = ctx.saved_tensors
        dx = dy.new_zeros(math.prod(ctx.shape))
        index, values = winners.flatten().clamp_min(0), (dy * (winners >= 0)).flatten()
        dx = dx.index_add_(0, index, values) if may_overwrite(dy) else dx.index_add(0, index, values)
        return dx.reshape(ctx.shape), None

    @staticmethod
    def tangent(ctx: Any, x_dot: Tensor, _: None) -> Any:
        (winners,) = ctx.saved_tensors
        return gather_winners(x_dot, winners)


def gather_winners(x: Tensor, winners: Tensor) -> Tensor:
    """Read x at the winners, 0 in an empty bin."""
    values = x.reshape(-1).index_select(0, winners.flatten().clamp_min(0)).reshape(winners.shape)
    return values * (winners >= 0)


def bin_edges(low: Tensor, high: Tensor, size: int, num_bins: int) -> tuple[Tensor, Tensor]:
    """First pixel of each bin and the one after its last (K, num_bins), of edges rounded to pixels."""
    low, high = low.long(), high.long()  # whole numbers: no device rounds p h / P in its own way
    edges = torch.arange(num_bins + 1, device=low.device) * (high - low + 1).clamp_min(1)[:, None]
    first = edges[:, :-1].div(num_bins, rounding_mode="floor") + low[:, None]
    after = (edges[:, 1:] + num_bins - 1).div(num_bins, rounding_mode="floor") + low[:, None]
    return first.clamp(0, size), after.clamp(0, size)


@or_faster(fast.find_winners)
def find_winners(
    x: Tensor, sample: Tensor, rows: tuple[Tensor, Tensor], columns: tuple[Tensor, Tensor]
) -> Tensor:
    """Winners (K, C, P, Q): the largest of each column bin in every row, then the largest of those rows."""
    channels, height, width = x.shape[1:]
    i, j = torch.arange(height, device=x.device), torch.arange(width, device=x.device)
    in_row = (i >= rows[0][..., None]) & (i < rows[1][..., None])  # (K, P, H)
    in_column = (j >= columns[0][..., None]) & (j < columns[1][..., None])  # (K, Q, W)
    planes = torch.arange(channels, device=x.device)[:, None, None] * (height * width)
    winners = []
    for n, p, q in zip(sample.unbind(), in_row.unbind(), in_column.unbind(), strict=True):
        image = x.index_select(0, n[None]).squeeze(0)  # (C, H, W)
        value, best_j = image[:, :, None].masked_fill(~q, -math.inf).max(-1)  # (C, H, Q)
        best_i = value[:, None].masked_fill(~p[:, :, None], -math.inf).argmax(2)  # (C, P, Q)
        index = best_i * width + best_j.gather(1, best_i)
        some = p.any(-1)[:, None] & q.any(-1)
        winners.append(torch.where(some, n * (channels * height * width) + planes + index, -1))
    shape = (0, channels, in_row.shape[1], in_column.shape[1])
    return torch.stack(winners) if winners else torch.zeros(shape, dtype=torch.int64, device=x.device)


def roi_pool(
    x: Tensor, boxes: Tensor, output_size: int | tuple[int, int], spatial_scale: float = 1.0
) -> Tensor:
    """Return the maxima (K, C, P, Q) of x (N, C, H, W) in bins of boxes (K, 5), (sample, x1, y1, x2, y2).

    spatial_scale turns box units into feature pixels (1 / stride). Raises ValueError where shapes, dtypes,
    devices or sample indices do not fit.
    """
    num_rows, num_columns = (output_size, output_size) if isinstance(output_size, int) else output_size
    expect_boxes("roi_pool", x, boxes, num_rows, num_columns)
    with torch.no_grad():
        sample, pixels = boxes[:, 0].long(), round_half_away(boxes[:, 1:].detach() * spatial_scale)
        rows = bin_edges(pixels[:, 1], pixels[:, 3], x.shape[2], num_rows)
        columns = bin_edges(pixels[:, 0], pixels[:, 2], x.shape[3], num_columns)
        winners = find_winners(x.detach(), sample, rows, columns)
    y: Tensor = RoIPoolFunction.apply(x, winners)
    return y


def round_half_away(x: Tensor) -> Tensor:
    """Round halves away from zero, as C does and torch.round does not."""
    return x.sign() * (x.abs() + 0.5).floor()


class RoIPool(nn.Module):
    """As torchvision.ops.RoIPool."""

    def __init__(self, output_size: int | tuple[int, int], spatial_scale: float = 1.0) -> None:
        super().__init__()
        self.output_size, self.spatial_scale = output_size, spatial_scale

    def forward(self, x: Tensor, boxes: Tensor) -> Tensor:
        return roi_pool(x, boxes, self.output_size, self.spatial_scale)
