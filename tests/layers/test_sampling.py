import importlib

import pytest
import torch

from deeprob.layers import RoIAlign, RoIPool, grid_sample, interpolate, roi_align, roi_pool


def ramp(height, width):
    """An image of one channel that grows by 1 a pixel to the right and by 10 a pixel down."""
    return (10.0 * torch.arange(height)[:, None] + torch.arange(width))[None, None]


def test_doubling_a_row_keeps_its_outer_edges():
    x = torch.tensor([0.0, 4.0]).reshape(1, 1, 1, 2)
    assert interpolate(x, (1, 4), mode="bilinear").flatten().tolist() == [0.0, 1.0, 3.0, 4.0]
    corners = interpolate(x, (1, 5), mode="bilinear", align_corners=True)
    assert corners.flatten().tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_every_output_hands_back_a_gradient_of_one():
    x = torch.randn(2, 3, 7, 5, requires_grad=True)
    for mode in ("nearest", "bilinear"):
        (dx,) = torch.autograd.grad(interpolate(x, (11, 3), mode=mode).sum(), x)
        assert dx.sum().item() == pytest.approx(2 * 3 * 11 * 3, rel=1e-5)


def test_scales_decide_the_size_by_rounding_down():
    assert interpolate(torch.zeros(1, 1, 5, 5), scale_factor=1.5).shape == (1, 1, 7, 7)


@pytest.mark.parametrize("align_corners", [True, False])
def test_the_identity_grid_reads_the_image(align_corners):
    x, size = ramp(4, 6), (4, 6)
    axes = [torch.linspace(-1, 1, n) if align_corners else (2 * torch.arange(n) + 1) / n - 1 for n in size]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1)[None]
    for mode in ("bilinear", "nearest"):
        torch.testing.assert_close(grid_sample(x, grid, mode, align_corners=align_corners), x)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("channels", [1, 3, 9, 17])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("padding_mode", ["zeros", "border"])
@pytest.mark.parametrize("align_corners", [True, False])
def test_loops_along_a_grid_equal_the_formula(layout, channels, mode, padding_mode, align_corners):
    x = torch.randn(2, channels, 6, 5).contiguous(memory_format=layout)
    grid = 3 * torch.rand(2, 7, 11, 2) - 1.5
    results = []
    for dtype in (torch.float32, torch.float64):  # loops are for float32 alone
        inputs = [t.to(dtype).requires_grad_() for t in (x, grid)]
        y = grid_sample(*inputs, mode, padding_mode, align_corners)
        results.append((y, *torch.autograd.grad(y.square().sum(), inputs)))
    for ours, formula in zip(*results, strict=True):
        torch.testing.assert_close(ours, formula.float(), rtol=1e-4, atol=1e-4)


def test_an_infinite_pixel_is_read_only_where_it_is_asked_for():
    x = torch.ones(1, 1, 4, 4)
    x[0, 0, 1:3, 1:3] = float("inf")
    corners = torch.tensor([[-3.0, 0.0], [-0.75, -0.75], [0.75, 0.75], [0.0, 9.0]])[None, None]
    assert grid_sample(x, corners, "nearest").flatten().tolist() == [0.0, 1.0, 1.0, 0.0]
    assert grid_sample(x, corners, "bilinear")[0, 0, 0, [0, 3]].tolist() == [0.0, 0.0]


def test_positions_that_are_no_numbers_do_not_crash():
    x = torch.ones(1, 2, 3, 3, requires_grad=True)
    grid = torch.tensor([float("nan"), float("inf"), 1e30, -1e30]).reshape(1, 1, 2, 2)
    y = grid_sample(x, grid)
    (dx,) = torch.autograd.grad(y.sum(), x)
    assert dx.eq(0).all()


def test_channels_last_stays_channels_last():
    x = torch.randn(2, 4, 5, 6).contiguous(memory_format=torch.channels_last).requires_grad_()
    grid = torch.rand(2, 3, 3, 2) - 0.5
    for y in (interpolate(x, 7, mode="bilinear"), grid_sample(x, grid)):
        assert y.is_contiguous(memory_format=torch.channels_last)
        assert torch.autograd.grad(y.square().sum(), x)[0].is_contiguous(memory_format=torch.channels_last)


def test_aligned_bins_of_one_pixel_read_the_pixels():
    x = ramp(4, 6)
    boxes = torch.tensor([[0.0, 0.0, 0.0, 6.0, 4.0]])
    torch.testing.assert_close(RoIAlign((4, 6), sampling_ratio=1, aligned=True)(x, boxes), x)


def test_a_linear_map_is_averaged_at_the_centres_of_its_bins():
    y = roi_align(ramp(20, 20), torch.tensor([[0.0, 4.0, 6.0, 8.0, 14.0]]), 2, sampling_ratio=3, aligned=True)
    expected = [[10 * (8 - 0.5) + (5 - 0.5), 10 * 7.5 + 6.5], [10 * 11.5 + 4.5, 10 * 11.5 + 6.5]]
    torch.testing.assert_close(y[0, 0], torch.tensor(expected))


def test_a_box_far_outside_the_map_reads_zero():
    y = roi_align(torch.ones(1, 1, 4, 4), torch.tensor([[0.0, 20.0, 20.0, 30.0, 30.0]]), 2, sampling_ratio=2)
    assert y.eq(0).all()


def test_many_boxes_are_taken_in_groups(monkeypatch):
    x = torch.randn(3, 4, 8, 8, requires_grad=True)
    boxes = torch.cat([torch.tensor([[2.0], [0.0], [2.0], [2.0]]), torch.rand(4, 2), 4 + torch.rand(4, 2)], 1)
    results = []
    for block in (1 << 20, 1):
        monkeypatch.setattr(importlib.import_module("deeprob.layers.roi_align"), "BLOCK", block)
        y = roi_align(x, boxes, 2, sampling_ratio=2)
        results.append((y, torch.autograd.grad(y.square().sum(), x)[0]))
    torch.testing.assert_close(results[0], results[1])


def test_pooling_takes_the_largest_and_the_first_of_equals():
    x = torch.zeros(1, 1, 4, 4)
    x[0, 0, 1, 2] = 5
    x.requires_grad_()
    y = RoIPool(2)(x, torch.tensor([[0.0, 0.0, 0.0, 3.0, 3.0]]))
    assert y.flatten().tolist() == [0.0, 5.0, 0.0, 0.0]
    (dx,) = torch.autograd.grad(y.sum(), x)
    assert dx.nonzero()[:, 2:].tolist() == [[0, 0], [1, 2], [2, 0], [2, 2]]


@pytest.mark.parametrize("pool", [roi_align, roi_pool])
def test_no_boxes_give_no_output_and_a_zero_gradient(pool):
    x = torch.randn(1, 3, 4, 4, requires_grad=True)
    y = pool(x, torch.zeros(0, 5), 2)
    assert y.shape == (0, 3, 2, 2)
    assert torch.autograd.grad(y.sum(), x)[0].eq(0).all()


@pytest.mark.parametrize("pool", [roi_align, roi_pool])
def test_a_box_on_a_sample_that_is_not_there_is_named(pool):
    with pytest.raises(ValueError, match=r"expected indices in \[0, 2\), got 2 to 2"):
        pool(torch.zeros(2, 3, 4, 4), torch.tensor([[2.0, 0.0, 0.0, 3.0, 3.0]]), 2)
