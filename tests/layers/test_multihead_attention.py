import pytest
import torch

from deeprob import layers


def pair(*args, **options):
    """Ours and torch's, with the same parameters."""
    torch.manual_seed(0)
    theirs = torch.nn.MultiheadAttention(*args, **options).double()
    ours = layers.MultiheadAttention(*args, **options).double()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def assert_same(ours, theirs, inputs, **options):
    """Outputs, attention weights and the gradients of inputs and parameters."""
    results = []
    for attention in (ours, theirs):
        tracked = [x.clone().requires_grad_() for x in inputs]
        y, weights = attention(*(tracked * 3 if len(tracked) == 1 else tracked), **options)
        loss = (y * draw(*y.shape, seed=2)).sum()
        if weights is not None:
            loss = loss + (weights * draw(*weights.shape, seed=3)).sum()
        gradients = torch.autograd.grad(loss, [*tracked, *attention.parameters()])
        results.append([y, *gradients, *([] if weights is None else [weights])])
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
def test_self_attention_is_torchs(batch_first, need_weights):
    ours, theirs = pair(8, 2, batch_first=batch_first)
    assert_same(ours, theirs, [draw(3, 5, 8)], need_weights=need_weights)


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"kdim": 6, "vdim": 4}])
def test_cross_attention_is_torchs(options):
    ours, theirs = pair(8, 2, batch_first=True, **options)
    inputs = [draw(3, 5, 8), draw(3, 7, ours.kdim, seed=4), draw(3, 7, ours.vdim, seed=5)]
    for need_weights in (True, False):
        assert_same(ours, theirs, inputs, need_weights=need_weights)


def test_an_input_without_a_batch_axis():
    assert_same(*pair(8, 2), [draw(5, 8)], key_padding_mask=torch.tensor([False, True, False, False, True]))


def test_weights_of_each_head():
    assert_same(*pair(8, 2, batch_first=True), [draw(3, 5, 8)], average_attn_weights=False)


padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2, [False, True, False, True, False]])
masks = {
    "padding": {"key_padding_mask": padding},
    "padding, numbers": {"key_padding_mask": draw(3, 5)},
    "boolean": {"attn_mask": torch.ones(5, 5, dtype=torch.bool).triu(1)},
    "numbers": {"attn_mask": draw(5, 5)},
    "of each head": {"attn_mask": draw(6, 5, 5)},
    "both": {"attn_mask": draw(5, 5), "key_padding_mask": torch.zeros(3, 5, dtype=torch.float64)},
    "causal": {"attn_mask": torch.ones(5, 5, dtype=torch.bool).triu(1), "is_causal": True},
}


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("mask", masks.values(), ids=masks.keys())
def test_masks_are_torchs(mask, need_weights):
    assert_same(*pair(8, 2, batch_first=True), [draw(3, 5, 8)], need_weights=need_weights, **mask)


@pytest.mark.parametrize(
    "options", [{}, {"need_weights": False}, {"key_padding_mask": padding[:1].expand(3, 5)}]
)
def test_causal_without_a_mask_reads_nothing_later(options):
    ours, _ = pair(8, 2, batch_first=True)
    x = draw(3, 5, 8)
    changed = x.clone()
    changed[:, 3:] += 1
    for later in (changed, x):
        y, _ = ours(later, later, later, is_causal=True, **options)
        torch.testing.assert_close(y[:, :3], ours(x, x, x, is_causal=True, **options)[0][:, :3])


def test_dropout_drops_weights_in_training_only():
    torch.manual_seed(0)
    attention = layers.MultiheadAttention(8, 2, dropout=0.5, batch_first=True)
    x = torch.randn(2, 50, 8)
    _, weights = attention(x, x, x, average_attn_weights=False)
    assert 0.45 < (weights == 0).float().mean() < 0.55
    first, second = (attention(x, x, x, need_weights=False)[0] for _ in range(2))
    assert not torch.equal(first, second)
    attention.eval()
    first, second = (attention(x, x, x, need_weights=False)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_it_starts_as_torchs_does():
    torch.manual_seed(0)
    ours, theirs = layers.MultiheadAttention(64, 4), torch.nn.MultiheadAttention(64, 4)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for name, expected in theirs.state_dict().items():
        got = ours.state_dict()[name]
        assert got.std() == pytest.approx(expected.std().item(), rel=0.1), name


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: layers.MultiheadAttention(8, 3), "num_heads to divide 8, got 3"),
        (lambda: layers.MultiheadAttention(8, 2)(*[torch.zeros(8)] * 3), "query"),
        (lambda: layers.MultiheadAttention(8, 2)(*[torch.zeros(5, 3, 7)] * 3), r"x \(..., 8\)"),
        (
            lambda: layers.MultiheadAttention(8, 2)(*[torch.zeros(5, 3, 8)] * 3, attn_mask=torch.zeros(5, 4)),
            r"attn_mask \(5, 5\) or \(6, 5, 5\), got \(5, 4\)",
        ),
        (
            lambda: layers.MultiheadAttention(8, 2)(
                *[torch.zeros(5, 3, 8)] * 3, torch.ones(3, 5, dtype=torch.int64)
            ),
            r"key_padding_mask of torch.bool, or of a floating dtype, got torch.int64",
        ),
        (
            lambda: layers.MultiheadAttention(8, 2)(
                *[torch.zeros(5, 3, 8)] * 3, attn_mask=torch.ones(5, 5, dtype=torch.uint8)
            ),
            r"attn_mask of torch.bool, or of a floating dtype, got torch.uint8",
        ),
        (
            lambda: layers.MultiheadAttention(8, 2)(*[torch.zeros(5, 3, 8)] * 3, torch.zeros(5, 3)),
            r"key_padding_mask \(3, 5\), got \(5, 3\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, expected):
    with pytest.raises(ValueError, match=expected):
        call()
