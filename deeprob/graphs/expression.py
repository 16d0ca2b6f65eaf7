"""Read a formula, and the values of its names, into a graph. Parsed with `ast`, never evaluated.

s = w0*x0 + w1*x1 + w2; sigmoid(s)     statements part at ";" and stand in any order; the last is the output
w0=2, x0=-1, w=[[1, 2], [3, 4]]        values: numbers and lists of numbers
"""

from __future__ import annotations

import ast
import difflib
import math
from collections.abc import Callable
from typing import Any

from deeprob.errors import InputError
from deeprob.graphs import node as nodes
from deeprob.graphs.gates import GATES
from deeprob.graphs.node import Node, as_node

LONGEST = 20_000  # characters
FUNCTIONS: dict[str, Callable[..., Node]] = {
    name: getattr(nodes, name) for name in sorted(GATES) if hasattr(nodes, name)
} | {"max": nodes.maximum}
OPERATORS: dict[type[ast.operator], Callable[[Node, Node], Node]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b if a.constant != 1 else nodes.reciprocal(b),
    ast.Pow: lambda a, b: a**b,
    ast.MatMult: lambda a, b: a @ b,
}
_ARITHMETIC = "numbers, names, + - * / ** @ and " + " ".join(f"{name}()" for name in FUNCTIONS)


def parse(expression: str, primitives: bool = False) -> Node:
    """Return the output node of a formula. primitives: sigmoid as exp, add and reciprocal, not as one gate.

    Raises InputError, naming the column (from 1), for what is not arithmetic, an unknown function or a cycle.
    """
    tree = _parse_python(expression, "expression")
    try:
        return _Reader(expression, primitives).read(tree)
    except RecursionError:
        raise InputError("nested too deeply", where="expression") from None


def parse_values(at: str) -> dict[str, Any]:
    """Return {name: number or nested lists} of "w0=2, x0=[1, -1]". Raises InputError, naming the column."""
    where, opening = "at", "dict("
    tree = _parse_python(f"{opening}{at}\n)", where, len(opening))
    call = tree.body[0].value if len(tree.body) == 1 and isinstance(tree.body[0], ast.Expr) else None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise InputError(f"cannot read {at!r}", where=where, expected="name=number, name=number, ...")
    for argument in call.args:
        raise _mistake("a value without a name", argument, where, "name=number", len(opening))
    values: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg is None:
            raise _mistake("** is not a value", keyword, where, "name=number", len(opening))
        if keyword.arg in values:
            raise _mistake(f"{keyword.arg!r} has a second value", keyword, where, shift=len(opening))
        values[keyword.arg] = _literal(keyword.value, where, len(opening))
    return values


def parse_value(text: str, where: str) -> Any:
    """Return the number or nested lists that `text` spells. Raises InputError, naming the column."""
    tree = _parse_python(text, where)
    if len(tree.body) != 1 or not isinstance(tree.body[0], ast.Expr):
        raise InputError(f"cannot read {text!r}", where=where, expected="a number or lists of numbers")
    return _literal(tree.body[0].value, where)


def _parse_python(text: str, where: str, shift: int = 0) -> ast.Module:
    if len(text) > LONGEST:
        raise InputError(f"{len(text)} characters long", where=where, expected=f"at most {LONGEST}")
    if not text.strip():
        raise InputError("empty", where=where)
    try:
        return ast.parse(" ".join(text.split()) if not shift else text)
    except SyntaxError as error:
        column = max((error.offset or 1) - shift, 1)
        raise InputError(f"{error.msg} at column {column}", where=where) from None
    except (RecursionError, MemoryError, ValueError) as error:
        raise InputError(f"cannot be read ({error or 'nested too deeply'})", where=where) from None


def _mistake(what: str, at: Any, where: str, expected: object = None, shift: int = 0) -> InputError:
    return InputError(f"{what} at column {at.col_offset + 1 - shift}", where=where, expected=expected)


def _literal(tree: ast.expr, where: str, shift: int = 0) -> Any:
    """A number or nested lists of them."""
    sign = 1.0
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub | ast.UAdd):
        sign, tree = (-1.0 if isinstance(tree.op, ast.USub) else 1.0), tree.operand
        if not isinstance(tree, ast.Constant):
            raise _mistake("not a number", tree, where, "a number", shift)
    if isinstance(tree, ast.List | ast.Tuple):
        return [_literal(item, where, shift) for item in tree.elts]
    if isinstance(tree, ast.Constant) and type(tree.value) in (int, float):
        return sign * _finite(tree, where, shift)
    raise _mistake(f"{ast.unparse(tree)} is not a number", tree, where, "numbers and lists", shift)


