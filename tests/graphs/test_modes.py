import itertools
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deeprob import layers as L
from deeprob.errors import InputError
from deeprob.graphs import jvp, vjp
from deeprob.graphs.modes import best_order, chain_orders, count, product, verdict


def all_brackets(first, last):
    if first == last:
        yield first
    for cut in range(first, last):
        yield from itertools.product(all_brackets(cut + 1, last), all_brackets(first, cut))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 30), min_size=3, max_size=7))
def test_the_best_order_is_the_best_of_all(sizes):
    costs = [count(bracket, sizes) for bracket in all_brackets(1, len(sizes) - 1)]
    assert count(best_order(sizes), sizes) == min(costs)


def test_reverse_costs_outputs_and_forward_costs_inputs():
    reverse, forward, best = chain_orders([4096, 512, 512, 1], measure=False)
    assert reverse.multiplications == 1 * 512 * 512 + 1 * 512 * 4096
    assert forward.multiplications == 512 * 512 * 4096 + 1 * 512 * 4096
    assert best.multiplications == reverse.multiplications
    assert (reverse.formula, forward.formula) == ("(J3 J2) J1", "J3 (J2 J1)")


def test_every_order_gives_the_same_product():
    torch.manual_seed(0)
    sizes = [3, 4, 2, 5, 1]
    jacobians = [torch.randn(b, a).double() for a, b in itertools.pairwise(sizes)]
    expected = torch.linalg.multi_dot(jacobians[::-1])
    for order in chain_orders(sizes, measure=False):
        torch.testing.assert_close(product(order.bracket, jacobians), expected)


def test_the_products_are_measured():
    assert all(order.seconds > 0 for order in chain_orders([8, 4, 2]))
    assert all(order.seconds is None for order in chain_orders([10**5, 10**5, 10**5]))


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ([4096, 512, 512, 1], "Reverse mode is 456 times cheaper than forward: there are fewer outputs"),
        ([1, 512, 512, 4096], "Forward mode is 456 times cheaper than reverse: there are fewer inputs"),
        ([100, 5, 100, 5, 100], "cost the same; the best order, .* is another 2.73 times cheaper"),
    ],
)
def test_the_verdict_says_which_mode_and_why(sizes, said):
    assert re.search(said, verdict(sizes, chain_orders(sizes, measure=False)))


@pytest.mark.parametrize("sizes", [[3, 4], [3, 0, 1], [2] * 200])
def test_sizes_that_make_no_chain_are_refused(sizes):
    with pytest.raises(InputError, match=r"chain: cannot use .* expected 3 to 100 positive sizes"):
        chain_orders(sizes)


def test_forward_and_reverse_mode_of_a_model_agree():
    """dy . (J x_dot) = (J^T dy) . x_dot, and both agree with finite differences."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        L.Conv2d(2, 3, 3), L.BatchNorm2d(3), L.ReLU(), L.MaxPool2d(2), torch.nn.Flatten(), L.Linear(12, 4)
    ).double()
    x, x_dot, dy = (
        torch.randn(2, 2, 6, 6).double(),
        torch.randn(2, 2, 6, 6).double(),
        torch.randn(2, 4).double(),
    )
    y, y_dot = jvp(model, x, x_dot)
    same_y, dx = vjp(model, x, dy)
    torch.testing.assert_close(y, same_y)
    torch.testing.assert_close((dy * y_dot).sum(), (dx * x_dot).sum())
    step = 1e-6
    slope = (model(x + step * x_dot) - model(x - step * x_dot)).detach() / (2 * step)
    torch.testing.assert_close(y_dot, slope, rtol=1e-5, atol=1e-6)


def test_a_constant_model_has_no_tangent():
    y, y_dot = jvp(lambda x: torch.ones(3), torch.zeros(2), torch.ones(2))
    assert y.tolist() == [1, 1, 1]
    assert y_dot.tolist() == [0, 0, 0]
