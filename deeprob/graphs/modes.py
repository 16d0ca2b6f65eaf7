"""The two modes: a chain's derivative is a product of Jacobians, and products can be taken in any order.

    x0 (D0) -> x1 (D1) -> ... -> xn (Dn)        dxn/dx0 = Jn ... J2 J1,  Ji = dxi/dx(i-1)  (Di, D(i-1))

    reverse mode    ((Jn Jn-1) ...) J1     every step costs Dn Di D(i-1): cheap where there are few outputs
    forward mode    Jn (... (J2 J1))       every step costs Di D(i-1) D0: cheap where there are few inputs
    the best order  found by dynamic programming over all bracketings

Source: Johnson, backpropagation lecture, forward and reverse mode; Godbole, On efficient computation of
matrix chain products (1973).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from deeprob.errors import InputError

Bracket = Any
"""An int is the Jacobian of that step, from 1; a pair is the product of two brackets."""

MOST_STEPS, MOST_MEASURED = 100, 2e12


@dataclass(frozen=True)
class Order:
    """One order of the products. multiplications: of two numbers; seconds: measured, None where not."""

    name: str
    bracket: Bracket
    multiplications: int
    seconds: float | None = None

    @property
    def formula(self) -> str:
        return _spell(self.bracket, outermost=True)


def chain_orders(sizes: Sequence[int], measure: bool = True) -> list[Order]:
    """Count, and measure, reverse, forward and the best order for a chain of these sizes D0, D1, ..., Dn.

    Raises InputError unless there are at least three sizes, all positive.
    """
    if len(sizes) < 3 or min(sizes) < 1 or len(sizes) > MOST_STEPS:
        raise InputError(
            f"cannot use {','.join(map(str, sizes))}",
            where="chain",
            expected=f"3 to {MOST_STEPS} positive sizes, as 4096,512,512,1",
        )
    steps = len(sizes) - 1
    backwards: Bracket = steps
    for i in range(steps - 1, 0, -1):
        backwards = (backwards, i)
    forwards: Bracket = 1
    for i in range(2, steps + 1):
        forwards = (i, forwards)
    found = [("reverse", backwards), ("forward", forwards), ("best", best_order(sizes))]
    orders = [Order(name, bracket, count(bracket, sizes)) for name, bracket in found]
    if not measure or max(o.multiplications for o in orders) > MOST_MEASURED:
        return orders
    generator = torch.Generator().manual_seed(0)
    jacobians = [torch.randn(b, a, generator=generator) / a**0.5 for a, b in pairwise(sizes)]
    return [Order(o.name, o.bracket, o.multiplications, _seconds(o.bracket, jacobians)) for o in orders]


def best_order(sizes: Sequence[int]) -> Bracket:
    """The bracketing with the fewest multiplications, by dynamic programming in O(n^3)."""

    @cache
    def best(first: int, last: int) -> tuple[int, Bracket]:
        if first == last:
            return 0, first
        choices = []
        for cut in range(first, last):
            right, left = best(first, cut), best(cut + 1, last)
            cost = right[0] + left[0] + sizes[last] * sizes[cut] * sizes[first - 1]
            choices.append((cost, cut, (left[1], right[1])))
        cost, _, bracket = min(choices, key=lambda choice: choice[:2])
        return cost, bracket

    return best(1, len(sizes) - 1)[1]


def count(bracket: Bracket, sizes: Sequence[int]) -> int:
    """Multiplications of two numbers that a bracketing takes."""

    def walk(b: Bracket) -> tuple[int, int, int]:  # cost, rows, columns
        if isinstance(b, int):
            return 0, sizes[b], sizes[b - 1]
        (left, rows, inner), (right, _, columns) = walk(b[0]), walk(b[1])
        return left + right + rows * inner * columns, rows, columns

    return walk(bracket)[0]


def product(bracket: Bracket, jacobians: Sequence[Tensor]) -> Tensor:
    """The product Jn ... J1 in the order of the bracket; jacobians[i - 1] is Ji."""
    if isinstance(bracket, int):
        return jacobians[bracket - 1]
    return product(bracket[0], jacobians) @ product(bracket[1], jacobians)


def verdict(sizes: Sequence[int], orders: Sequence[Order]) -> str:
    """When which mode is cheaper, in words."""
    reverse, forward, best = orders
    first, last = sizes[0], sizes[-1]
    if reverse.multiplications == forward.multiplications:
        told = "Reverse and forward mode cost the same"
    else:
        cheap, dear = sorted((reverse, forward), key=lambda o: o.multiplications)
        ratio = dear.multiplications / cheap.multiplications
        told = f"{cheap.name.capitalize()} mode is {ratio:.3g} times cheaper than {dear.name}"
    few = "outputs than inputs" if last < first else "inputs than outputs" if first < last else ""
    told += f": there are fewer {few} ({min(first, last)} against {max(first, last)})" if few else ""
    if best.multiplications < min(reverse.multiplications, forward.multiplications):
        saved = min(reverse.multiplications, forward.multiplications) / best.multiplications
        told += f"; the best order, {best.formula}, is another {saved:.3g} times cheaper"
    return told + "."


def jvp(model: Callable[[Tensor], Tensor], x: Tensor, x_dot: Tensor) -> tuple[Tensor, Tensor]:
    """Forward mode: return y = model(x) and J x_dot, in one pass and without a tape. Shapes as x and y."""
    with torch.no_grad(), forward_ad.dual_level():
        y = model(forward_ad.make_dual(x, x_dot))  # type: ignore[no-untyped-call]
        value, tangent = forward_ad.unpack_dual(y)  # type: ignore[no-untyped-call]
    return value, torch.zeros_like(value) if tangent is None else tangent


def vjp(model: Callable[[Tensor], Tensor], x: Tensor, dy: Tensor) -> tuple[Tensor, Tensor]:
    """Reverse mode: return y = model(x) and J^T dy, the gradient of x. Shapes as y and x."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        y = model(x)
    (dx,) = torch.autograd.grad(y, x, dy)
    return y.detach(), dx


def _seconds(bracket: Bracket, jacobians: Sequence[Tensor], repeats: int = 5) -> float:
    product(bracket, jacobians)
    taken = []
    for _ in range(repeats):
        begin = time.perf_counter()
        product(bracket, jacobians)
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


def _spell(bracket: Bracket, outermost: bool = False) -> str:
    if isinstance(bracket, int):
        return f"J{bracket}"
    inner = f"{_spell(bracket[0])} {_spell(bracket[1])}"
    return inner if outermost else f"({inner})"
