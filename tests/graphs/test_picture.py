import re
from xml.etree import ElementTree

import pytest
import torch

from deeprob.errors import InputError
from deeprob.graphs import Graph, inputs, parse, parse_values
from deeprob.graphs.picture import draw, lines_of, number

SVG = "{http://www.w3.org/2000/svg}"


def drawn(expression, at, upstream=None):
    graph = Graph(parse(expression))
    graph.forward(**parse_values(at))
    graph.backward(upstream)
    return ElementTree.fromstring(draw(graph, expression))


def texts(picture, kind):
    return ["".join(t.itertext()) for t in picture.iter(f"{SVG}text") if t.get("class") == kind]


def test_every_wire_has_its_value_above_and_its_gradient_below():
    picture = drawn("(x+y)*z", "x=-2,y=5,z=-4")
    assert sorted(texts(picture, "v")) == sorted(["−2", "5", "3", "−4", "−12"])
    assert sorted(texts(picture, "g")) == sorted(["−4", "−4", "−4", "3", "1"])
    height = {
        t.get("id"): float(t[0].get("y")) for t in picture.iter(f"{SVG}text") if t.get("class") in ("v", "g")
    }
    assert len(height) == 10
    for key, y in height.items():
        if key.endswith("v"):
            assert y < height[key[:-1] + "g"]


def test_text_stays_text_and_colours_follow_the_reader():
    graph = Graph(parse("x*y"))
    graph.forward(x=1, y=2)
    draw_text = draw(graph, "a <title> & more")
    picture = ElementTree.fromstring(draw_text)
    assert "prefers-color-scheme: dark" in draw_text
    assert picture.find(f"{SVG}title").text == "a <title> & more"
    assert {"x", "y"} <= set(texts(picture, "name"))
    assert any("value" in text for text in texts(picture, "legend"))
    assert not list(picture.iter(f"{SVG}image"))


def test_a_constant_stands_in_its_gate():
    picture = drawn("-x + 1", "x=3")
    assert texts(picture, "symbol") == ["× −1", "+ 1"]
    assert texts(picture, "name") == ["x"]


def test_a_small_matrix_shows_its_entries_a_large_one_its_norm():
    assert lines_of(torch.tensor([[2.0, 1, -3], [-3, 4, 2]])) == [" 2  1 −3", "−3  4  2"]
    assert lines_of(torch.ones(10, 10)) == ["10×10  ‖·‖ 10"]
    assert lines_of(torch.zeros(0, 3)) == ["empty"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (-0.1966, "−0.20"), (3, "3"), (1e-6, "1e−06"), (123456, "1.2e+05"), (float("nan"), "nan")],
)
def test_numbers_are_short(value, shown):
    assert number(value) == shown


def test_two_hundred_nodes_are_drawn_and_more_refused():
    x, y = inputs("x y")
    nodes = [x, y]
    while len(nodes) < 200:
        nodes.append(nodes[-1] + nodes[len(nodes) * 7 // 8 - 1])
    graph = Graph(nodes[-1])
    graph.forward(x=0.1, y=0.01)
    assert len(graph.nodes) > 190
    picture = ElementTree.fromstring(draw(graph))
    assert len(texts(picture, "symbol")) == len(graph.gates)
    with pytest.raises(InputError, match="too many to draw; expected at most 200; take show=table"):
        drawn("x" + " + x" * 200, "x=1")


def test_wires_start_and_end_at_their_boxes():
    picture = drawn("sigmoid(a*b)", "a=1,b=2")
    boxes = [float(r.get("x")) for r in picture.iter(f"{SVG}rect") if r.get("class") == "box"]
    ends = [
        float(re.findall(r"[\d.]+(?=,)", path.get("d"))[-1])
        for path in picture.iter(f"{SVG}path")
        if "h" not in path.get("d")
    ]
    assert all(any(abs(box - end) < 0.2 for end in ends) for box in boxes)
