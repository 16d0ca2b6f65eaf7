import pytest
import torch

from deeprob.layers import concat, split, take_rows


def test_a_joined_gradient_comes_back_in_parts():
    a, b = torch.zeros(2, 1, requires_grad=True), torch.zeros(2, 2, requires_grad=True)
    y = concat([a, b], dim=1)
    da, db = torch.autograd.grad(y, (a, b), torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    assert da.tolist() == [[1.0], [4.0]]
    assert db.tolist() == [[2.0, 3.0], [5.0, 6.0]]


def test_split_undoes_concat():
    parts = [torch.randn(2, n, 3) for n in (4, 1, 2)]
    for part, same in zip(parts, split(concat(parts, dim=-2), [4, 1, 2], dim=-2), strict=True):
        assert torch.equal(part, same)


def test_a_part_that_nobody_reads_gives_zeros():
    x = torch.ones(5, requires_grad=True)
    _, second, _ = split(x, 2)
    assert torch.autograd.grad((3 * second).sum(), x)[0].tolist() == [0, 0, 3, 3, 0]


def test_the_parts_share_memory():
    x = torch.zeros(4, 6)
    assert split(x, [2, 4], dim=1)[1].data_ptr() == x[:, 2:].data_ptr()


def test_concat_keeps_pixels_innermost():
    maps = [torch.randn(2, c, 4, 5).contiguous(memory_format=torch.channels_last) for c in (3, 4)]
    assert concat(maps, dim=1).is_contiguous(memory_format=torch.channels_last)


def test_concat_joins_mixed_precision_in_the_wider_one():
    with torch.autocast("cpu", torch.bfloat16):
        y = concat([torch.zeros(2, 3, dtype=torch.bfloat16), torch.zeros(2, 3)])
    assert y.dtype == torch.float32


def test_tensors_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"expected tensor 1 as the first, \(2, 3\), .* got \(1, 4\)"):
        concat([torch.zeros(2, 3), torch.zeros(1, 4)], dim=1)


def test_a_row_taken_twice_collects_twice():
    x = torch.arange(6.0).reshape(3, 2).requires_grad_()
    y = take_rows(x, torch.tensor([2, 0, 2]))
    assert y.tolist() == [[4, 5], [0, 1], [4, 5]]
    (dx,) = torch.autograd.grad(y, x, torch.tensor([[1.0, 1.0], [2.0, 2.0], [10.0, 20.0]]))
    assert dx.tolist() == [[2, 2], [0, 0], [11, 21]]


def test_the_rows_of_a_mask_are_taken_in_order():
    x = torch.randn(2, 5, 3, requires_grad=True)
    mask = torch.tensor([[0, 1, 0, 0, 1], [1, 0, 0, 0, 0]]).bool()
    y = take_rows(x, *mask.nonzero(as_tuple=True))
    assert torch.equal(y, x[mask])
    assert torch.autograd.grad(y.sum(), x)[0].sum(-1).div(3).bool().equal(mask)


def test_no_rows_give_a_zero_gradient():
    x = torch.randn(4, 3, requires_grad=True)
    y = take_rows(x, torch.zeros(0, dtype=torch.long))
    assert y.shape == (0, 3)
    assert torch.autograd.grad(y.sum(), x)[0].eq(0).all()


def test_a_row_outside_of_its_own_axis_is_named():
    with pytest.raises(ValueError, match=r"take_rows: expected indices in \[0, 2\), got 0 to 2"):
        take_rows(torch.zeros(2, 9), torch.tensor([0, 2]), torch.tensor([0, 0]))