def _finite(tree: ast.Constant, where: str, shift: int = 0) -> float:
    try:
        number = float(tree.value)  # type: ignore[arg-type]
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _mistake("a number beyond float64", tree, where, shift=shift)
    return number


class _Reader:
    """Turns the syntax tree of statements into nodes, one node a name."""

    def __init__(self, text: str, primitives: bool) -> None:
        self.text, self.primitives = text, primitives
        self.assigned: dict[str, ast.Assign] = {}
        self.named: dict[str, Node] = {}
        self.reading: list[str] = []

    def read(self, tree: ast.Module) -> Node:
        for statement in tree.body:
            if isinstance(statement, ast.Assign):
                target = statement.targets[0]
                if len(statement.targets) != 1 or not isinstance(target, ast.Name):
                    raise self.mistake("cannot assign", statement, "name = formula")
                if target.id in self.assigned:
                    raise self.mistake(f"{target.id!r} is assigned a second time", statement)
                self.assigned[target.id] = statement
            elif not isinstance(statement, ast.Expr):
                raise self.mistake("not arithmetic", statement, _ARITHMETIC)
            elif statement is not tree.body[-1]:
                raise self.mistake("a value that nothing reads", statement, "only the last without a name")
        last = tree.body[-1]
        if isinstance(last, ast.Assign):
            assert isinstance(last.targets[0], ast.Name)
            output = self.name(last.targets[0].id, last)
        else:
            assert isinstance(last, ast.Expr)
            output = self.node(last.value)
        if output.constant is not None:
            raise self.mistake("a constant has no gradient", last, "a formula with at least one name")
        return output

    def node(self, tree: ast.expr) -> Node:
        if isinstance(tree, ast.Name):
            return self.name(tree.id, tree)
        made = self.combine(tree)
        if made.constant is not None and not math.isfinite(made.constant):
            raise self.mistake(f"{ast.unparse(tree)} is not finite", tree)
        column = tree.col_offset + 1
        for inner in _new_gates(made):  # x / y is two gates: both stand here
            inner.column = column
        return made

    def combine(self, tree: ast.expr) -> Node:
        if isinstance(tree, ast.Constant) and type(tree.value) in (int, float):
            return as_node(_finite(tree, "expression"))
        if isinstance(tree, ast.BinOp) and type(tree.op) in OPERATORS:
            left, right = self.node(tree.left), self.node(tree.right)
            try:
                return OPERATORS[type(tree.op)](left, right)
            except (ArithmeticError, InputError) as error:
                raise self.mistake(str(error), tree) from None
        if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
            return -self.node(tree.operand)
        if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.UAdd):
            return self.node(tree.operand)
        if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name):
            return self.call(tree.func.id, tree)
        raise self.mistake(f"{ast.unparse(tree)!r} is not arithmetic", tree, _ARITHMETIC)

    def call(self, name: str, tree: ast.Call) -> Node:
        function = FUNCTIONS.get(name)
        if function is None:
            near = difflib.get_close_matches(name, FUNCTIONS, n=1)
            fix = f"did you mean {near[0]}?" if near else None
            raise self.mistake(f"no function {name!r}", tree, " ".join(FUNCTIONS), fix)
        wanted = GATES["maximum" if name == "max" else name].num_inputs
        if tree.keywords or len(tree.args) != wanted:
            given = len(tree.args) + len(tree.keywords)
            raise self.mistake(f"{name} takes {wanted} values, {given} are given", tree)
        arguments = [self.node(argument) for argument in tree.args]
        if name == "sigmoid" and self.primitives:
            return nodes.sigmoid(arguments[0], primitives=True)
        return function(*arguments)

    def name(self, name: str, tree: Any) -> Node:
        if name in self.named:
            return self.named[name]
        if name in self.reading:
            around = " -> ".join([*self.reading[self.reading.index(name) :], name])
            raise self.mistake(f"a cycle: {around}", tree)
        if name in self.assigned:
            self.reading.append(name)
            made = self.node(self.assigned[name].value)
            self.reading.pop()
            if made.gate is not None and made.name is None:
                made.name = name
        else:
            made = Node(name=name, column=tree.col_offset + 1)
        self.named[name] = made
        return made

    def mistake(self, what: str, tree: Any, expected: object = None, fix: str | None = None) -> InputError:
        return InputError(
            f"{what} at column {tree.col_offset + 1}", where="expression", expected=expected, fix=fix
        )


def _new_gates(node: Node) -> list[Node]:
    """The node and the gates behind it that have no column yet."""
    found, open_nodes = [], [node]
    while open_nodes:
        this = open_nodes.pop()
        if this.gate is not None and this.column is None:
            found.append(this)
            open_nodes.extend(this.operands)
    return found
