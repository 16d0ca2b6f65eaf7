"""A node of a graph, and the operators and functions that make a new node of others."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from deeprob.errors import InputError
from deeprob.graphs.gates import GATES, Gate

HIGHEST_POWER = 16  # up to which a whole power is written as products


class Node:
    """One value of a graph: an input, a constant, or the output of a gate.

    value: what it is, after Graph.forward. grad: dL/dvalue of the same shape, after Graph.backward.
    branches: the gradients that came back from the gates that read it, in their order; grad is their sum.
    column: where it stands in the expression it was read from, from 1.
    """

    def __init__(
        self,
        gate: Gate | None = None,
        operands: tuple[Node, ...] = (),
        name: str | None = None,
        constant: float | None = None,
        column: int | None = None,
    ) -> None:
        self.gate, self.operands, self.name = gate, operands, name
        self.constant, self.column = constant, column
        self.value: Tensor | None = None
        self.grad: Tensor | None = None
        self.branches: list[tuple[Node, int, Tensor]] = []

    def __repr__(self) -> str:
        inner = ", ".join(o.label for o in self.operands)
        return f"{self.gate.name}({inner})" if self.gate else self.label

    @property
    def label(self) -> str:
        """Its name, its number, or its gate."""
        if self.constant is not None:
            return f"{self.constant:g}"
        return self.name or (self.gate.name if self.gate else "?")

    @property
    def has_gradient(self) -> bool:
        """Whether any input stands behind it."""
        return self.constant is None

    def __add__(self, other: Any) -> Node:
        return _node("add", self, other)

    def __radd__(self, other: Any) -> Node:
        return _node("add", other, self)

    def __mul__(self, other: Any) -> Node:
        return _node("mul", self, other)

    def __rmul__(self, other: Any) -> Node:
        return _node("mul", other, self)

    def __neg__(self) -> Node:
        return _node("mul", self, -1)

    def __sub__(self, other: Any) -> Node:
        return self + (-as_node(other))

    def __rsub__(self, other: Any) -> Node:
        return as_node(other) + (-self)

    def __truediv__(self, other: Any) -> Node:
        return self * reciprocal(as_node(other))

    def __rtruediv__(self, other: Any) -> Node:
        return as_node(other) * reciprocal(self) if other != 1 else reciprocal(self)

    def __matmul__(self, other: Node) -> Node:
        return _node("matmul", self, other)

    def __pow__(self, power: Any) -> Node:
        """Whole powers are products, others exp(power log x)."""
        number = power.constant if isinstance(power, Node) else float(power)
        if number is None or number != int(number) or not 1 <= abs(number) <= HIGHEST_POWER:
            return exp(as_node(power) * log(self))
        product = self
        for _ in range(int(abs(number)) - 1):
            product = product * self
        return reciprocal(product) if number < 0 else product


def as_node(value: Any) -> Node:
    """A node as it is; a number as a constant. Raises InputError for anything else."""
    if isinstance(value, Node):
        return value
    if isinstance(value, int | float):
        return Node(constant=float(value))
    raise InputError(f"cannot put {type(value).__name__} into a graph", expected="a node or a number")


def _node(gate: str, *operands: Any) -> Node:
    nodes = tuple(as_node(o) for o in operands)
    # what is computed from constants alone is a constant to every gate that reads it
    if all(o.constant is not None for o in nodes) and GATES[gate].elementwise:
        import torch

        values = [torch.tensor(o.constant, dtype=torch.float64) for o in nodes]
        return Node(constant=float(GATES[gate].call(*values)))
    return Node(GATES[gate], nodes)


def inputs(names: str) -> tuple[Node, ...]:
    """Inputs by their names, parted by spaces or commas."""
    return tuple(Node(name=name) for name in names.replace(",", " ").split())


def exp(x: Node) -> Node:
    """e^x."""
    return _node("exp", x)


def log(x: Node) -> Node:
    """The natural logarithm."""
    return _node("log", x)


def reciprocal(x: Node) -> Node:
    """1 / x."""
    return _node("reciprocal", x)


def tanh(x: Node) -> Node:
    """The hyperbolic tangent."""
    return _node("tanh", x)


def relu(x: Node) -> Node:
    """max(0, x)."""
    return _node("relu", x)


def maximum(a: Any, b: Any) -> Node:
    """The larger of a and b."""
    return _node("maximum", a, b)


def sigmoid(x: Node, primitives: bool = False) -> Node:
    """1 / (1 + e^-x), as one gate or as its four primitives: the graph is not unique, the gradient is."""
    return reciprocal(exp(-x) + 1) if primitives else _node("sigmoid", x)


def l2(w: Node) -> Node:
    """The sum of w's squared entries, ()."""
    return _node("l2", w)


def hinge_loss(scores: Node, target: Node) -> Node:
    """Multiclass SVM loss of scores (N, C) for class indices target (N): the mean over the samples, ()."""
    return _node("hinge_loss", scores, target)


def softmax_loss(scores: Node, target: Node) -> Node:
    """Softmax cross-entropy of scores (N, C) for class indices target (N): the mean over the samples, ()."""
    return _node("softmax_loss", scores, target)
