"""The lecture's examples with its numbers, and what a graph refuses."""

import pytest
import torch

from deeprob import layers
from deeprob.errors import InputError
from deeprob.graphs import (
    Graph,
    exp,
    hinge_loss,
    inputs,
    l2,
    log,
    maximum,
    parse,
    reciprocal,
    relu,
    sigmoid,
    softmax_loss,
    tanh,
)

X = [[2, 1, -3], [-3, 4, 2]]
W = [[3, 2, 1, -1], [2, 1, 3, 2], [3, 2, 1, -2]]
DY = [[2, 3, -3, 9], [-8, 1, 4, 6]]
NEURON = {"w0": 2, "x0": -1, "w1": -3, "x1": -2, "w2": -3}


def test_a_sum_times_a_number():
    x, y, z = inputs("x y z")
    graph = Graph((x + y) * z)
    assert graph.forward(x=-2, y=5, z=-4) == -12
    assert graph.backward() == {"x": -4, "y": -4, "z": 3}


@pytest.mark.parametrize("primitives", [False, True])
def test_the_sigmoid_neuron_as_one_gate_and_as_its_primitives(primitives):
    w0, x0, w1, x1, w2 = inputs("w0 x0 w1 x1 w2")
    graph = Graph(sigmoid(w0 * x0 + w1 * x1 + w2, primitives=primitives))
    assert float(graph.forward(**NEURON)) == pytest.approx(0.73, abs=0.005)
    gradients = graph.backward()
    lecture = {"w0": -0.20, "x0": 0.39, "w1": -0.39, "x1": -0.59, "w2": 0.20}
    assert {k: round(float(v), 2) for k, v in gradients.items()} == lecture


def test_the_primitives_show_the_lectures_intermediate_numbers():
    graph = Graph(parse("sigmoid(w0*x0+w1*x1+w2)", primitives=True))
    graph.forward(**NEURON)
    graph.backward()
    seen = [(n.gate.name, round(float(n.value), 2), round(float(n.grad), 2)) for n in graph.gates[-4:]]
    assert seen == [("mul", -1, -0.2), ("exp", 0.37, -0.53), ("add", 1.37, -0.53), ("reciprocal", 0.73, 1)]


def test_the_matrix_product_entry_by_entry():
    x, w = inputs("x w")
    graph = Graph(x @ w)
    assert graph.forward(x=X, w=W).tolist() == [[-1, -1, 2, 6], [5, 2, 11, 7]]
    gradients = graph.backward(DY)
    assert gradients["x"].tolist() == [[0, 16, -9], [-24, 9, -30]]
    torch.testing.assert_close(gradients["w"], torch.tensor(X).double().T @ torch.tensor(DY).double())


def test_one_entry_of_x_meets_one_row_of_w():
    """The slice dy/dx_11 is w's first row in y's first row, and zero below; with dL/dy it gives dL/dx_11."""
    graph = Graph(parse("x@w"))
    graph.forward(x=X, w=W)
    slice_ = torch.zeros(2, 4, dtype=torch.float64)
    for i in range(2):
        for j in range(4):
            one = torch.zeros(2, 4)
            one[i, j] = 1
            slice_[i, j] = graph.backward(one)["x"][0, 0]
    assert slice_.tolist() == [[3, 2, 1, -1], [0, 0, 0, 0]]
    assert float((slice_ * torch.tensor(DY)).sum()) == graph.backward(DY)["x"][0, 0] == 0


@pytest.mark.parametrize("loss", [hinge_loss, softmax_loss])
def test_a_two_layer_network_agrees_with_torch(loss):
    torch.manual_seed(0)
    shapes = {"x": (4, 3), "w": (3, 5), "v": (5, 3)}
    values = {name: torch.randn(shape).double() for name, shape in shapes.items()}
    x, w, v, t = inputs("x w v t")
    graph = Graph(loss(relu(x @ w) @ v, t) + 0.1 * (l2(w) + l2(v)))
    value = graph.forward(**values, t=[0, 2, 1, 1])
    gradients = graph.backward()
    tracked = {name: tensor.clone().requires_grad_() for name, tensor in values.items()}
    scores = (tracked["x"] @ tracked["w"]).relu() @ tracked["v"]
    target = torch.tensor([0, 2, 1, 1])
    if loss is softmax_loss:
        expected = torch.nn.functional.cross_entropy(scores, target)
    else:
        expected = torch.nn.functional.multi_margin_loss(scores, target) * scores.shape[1]
    expected = expected + 0.1 * (tracked["w"].square().sum() + tracked["v"].square().sum())
    expected.backward()
    torch.testing.assert_close(value, expected.detach())
    assert set(gradients) == {"x", "w", "v"}
    for name in gradients:
        torch.testing.assert_close(gradients[name], tracked[name].grad)


def test_the_lectures_svm_scores():
    """CS231n: scores (3.2, 5.1, -1.7) of a cat, class 0, lose 2.9."""
    graph = Graph(parse("hinge_loss(s, t)"))
    assert float(graph.forward(s=[[3.2, 5.1, -1.7]], t=[0])) == pytest.approx(2.9)
    assert graph.backward()["s"].tolist() == [[-1, 1, 0]]


