import pytest

from deeprob.errors import InputError
from deeprob.graphs import Graph, parse, parse_values


def evaluate(expression, **values):
    return float(Graph(parse(expression)).forward(**values))


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("x + y*2", 8),
        ("(x + y)*2", 10),
        ("-x**2", -4),
        ("x - y - 1", -2),
        ("6 / x / y", 1),
        ("+x", 2),
        ("max(x, y)", 3),
        ("1e1*x", 20),
        ("a = x + y; a*a", 25),
        ("b = a*a; a = x + y; b", 25),
        ("a = x + y; b = a*2", 10),
        ("x\n+ y", 5),
    ],
)
def test_formulas_are_read_as_arithmetic(expression, value):
    names = {n: v for n, v in {"x": 2, "y": 3}.items() if n in expression.replace("max", "")}
    assert evaluate(expression, **names) == value


def test_a_named_value_is_one_node():
    graph = Graph(parse("a = x*y; a + a"))
    assert [n.gate.name for n in graph.gates] == ["mul", "add"]
    assert graph.gates[0].name == "a"


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("", "empty"),
        ("x +", "invalid syntax at column 4"),
        ("x + (y", "'\\(' was never closed at column 5"),
        ("x + sigmod(y)", "no function 'sigmod' at column 5; .*did you mean sigmoid"),
        ("x + sigmoid(y, z)", "sigmoid takes 1 values, 2 are given at column 5"),
        ("sigmoid(x=1)", "sigmoid takes 1 values, 1 are given|takes 1"),
        ("x + y.real", "'y.real' is not arithmetic at column 5"),
        ("x + 'text'", "is not arithmetic at column 5"),
        ("x if y else z", "not arithmetic at column 1"),
        ("x < y", "not arithmetic at column 1"),
        ("x % 2", "not arithmetic at column 1"),
        ("[x]", "not arithmetic at column 1"),
        ("x[0]", "not arithmetic at column 1"),
        ("lambda: x", "not arithmetic"),
        ("import os", "not arithmetic at column 1"),
        ("__import__('os').system('true')", "is not arithmetic at column 1"),
        ("x + True", "not arithmetic at column 5"),
        ("1 + 2", "a constant has no gradient"),
        ("a = b*x; b = a + 1; a", "a cycle: a -> b -> a at column 14"),
        ("a = a + 1", "a cycle: a -> a"),
        ("a = x; a = y; a", "'a' is assigned a second time at column 8"),
        ("x; y", "a value that nothing reads at column 1"),
        ("a, b = x, y", "cannot assign at column 1"),
        ("(" * 500 + "x" + ")" * 500, "nested|too many"),
        ("-" * 900 + "x", "nested|too deep|cannot be read"),
        ("x + " * 9000 + "x", "characters long"),
        ("x\0", "cannot be read|null"),
        ("x + 1e400", "a number beyond float64 at column 5"),
        ("x + 1" + "0" * 400, "a number beyond float64 at column 5"),
        ("x * (1 / 0)", "1 / 0 is not finite at column 6"),
        ("x ** 1e400", "a number beyond float64 at column 6"),
    ],
)
def test_what_is_not_arithmetic_is_one_line_that_points_at_the_place(expression, said):
    with pytest.raises(InputError, match=said) as error:
        parse(expression)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_values_are_numbers_and_lists():
    assert parse_values("x=1, w=[[1, -2], [3.5, 1e2]],t=-3") == {"x": 1, "w": [[1, -2], [3.5, 100]], "t": -3}


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("x", "a value without a name at column 1"),
        ("x=1, 2", "at column 6|positional"),
        ("x=y", "y is not a number at column 3"),
        ("x=1, y=[1, a]", "a is not a number at column 12"),
        ("x=1,,", "invalid syntax at column 5"),
        ("x=1) + (", "cannot read|unmatched|syntax"),
        ("x=1, x=2", "repeated|second value"),
        ("**x", "is not a value"),
        ("x='a'", "'a' is not a number at column 3"),
        ("x=-y", "not a number at column 4"),
        ("x=True", "True is not a number"),
        ("x=[1, -1e400]", "a number beyond float64 at column 8"),
    ],
)
def test_bad_values_point_at_the_place(at, said):
    with pytest.raises(InputError, match=said) as error:
        parse_values(at)
    assert "\n" not in str(error.value)
