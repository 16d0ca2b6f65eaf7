import math

import pytest
import torch

from deeprob.layers import add, copy, exp, gelu, maximum, mul, reciprocal, sigmoid, tanh


def test_the_lectures_neuron():
    """CS231n, backpropagation: 1 / (1 + e^-(w0 x0 + w1 x1 + w2)), gate by gate."""
    w = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (2.0, -3.0, -3.0)]
    x = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (-1.0, -2.0)]
    score = add(add(mul(w[0], x[0]), mul(w[1], x[1])), w[2])
    one, minus_one = torch.tensor(1.0).double(), torch.tensor(-1.0).double()
    by_gates = reciprocal(add(exp(mul(score, minus_one)), one))
    slope = 1 / (1 + math.exp(-1)) * (1 - 1 / (1 + math.exp(-1)))
    expected = [-1 * slope, -2 * slope, slope, 2 * slope, -3 * slope]
    for y in (by_gates, sigmoid(score)):
        gradients = torch.autograd.grad(y, [*w, *x], retain_graph=True)
        assert [g.item() for g in gradients] == pytest.approx(expected, rel=1e-12)


def test_a_copys_gradient_is_the_sum_of_its_branches():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    a, b, c = copy(x, 3)
    (dx,) = torch.autograd.grad((2 * a + 3 * b + 0 * c).sum(), x)
    assert dx.tolist() == [5.0, 5.0]


def test_copies_share_memory():
    x = torch.randn(3)
    assert all(c.data_ptr() == x.data_ptr() for c in copy(x, 2))


def test_an_unused_copy_adds_nothing():
    x = torch.ones(2, requires_grad=True)
    first, _ = copy(x)
    (dx,) = torch.autograd.grad(first.sum(), x)
    assert dx.tolist() == [1.0, 1.0]


def test_a_tie_gives_each_half():
    a, b = (torch.tensor([1.0, 2.0, 3.0], requires_grad=True) for _ in range(2))
    da, db = torch.autograd.grad(maximum(a, b).sum(), (a, b))
    assert da.tolist() == db.tolist() == [0.5, 0.5, 0.5]


def test_a_shape_that_does_not_broadcast_is_named():
    with pytest.raises(ValueError, match=r"add: expected b to broadcast with a \(2, 3\), got \(2, 4\)"):
        add(torch.zeros(2, 3), torch.zeros(2, 4))


def test_a_gradient_that_nobody_needs_is_not_made():
    a, b = torch.randn(3, requires_grad=True), torch.randn(3)
    y = mul(a, b)
    assert y.grad_fn.apply(torch.ones(3))[1] is None


@pytest.mark.parametrize(
    ("function", "formula"),
    [
        (tanh, torch.tanh),
        (
            lambda x: gelu(x, approximate="tanh"),
            lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
        ),
    ],
    ids=["tanh", "tanh gelu"],
)
def test_loops_with_an_exponential_of_their_own_keep_their_digits(function, formula):
    sizes = torch.logspace(-6, 1.9, 4000)
    x = torch.cat([sizes, -sizes])
    with torch.no_grad():
        torch.testing.assert_close(function(x).double(), formula(x.double()), rtol=1e-6, atol=1e-9)
        strange = torch.tensor([torch.inf, torch.nan, 0.0]).repeat(2000)
        torch.testing.assert_close(function(strange), formula(strange), equal_nan=True)