def test_a_value_read_twice_sums_its_branches():
    (x,) = inputs("x")
    graph = Graph(x * x + x)
    graph.forward(x=3)
    assert graph.backward() == {"x": 7}
    assert sorted(float(d) for _, _, d in graph.inputs["x"].branches) == [1, 3, 3]


def test_gradients_pass_through_a_broadcast():
    graph = Graph(parse("l2(a + b)"))
    graph.forward(a=[[1, 2], [3, 4]], b=[10, 20])
    gradients = graph.backward()
    assert gradients["b"].tolist() == [2 * (11 + 13), 2 * (22 + 24)]
    assert gradients["a"].shape == (2, 2)


@pytest.mark.parametrize(
    ("make", "derivative"),
    [
        (lambda x: x - 3, 1),
        (lambda x: 3 - x, -1),
        (lambda x: 2 / x, -2 / 4),
        (lambda x: x / 4, 0.25),
        (lambda x: x**3, 12),
        (lambda x: x**-2, -2 / 8),
        (lambda x: x**0.5, 0.5 / 2**0.5),
        (lambda x: -x, -1),
        (lambda x: log(exp(x)), 1),
        (lambda x: reciprocal(x), -0.25),
        (lambda x: tanh(x), 1 - float(torch.tanh(torch.tensor(2.0).double())) ** 2),
        (lambda x: maximum(x, 5) + maximum(x, 1), 1),
        (lambda x: 3 * x + x * 4 + 1, 7),
    ],
)
def test_every_operator_differentiates(make, derivative):
    (x,) = inputs("x")
    graph = Graph(make(x))
    graph.forward(x=2)
    assert float(graph.backward()["x"]) == pytest.approx(derivative)


def test_the_derivatives_are_those_of_the_layers(monkeypatch):
    """Whatever the layer's Function says is what comes out: there is no second set."""
    from deeprob.layers.elementary import SigmoidFunction

    graph = Graph(parse("sigmoid(x)"))
    monkeypatch.setattr(SigmoidFunction, "backward", staticmethod(lambda ctx, dy: dy * 42))
    graph.forward(x=0.3)
    assert graph.backward() == {"x": 42}


def test_nodes_come_after_their_operands():
    graph = Graph(parse("a = x*y; b = a + x; sigmoid(b*a)"))
    place = {node: i for i, node in enumerate(graph.nodes)}
    assert all(place[o] < place[n] for n in graph.nodes for o in n.operands)


def test_a_deep_graph_needs_no_recursion():
    (x,) = inputs("x")
    total = x
    for _ in range(3000):
        total = total + x
    graph = Graph(total)
    assert graph.forward(x=1) == 3001
    assert graph.backward() == {"x": 3001}


def test_a_second_forward_forgets_the_first():
    graph = Graph(parse("x*y"))
    graph.forward(x=1, y=2)
    graph.backward()
    graph.forward(x=3, y=4)
    assert graph.inputs["x"].grad is None
    assert graph.backward() == {"x": 4, "y": 3}


def test_a_cycle_is_named():
    x, y = inputs("x y")
    total = x + y
    product = total * y
    total.operands = (product, y)
    with pytest.raises(InputError, match="a cycle: mul -> add -> mul"):
        Graph(product)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda g: g.forward(x=1), "no value for 'y'"),
        (lambda g: g.forward(x=1, y=2, z=3), "'z' is not in the graph; expected x y"),
        (lambda g: g.forward(x="one", y=2), "cannot use 'one'"),
        (lambda g: g.forward(x=[1, [2]], y=2), "expected a number or lists of numbers"),
        (lambda g: g.forward(x=[1, 2, 3], y=[1, 2]), "mul: expected b to broadcast .* at column 1"),
        (lambda g: g.backward(), "backward before forward"),
        (lambda g: (g.forward(x=[1, 2], y=3), g.backward()), r"the output is \(2,\), not one number"),
        (lambda g: (g.forward(x=[1, 2], y=3), g.backward([1])), r"expected \(2,\), got \(1,\)"),
    ],
)
def test_bad_values_are_one_clear_line(call, said):
    with pytest.raises(InputError, match=said) as error:
        call(Graph(parse("x*y")))
    assert "\n" not in str(error.value)


def test_an_input_may_be_called_anything():
    graph = Graph(parse("self*values"))
    assert graph.forward(self=2, values=3) == 6


def test_two_inputs_of_one_name_are_refused():
    (a,), (b,) = inputs("x"), inputs("x")
    with pytest.raises(InputError, match="two inputs are called 'x'"):
        Graph(a + b)


def test_only_nodes_and_numbers_go_into_a_graph():
    (x,) = inputs("x")
    with pytest.raises(InputError, match="cannot put str into a graph"):
        x + "1"


def test_every_gate_is_a_function_of_the_layers():
    from deeprob.graphs import GATES

    named = {"hinge_loss", "softmax_loss", "l2"}  # layers with their options chosen
    for name, gate in GATES.items():
        assert name in named or gate.call is getattr(layers, name)
