"""RoIAlign: the part of a feature map under each box, resampled to one size.

    x (N, C, H, W) feature maps    boxes (K, 5): (sample, x1, y1, x2, y2) in image pixels    y (K, C, P, Q)

    Y_k = A_k X_n(k) B_k^T         A_k (P, H) and B_k (Q, W) average over each row and column of bins

    dX_n = sum over the boxes k on sample n of A_k^T dY_k B_k

A bin is (box height / P) high and is read at `sampling_ratio` evenly spaced positions (0: one a feature
pixel, rounded up) by linear interpolation, whose weights are products of one in y and one in x: so is their
average. Positions more than a pixel outside the map read 0; nearer ones are moved to its edge. `aligned`
shifts boxes by half a pixel, so that pixel centres lie on whole numbers; without it a box is at least one
pixel large, as in the first publication. The boxes are constants.
Cost: 2 C P H W FLOPs a box each way (a matrix product); saves A and B, no feature map.
Source: He et al. 2017, Mask R-CNN, section 3; torchvision.ops.roi_align for the conventions.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ._function import Function, expect, expect_alike, is_watched, may_overwrite
from ._values import expect_indices

BLOCK = 1 << 20  # numbers between the two products, held at a time


class RoIAlignFunction(Function):
    """Y_k = A_k X_n(k) B_k^T. `sample` (K,) is n(k); a (K, P, H) and b (K, Q, W) are constants."""

    autocast_dtype = "widest"

    @staticmethod
    def forward(x: Tensor, sample: Tensor, a: Tensor, b: Tensor) -> Tensor:
        if not may_go_through(x):
            return a[:, None] @ x.index_select(0, sample) @ b[:, None].mT
        y = x.new_empty(len(a), x.shape[1], a.shape[1], b.shape[1])
        for n, boxes in boxes_by_sample(sample, x, b.shape[1]):
            columns = x[n].flatten(0, 1) @ b[boxes].flatten(0, 1).T  # (C H, k Q): all boxes in one product
            columns = columns.reshape(*x.shape[1:3], len(boxes), b.shape[1])
            y[boxes] = a[boxes][:, None] @ columns.permute(2, 0, 1, 3)
        return y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, *constants = inputs
        ctx.save_for_backward(*constants)
        ctx.save_for_forward(*constants)
        ctx.shape = x.shape

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        sample, a, b = ctx.saved_tensors
        dx = dy.new_zeros(ctx.shape)
        if not may_go_through(dy):
            return dx.index_add(0, sample, a[:, None].mT @ dy @ b[:, None]), None, None, None
        for n, boxes in boxes_by_sample(sample, dx, b.shape[1]):
            rows = a[boxes][:, None].mT @ dy[boxes]  # (k, C, H, Q)
            rows = rows.permute(1, 2, 0, 3).reshape(-1, len(boxes) * b.shape[1])
            dx[n].flatten(0, 1).addmm_(rows, b[boxes].flatten(0, 1))
        return dx, None, None, None

    @staticmethod
    def tangent(ctx: Any, x_dot: Tensor, *_: None) -> Any:
        sample, a, b = ctx.saved_tensors
        return a[:, None] @ x_dot.index_select(0, sample) @ b[:, None].mT


def may_go_through(x: Tensor) -> bool:
    """Whether boxes may be taken sample by sample: a watcher would write down which ones lie where."""
    return may_overwrite(x) and not x.is_meta and not is_watched()


def boxes_by_sample(sample: Tensor, x: Tensor, num_columns: int) -> list[tuple[int, Tensor]]:
    """List (n, indices of some of the boxes on sample n), few enough to hold C H Q numbers for each."""
    step = max(1, BLOCK // max(1, x.shape[1] * x.shape[2] * num_columns))
    groups = []
    for n in sorted(set(sample.tolist())):
        groups += [(n, part) for part in (sample == n).nonzero().squeeze(1).split(step)]
    return groups


def bin_weights(start: Tensor, extent: Tensor, size: int, num_bins: int, sampling_ratio: int) -> Tensor:
    """A (K, num_bins, size): the mean over each bin's samples of the weights they read `size` pixels with."""
    bin_size = extent / num_bins
    count = bin_size.ceil().clamp_min(1) if sampling_ratio <= 0 else torch.full_like(bin_size, sampling_ratio)
    largest = (
        sampling_ratio if sampling_ratio > 0 else int(count.max()) if len(count) and not count.is_meta else 1
    )
    i = torch.arange(largest, dtype=start.dtype, device=start.device)
    bins = torch.arange(num_bins, dtype=start.dtype, device=start.device)
    offset = (bins[:, None] + (i + 0.5) / count[:, None, None]) * bin_size[:, None, None]
    position = start[:, None, None] + offset  # (K, bins, samples)
    used = (position >= -1) & (position <= size) & (i < count[:, None, None])
    return (hat(position.clamp(0, size - 1), size) * used[..., None]).sum(2) / count[:, None, None]


