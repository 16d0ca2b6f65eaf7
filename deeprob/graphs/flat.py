"""Flat code of a graph: one line a gate forward, the reversed lines backward, runnable Python.

It is what an engineer would write by hand for this one function; the graph is what a framework builds. Both
give the same gradients, and a test runs both.
"""

from __future__ import annotations

import torch
from torch import Tensor

from deeprob.errors import InputError
from deeprob.graphs.gates import Gate
from deeprob.graphs.graph import Graph, value_of
from deeprob.graphs.node import Node

_PYTHON_NAMES = {"exp", "log", "tanh", "max", "maximum", "relu", "one_hot", "len", "tensor", "inside"}


def flat_code(graph: Graph, upstream: Tensor | None = None) -> str:
    """Return Python that computes the output and every input's gradient, at the values of the last forward.

    Numbers are plain Python; with arrays it needs torch. upstream: dL/doutput, needed where the output is an
    array. Raises InputError before a forward.
    """
    names = _names(graph)
    tensors = any(node.gate and node.gate.tensors_only for node in graph.nodes)
    tensors = tensors or any(value_of(node).dim() for node in graph.inputs.values())
    lines = [_imports(graph, tensors)]
    targets = graph.targets
    for node in graph.inputs.values():
        lines.append(f"{names[node]} = {_literal(value_of(node), tensors, node in targets)}")
    lines += ["", "# forward"]
    for node in graph.gates:
        gate = _gate(node)
        template = gate.tensor_forward if tensors and gate.tensor_forward else gate.forward
        lines.append(f"{names[node]} = {template.format(*_operands(node, names, tensors))}")
    lines += ["", "# backward"]
    y = names[graph.output]
    if upstream is None and value_of(graph.output).numel() != 1:
        raise InputError("the output is an array", fix="give the gradient of the loss by it: upstream='...'")
    one = "ones_like(" + y + ")" if tensors else "1.0"
    lines.append(f"grad_{y} = {one if upstream is None else _literal(upstream, tensors, False)}")
    started: set[Node] = set()
    for node in reversed(graph.gates):
        lines += _backward_lines(node, names, tensors, started, targets)
    return "\n".join(lines).strip() + "\n"


def _backward_lines(
    node: Node, names: dict[Node, str], tensors: bool, started: set[Node], targets: set[Node]
) -> list[str]:
    gate = _gate(node)
    lines, expressions = [], iter(gate.backward)
    for position, operand in enumerate(node.operands):
        if position in gate.constants:
            continue
        text = next(expressions).format(
            *_operands(node, names, tensors), dy=f"grad_{names[node]}", y=names[node]
        )
        if not operand.has_gradient or operand in targets:
            continue
        shape, output_shape = value_of(operand).shape, value_of(node).shape
        if gate.elementwise and shape != output_shape:  # it was broadcast: copied, so its gradients add up
            text = f"({text}).sum_to_size({tuple(shape)})"
        lines.append(f"grad_{names[operand]} {'+=' if operand in started else '='} {text}")
        started.add(operand)
    return lines


def _gate(node: Node) -> Gate:
    assert node.gate is not None
    return node.gate


def _operands(node: Node, names: dict[Node, str], tensors: bool) -> list[str]:
    texts = []
    for o in node.operands:
        if o.constant is None:
            texts.append(names[o])
        elif tensors and _gate(node).name == "maximum":  # torch's takes no bare number
            texts.append(f"tensor({o.constant!r}, dtype=float64)")
        else:
            number = f"{o.constant:g}" if float(f"{o.constant:g}") == o.constant else repr(o.constant)
            texts.append(number if o.constant >= 0 else f"({number})")
    return texts


def _names(graph: Graph) -> dict[Node, str]:
    """Inputs and named nodes keep their names; other gates are s0, s1, ... and the output L."""
    taken = set(graph.inputs) | {n.name for n in graph.gates if n.name} | _PYTHON_NAMES
    names: dict[Node, str] = {}

    def fresh(name: str) -> str:
        while name in taken or f"grad_{name}" in taken:
            name += "_"
        taken.add(name)
        return name

    count = 0
    for node in graph.nodes:
        if node.name is not None:
            clash = node.name in _PYTHON_NAMES or node.name.startswith("grad_")
            names[node] = fresh(f"{node.name}_") if clash else node.name
        elif node is graph.output:
            names[node] = fresh("L")
        elif node.gate is not None:
            names[node] = fresh(f"s{count}")
            count += 1
    return names


def _imports(graph: Graph, tensors: bool) -> str:
    needed = {"exp" if _gate(n).name == "sigmoid" else _gate(n).name for n in graph.gates}
    if not tensors:
        wanted = needed & {"exp", "log", "tanh"}
        return f"from math import {', '.join(sorted(wanted))}\n" if wanted else ""
    wanted = needed & {"exp", "log", "tanh", "maximum", "relu"}
    line = f"from torch import {', '.join(sorted(wanted | {'float64', 'ones_like', 'tensor'}))}\n"
    if graph.targets:
        line += "from torch.nn.functional import one_hot\n"
    return line


def _literal(value: Tensor, tensors: bool, is_target: bool) -> str:
    if not tensors:
        return repr(value.item())
    if is_target:
        return f"tensor({[int(v) for v in value.flatten()]})"
    return f"tensor({value.tolist()}, dtype={str(torch.float64).removeprefix('torch.')})"
