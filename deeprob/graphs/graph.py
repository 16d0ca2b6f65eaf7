"""A computational graph: forward in topological order, backward in reverse.

Every gate knows only its own inputs, its own output and how to turn the gradient of its output into those
of its inputs; that knowledge is the hand-written Function of deeprob.layers. The graph passes the gradients
on and adds them up where a value was read more than once: the gradient of a copy is the sum.
Source: Johnson, backpropagation lecture; Stanford CS231n, backpropagation, intuitions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from deeprob.errors import InputError
from deeprob.graphs.node import Node
from deeprob.layers.gates import CopyFunction


class Graph:
    """Everything that `output` is computed from.

    nodes: operands before the gates that read them. Raises InputError for a cycle, or two inputs of one name.
    """

    def __init__(self, output: Node) -> None:
        self.output = output
        self.nodes = topological_order(output)
        self.inputs: dict[str, Node] = {}
        for node in self.nodes:
            if node.gate is None and node.constant is None:
                if node.name is None:
                    raise InputError("an input without a name", fix='make it by inputs("x")')
                if self.inputs.setdefault(node.name, node) is not node:
                    raise InputError(f"two inputs are called {node.name!r}")
        # class indices, which have no gradient
        self.targets = {n.operands[p] for n in self.nodes if n.gate for p in n.gate.constants}
        self._local: dict[Node, tuple[Tensor, list[Tensor]]] = {}

    @property
    def gates(self) -> list[Node]:
        """The nodes that compute, in forward order."""
        return [node for node in self.nodes if node.gate is not None]

    def forward(self, /, **values: Any) -> Tensor:
        """Compute every node, and return the output. values: a number, nested lists or a tensor an input.

        All are float64. Raises InputError where a value is missing or unknown, or shapes do not fit.
        """
        missing = [n for n in self.inputs if n not in values]
        if missing:
            node = self.inputs[missing[0]]
            raise InputError(f"no value for {missing[0]!r}{_place(node)}", fix=f"give at='{missing[0]}=...'")
        unknown = [n for n in values if n not in self.inputs]
        if unknown:
            raise InputError(f"{unknown[0]!r} is not in the graph", expected=" ".join(self.inputs))
        self._local.clear()
        for node in self.nodes:
            node.grad, node.branches = None, []
            if node.gate is not None:
                node.value = self._forward_gate(node)
            else:
                node.value = as_tensor(
                    node.constant if node.name is None else values[node.name], node.name or ""
                )
        return value_of(self.output)

    def backward(self, upstream: Any = None) -> dict[str, Tensor]:
        """Return dL/dx of every input x but class indices.

        upstream: dL/doutput, of the output's shape; 1 where the output is one number.

        Raises InputError before a forward, and where the upstream gradient is needed or does not fit.
        """
        if self.output.value is None or (self.output.gate is not None and self.output not in self._local):
            raise InputError("backward before forward", fix="call graph.forward(...) first")
        y = self.output.value
        if upstream is None and y.numel() != 1:
            raise InputError(
                f"the output is {tuple(y.shape)}, not one number", fix="give the gradient of the loss by it"
            )
        dy = torch.ones_like(y) if upstream is None else as_tensor(upstream, "upstream")
        if dy.shape != y.shape:
            raise InputError(
                "the upstream gradient does not fit the output",
                expected=f"{tuple(y.shape)}, got {tuple(dy.shape)}",
            )
        for node in self.nodes:
            node.grad, node.branches = None, []
        for node in reversed(self.nodes):
            if node is self.output:
                node.grad = dy
            elif node.branches:
                # a value that was read n times was copied n times
                node.grad = CopyFunction.backward(None, *(d for _, _, d in node.branches))[0]
            if node.gate is not None and node.grad is not None:
                for position, dx in enumerate(self._backward_gate(node, node.grad)):
                    if dx is not None:
                        node.operands[position].branches.append((node, position, dx))
        return {
            name: node.grad if node.grad is not None else torch.zeros_like(value_of(node))
            for name, node in self.inputs.items()
            if node not in self.targets
        }

    def local_gradient(self, node: Node, position: int) -> Tensor | None:
        """The gate's own derivative by one input, in its shape; None where its Jacobian is not diagonal."""
        assert node.gate is not None
        y, _ = self._local[node]
        if not node.gate.elementwise and y.numel() != 1:
            return None
        return self._backward_gate(node, torch.ones_like(y))[position]

    def _forward_gate(self, node: Node) -> Tensor:
        assert node.gate is not None
        leaves = [value_of(o).detach().clone() for o in node.operands]
        for position, leaf in enumerate(leaves):
            tracked = node.operands[position].has_gradient and position not in node.gate.constants
            leaf.requires_grad_(tracked)
        try:
            with torch.enable_grad():
                y = node.gate.call(*leaves)
        except (ValueError, RuntimeError) as error:
            raise InputError(f"{error}{_place(node)}") from error
        self._local[node] = (y, leaves)
        return y.detach()

    def _backward_gate(self, node: Node, dy: Tensor) -> list[Tensor | None]:
        """What the layer's hand-written backward makes of dy: one gradient, or None, an input."""
        y, leaves = self._local[node]
        tracked = [leaf for leaf in leaves if leaf.requires_grad]
        if not tracked:
            return [None] * len(leaves)
        found = iter(torch.autograd.grad(y, tracked, dy, retain_graph=True))
        return [next(found) if leaf.requires_grad else None for leaf in leaves]


def topological_order(output: Node) -> list[Node]:
    """The nodes behind `output`, each after its operands. Raises InputError for a cycle, naming it."""
    order: list[Node] = []
    done: set[Node] = set()
    path: dict[Node, None] = {output: None}  # what is being visited, in order
    stack = [(output, iter(output.operands))]
    while stack:
        node, operands = stack[-1]
        for operand in operands:
            if operand in path:
                names = [n.label for n in path]
                around = " -> ".join([*names[list(path).index(operand) :], operand.label])
                raise InputError(f"a cycle: {around}", expected="a graph in which no value needs itself")
            if operand not in done:
                path[operand] = None
                stack.append((operand, iter(operand.operands)))
                break
        else:
            stack.pop()
            del path[node]
            done.add(node)
            order.append(node)
    return order


def value_of(node: Node) -> Tensor:
    """A node's value. Raises InputError before a forward."""
    if node.value is None:
        raise InputError(f"{node.label} has no value yet", fix="call graph.forward(...) first")
    return node.value


def as_tensor(value: Any, name: str) -> Tensor:
    """float64. Raises InputError where `value` is no rectangular array of numbers."""
    try:
        return torch.as_tensor(value, dtype=torch.float64).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"cannot use {value!r} as a value", where=name, expected="a number or lists of numbers"
        ) from error


def _place(node: Node) -> str:
    return f" at column {node.column}" if node.column is not None else ""