def hat(position: Tensor, size: int) -> Tensor:
    """Return the weights (..., size) with which positions (...) read pixels i: max(0, 1 - |position - i|).

    The two pixels next to a position share 1 in proportion to nearness; outside [0, size - 1] it fades to 0.
    """
    pixels = torch.arange(size, dtype=position.dtype, device=position.device)
    return (1 - (position[..., None] - pixels).abs()).clamp_min(0)


def roi_align(
    x: Tensor,
    boxes: Tensor,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Tensor:
    """Return x (N, C, H, W) under boxes (K, 5), (sample, x1, y1, x2, y2), as (K, C, P, Q) of output_size.

    spatial_scale turns box units into feature pixels (1 / stride). sampling_ratio <= 0 looks at the boxes,
    which torch.compile cannot follow. Raises ValueError where shapes, dtypes, devices or sample indices do
    not fit.
    """
    num_rows, num_columns = (output_size, output_size) if isinstance(output_size, int) else output_size
    expect_boxes("roi_align", x, boxes, num_rows, num_columns)
    sample, edges = boxes[:, 0].long(), boxes[:, 1:].detach() * spatial_scale - (0.5 if aligned else 0.0)
    extent = edges[:, 2:] - edges[:, :2]
    extent = extent if aligned else extent.clamp_min(1)
    a = bin_weights(edges[:, 1], extent[:, 1], x.shape[2], num_rows, sampling_ratio)
    b = bin_weights(edges[:, 0], extent[:, 0], x.shape[3], num_columns, sampling_ratio)
    y: Tensor = RoIAlignFunction.apply(x, sample, a, b)
    return y


def expect_boxes(layer: str, x: Tensor, boxes: Tensor, num_rows: int, num_columns: int) -> None:
    """Raise ValueError unless x is (N, C, H, W), boxes are (K, 5) on its samples, and there are bins."""
    expect(x.dim() == 4 and min(x.shape[2:]) > 0, layer, "x (N, C, H, W) of some pixels", x)
    expect(boxes.dim() == 2 and boxes.shape[1] == 5, layer, "boxes (K, 5): sample, x1, y1, x2, y2", boxes)
    expect_alike(layer, x=x, boxes=boxes)
    expect(min(num_rows, num_columns) > 0, layer, "output_size above 0", (num_rows, num_columns))
    expect_indices(layer, boxes[:, 0].long(), len(x))


class RoIAlign(nn.Module):
    """As torchvision.ops.RoIAlign."""

    def __init__(
        self,
        output_size: int | tuple[int, int],
        spatial_scale: float = 1.0,
        sampling_ratio: int = -1,
        aligned: bool = False,
    ) -> None:
        super().__init__()
        self.output_size, self.spatial_scale = output_size, spatial_scale
        self.sampling_ratio, self.aligned = sampling_ratio, aligned

    def forward(self, x: Tensor, boxes: Tensor) -> Tensor:
        return roi_align(x, boxes, self.output_size, self.spatial_scale, self.sampling_ratio, self.aligned)
