import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from deeprob.layers import _attention_blocks, scaled_dot_product_attention


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


def inputs(num_queries=5, num_keys=6):
    return draw(2, 3, num_queries, 4), draw(2, 3, num_keys, 4, seed=1), draw(2, 3, num_keys, 3, seed=2)


def results(*tensors, seed=7, **options):
    """Output and gradients, the same weights dropped each time."""
    torch.manual_seed(seed)
    y = scaled_dot_product_attention(*tensors, **options)
    return [y, *torch.autograd.grad(y, tensors, draw(*y.shape, seed=3).detach())]


@pytest.mark.parametrize("block", [1, 7, 20, 40, 100])
@pytest.mark.parametrize(
    "options", [{}, {"is_causal": True}, {"dropout_p": 0.4}, {"is_causal": True, "dropout_p": 0.4}]
)
def test_blocks_of_any_size_give_the_same(monkeypatch, block, options):
    whole = results(*inputs(), **options)
    monkeypatch.setattr(_attention_blocks, "BLOCK", block)
    for got, expected in zip(results(*inputs(), **options), whole, strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("shape", [(5, 6), (3, 1, 6), (2, 1, 5, 1), (2, 3, 5, 6)])
def test_blocks_cut_an_added_mask_and_sum_its_gradient(monkeypatch, shape):
    tensors = (*inputs(), draw(*shape, seed=4))
    whole = results(*tensors)
    monkeypatch.setattr(_attention_blocks, "BLOCK", 7)
    for got, expected in zip(results(*tensors), whole, strict=True):
        torch.testing.assert_close(got, expected)


def test_dropout_in_the_derivatives_is_the_dropout_of_the_output():
    def attention(*tensors):
        torch.manual_seed(0)
        return scaled_dot_product_attention(*tensors, dropout_p=0.4)

    q, k, v = draw(1, 2, 3, 2), draw(1, 2, 4, 2, seed=1), draw(1, 2, 4, 2, seed=2)
    assert gradcheck(attention, (q, k, v), check_forward_ad=True)
    assert gradgradcheck(attention, (q, k, v))


def test_dropout_drops_its_share_and_scales_the_rest():
    torch.manual_seed(0)
    q, k = torch.zeros(2, 2, 64, 1), torch.zeros(2, 2, 64, 1)
    values = torch.eye(64).expand(2, 2, 64, 64)  # y is then the weights themselves: 1 / 64, dropped or scaled
    y = scaled_dot_product_attention(q, k, values, dropout_p=0.25) * 64
    assert (y == 0).float().mean() == pytest.approx(0.25, abs=0.02)
    torch.testing.assert_close(y[y != 0], torch.full_like(y[y != 0], 4 / 3))


def test_dropout_of_all_gives_zero():
    q, k, v = inputs()
    assert scaled_dot_product_attention(q, k, v, dropout_p=1.0).eq(0).all()


def test_a_query_without_a_key_gives_zero_and_gets_no_gradient():
    q, k, v = inputs()
    mask = torch.ones(5, 6, dtype=torch.bool)
    mask[2] = False
    y, dq, dk, dv = (r.detach() for r in results(q, k, v, attn_mask=mask))
    assert y[:, :, 2].eq(0).all()
    assert dq[:, :, 2].eq(0).all()
    assert all(r.isfinite().all() for r in (y, dq, dk, dv))


def test_no_weights_are_saved():
    saved = []
    q, k, v = (torch.randn(1, 2, 300, 4, requires_grad=True) for _ in range(3))
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        scaled_dot_product_attention(q, k, v)
    assert sum(t.numel() for t in saved) == 3 * q.numel()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("dropout", [0.0, 1e-9])  # by loops, and by the formula
def test_half_precision_rounds_what_goes_out_and_nothing_before(dtype, dropout):
    generator = torch.Generator().manual_seed(0)
    q, k, v, dy = (torch.randn(2, 3, 150, 32, generator=generator).mul(2).to(dtype) for _ in range(4))
    found = []
    for wider in (dtype, torch.float64):
        inputs = [t.to(wider, copy=True).requires_grad_() for t in (q, k, v)]
        y = scaled_dot_product_attention(*inputs, dropout_p=dropout)
        found.append([y, *torch.autograd.grad(y, inputs, dy.to(wider))])
    for got, expected in zip(*found, strict=True):
        assert got.dtype == dtype
        off = (got.double() - expected).abs() / expected.abs().clamp_min(1e-2 * expected.abs().max())
        assert (
            off.max() < 1.1 * torch.finfo(dtype).eps / 2
        )  # each number to the nearest, but for those near 0


def test_memory_of_a_step_is_linear_in_the_length():
    """No tensor made on the way, forward or backward, comes near the L x S weights."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        passes_over_loops, size = True, 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            for t in out if isinstance(out, tuple | list) else [out]:
                if isinstance(t, torch.Tensor):
                    self.size = max(self.size, t.untyped_storage().nbytes() // t.element_size())
            return out

    q, k, v = (torch.randn(1, 1, 2048, 8, requires_grad=True) for _ in range(3))
    with Largest() as largest:
        scaled_dot_product_attention(q, k, v).sum().backward()
    assert largest.size <= _attention_blocks.BLOCK < 2048 * 2048 / 8


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"attn_mask": True}, {"scale": -0.2}])
@pytest.mark.parametrize("sizes", [(4, 5), (32, 16)])  # whole panels, and not
@pytest.mark.parametrize("lengths", [(20, 9), (20, 150), (230, 300)])  # the last in several blocks
def test_the_loops_equal_the_formula_in_float64(lengths, sizes, options):
    generator = torch.Generator().manual_seed(0)
    num_queries, num_keys = lengths
    rows = [num_queries, num_keys, num_keys, num_queries]
    columns = [sizes[0], sizes[0], sizes[1], sizes[1]]
    tensors = [torch.randn(2, 3, *s, generator=generator) * 3 for s in zip(rows, columns, strict=True)]
    if "attn_mask" in options:
        mask = torch.randn(num_queries, num_keys, generator=generator) * 4
        mask[mask > 2] = -torch.inf
        mask[7] = -torch.inf
        options = {"attn_mask": mask}
    found = []
    for dtype in (torch.float32, torch.float64):
        q, k, v, dy = (t.to(dtype, copy=True).requires_grad_() for t in tensors)
        kept = {n: o.to(dtype) if isinstance(o, torch.Tensor) else o for n, o in options.items()}
        y = scaled_dot_product_attention(q, k, v, **kept)
        found.append([y, *torch.autograd.grad(y, (q, k, v), dy.detach())])
    for got, expected in zip(*found, strict=True):
        torch.testing.assert_close(got.double(), expected, rtol=1e-4, atol=2e-6 * expected.abs().max().item())


@pytest.mark.parametrize("enabled", [True, False])
def test_a_mask_of_integers_is_refused_under_autocast_too(enabled):
    q = torch.zeros(1, 4, 8)
    with torch.autocast("cpu", torch.bfloat16, enabled=enabled), pytest.raises(ValueError, match="int64"):
        scaled_dot_product_attention(q, q, q, torch.ones(4, 4, dtype=torch.int64))
