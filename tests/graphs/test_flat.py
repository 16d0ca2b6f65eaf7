"""Flat code is run, and compared with the gates."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deeprob.errors import InputError
from deeprob.graphs import GATES, Graph, flat_code, parse, parse_values
from deeprob.graphs import node as nodes


def run(code):
    names = {}
    exec(compile(code, "<flat code>", "exec"), names)
    return names


def agree(graph, upstream=None):
    gradients = graph.backward(upstream)
    names = run(flat_code(graph, None if upstream is None else torch.as_tensor(upstream).double()))
    for name, gradient in gradients.items():
        found = torch.as_tensor(names.get(f"grad_{name}", 0.0), dtype=torch.float64)
        torch.testing.assert_close(found, gradient, rtol=1e-9, atol=1e-12)


def test_the_lines_of_the_sigmoid_neuron():
    graph = Graph(parse("sigmoid(w0*x0+w1*x1+w2)"))
    graph.forward(w0=2, x0=-1, w1=-3, x1=-2, w2=-3)
    code = flat_code(graph)
    forward, backward = code.split("# forward\n")[1].split("\n# backward\n")
    assert forward.splitlines() == [
        "s0 = w0 * x0",
        "s1 = w1 * x1",
        "s2 = s0 + s1",
        "s3 = s2 + w2",
        "L = 1 / (1 + exp(-s3))",
    ]
    assert backward.splitlines() == [
        "grad_L = 1.0",
        "grad_s3 = grad_L * (1 - L) * L",
        "grad_s2 = grad_s3",
        "grad_w2 = grad_s3",
        "grad_s0 = grad_s2",
        "grad_s1 = grad_s2",
        "grad_w1 = grad_s1 * x1",
        "grad_x1 = grad_s1 * w1",
        "grad_w0 = grad_s0 * x0",
        "grad_x0 = grad_s0 * w0",
    ]


UNARY = ["sigmoid", "tanh", "relu", "exp of tanh", "log of square", "reciprocal of square", "negative"]
STEP = st.one_of(
    st.tuples(st.sampled_from(["add", "mul", "maximum", "sub"]), st.integers(0, 99), st.integers(0, 99)),
    st.tuples(st.sampled_from(UNARY), st.integers(0, 99)),
    st.tuples(st.sampled_from(["add number", "mul number"]), st.integers(0, 99), st.floats(-2, 2)),
)


def random_graph(steps):
    """Bounded values, so that 100 graphs stay finite; the operands are picked among all nodes so far."""
    made = list(nodes.inputs("a b c"))
    for kind, first, *rest in steps:
        x = made[first % len(made)]
        if kind in ("add", "mul", "maximum", "sub"):
            y = made[rest[0] % len(made)]
            node = {
                "add": lambda x, y: x + y,
                "sub": lambda x, y: x - y,
                "mul": lambda x, y: x * nodes.tanh(y),
                "maximum": nodes.maximum,
            }[kind](x, y)
        elif kind == "add number":
            node = x + rest[0]
        elif kind == "mul number":
            node = rest[0] * x
        else:
            node = {
                "exp of tanh": lambda x: nodes.exp(nodes.tanh(x)),
                "log of square": lambda x: nodes.log(x * x + 1),
                "reciprocal of square": lambda x: nodes.reciprocal(x * x + 1),
                "negative": lambda x: -x,
                "sigmoid": nodes.sigmoid,
                "tanh": nodes.tanh,
                "relu": nodes.relu,
            }[kind](x)
        made.append(node)
    return Graph(made[-1])


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(STEP, min_size=1, max_size=15), st.tuples(*[st.floats(-3, 3)] * 3))
def test_flat_code_gives_the_gates_gradients(steps, values):
    graph = random_graph(steps)
    graph.forward(**{name: v for name, v in zip("abc", values, strict=True) if name in graph.inputs})
    agree(graph)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(STEP, min_size=1, max_size=8), st.integers(0, 1000))
def test_flat_code_of_arrays_gives_the_gates_gradients(steps, seed):
    graph = random_graph(steps)
    generator = torch.Generator().manual_seed(seed)
    shapes = {"a": (2, 3), "b": (3,), "c": ()}  # they broadcast
    y = graph.forward(**{n: torch.randn(shapes[n], generator=generator).double() for n in graph.inputs})
    agree(graph, torch.randn(y.shape, generator=generator).double())


@pytest.mark.parametrize(
    ("expression", "at"),
    [
        ("x@w", "x=[[2,1,-3],[-3,4,2]],w=[[3,2,1,-1],[2,1,3,2],[3,2,1,-2]]"),
        ("relu(x@w)", "x=[[2,1,-3],[-3,4,2]],w=[[3,2],[2,1],[3,2]]"),
        ("softmax_loss(s, t)", "s=[[1,2,3],[0,0,-1]],t=[2,0]"),
        ("hinge_loss(s, t) + 0.5*l2(s)", "s=[[3.2,5.1,-1.7],[1.3,4.9,2.0]],t=[0,1]"),
        ("maximum(x, 1.5)", "x=[1,2,3]"),
    ],
)
def test_flat_code_of_matrices_and_losses(expression, at):
    graph = Graph(parse(expression))
    y = graph.forward(**parse_values(at))
    agree(graph, torch.linspace(-1, 1, y.numel()).reshape(y.shape).double())


@pytest.mark.parametrize("expression", ["L*s0 + s1", "exp(exp_)*max_ + grad_x", "tensor*len + inside"])
def test_names_that_clash_are_told_apart(expression):
    graph = Graph(parse(expression))
    graph.forward(**{name: 0.5 for name in graph.inputs})
    gradients = graph.backward()
    names = run(flat_code(graph))
    shown = sorted(float(v) for k, v in names.items() if k.startswith("grad_"))
    for gradient in gradients.values():
        assert any(abs(float(gradient) - v) < 1e-12 for v in shown)


def test_every_gate_has_a_line_for_each_input():
    for gate in GATES.values():
        assert gate.forward
        assert gate.num_inputs == len(gate.backward) + len(gate.constants)


def test_an_array_needs_its_upstream_gradient():
    graph = Graph(parse("x*2"))
    graph.forward(x=[1, 2])
    with pytest.raises(InputError, match="the output is an array"):
        flat_code(graph)
