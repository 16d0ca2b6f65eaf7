"""One self-contained HTML page that goes through a graph gate by gate: forward, then backward."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from deeprob.graphs.graph import Graph, value_of
from deeprob.graphs.node import Node
from deeprob.graphs.picture import Wire, draw, lines_of, number, symbol, wires_of

TEMPLATES = Path(__file__).resolve().parent / "templates"
LOCAL_IN_WORDS = {  # a Jacobian that is not diagonal is never formed: how upstream passes it
    ("matmul", 0): "@ (right input)ᵀ",
    ("matmul", 1): "(left input)ᵀ @",
}


def step_page(graph: Graph, title: str) -> str:
    """Return the page of a graph after forward and backward. Raises InputError where it is too large."""
    picture = draw(graph, title)
    return fill("steps.html.j2", title=title, svg=picture, steps=steps(graph))


def steps(graph: Graph) -> list[dict[str, Any]]:
    """What each step says and which numbers of the picture it shows.

    phase, title, text, note: words. gate: the id of the gate to point at. show: ids of the texts that appear.
    rows: (input, upstream, local, downstream) of each input of a gate, backward.
    """
    wires = wires_of(graph)
    ids = {node: f"n{i}" for i, node in enumerate(graph.nodes)}
    given = [w for w in wires if w.source.gate is None]
    text = "\n".join(f"{name} = {_shown(value_of(node))}" for name, node in graph.inputs.items())
    told = [step("inputs", "The inputs", text, show=[f"{w.key}v" for w in given])]
    for node in graph.gates:
        assert node.gate is not None
        leaving = [f"{w.key}v" for w in wires if w.source is node]
        name = f"Forward: {node.name + ', ' if node.name else ''}{symbol(node)}"
        told.append(step("forward", name, _equation(node), gate=ids[node], show=leaving))
    last = wires[-1]
    start = _shown(graph.output.grad) if graph.output.grad is not None else "1"
    told.append(
        step(
            "backward",
            "Backward starts at the output",
            f"dL/d(output) = {start}",
            "The gradient of the output with respect to itself is 1, unless a loss behind it says otherwise.",
            show=[f"{last.key}g"],
        )
    )
    for node in reversed(graph.gates):
        assert node.gate is not None
        entering = [w for w in wires if w.gate is node]
        rows = [_row(graph, w) for w in entering if w.gradient is not None]
        note = f"{node.gate.name}: {node.gate.pattern}."
        if len(node.branches) > 1:
            parts = " + ".join(_shown(d) for _, _, d in node.branches)
            note += f" Its output was read {len(node.branches)} times: upstream is the sum, {parts}."
        show = [f"{w.key}g" for w in entering if w.gradient is not None]
        told.append(step("backward", f"Backward: {symbol(node)}", "", note, rows, ids[node], show))
    text = "\n".join(
        f"dL/d{name} = {_sum(node)}" for name, node in graph.inputs.items() if node.grad is not None
    )
    told.append(step("result", "The gradient of every input", text))
    return told


def fill(template: str, **context: Any) -> str:
    """Fill a template beside this file; style and script go inside the page."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    context["style"] = Markup((TEMPLATES / "steps.css").read_text(encoding="utf-8"))
    context["script"] = Markup((TEMPLATES / "steps.js").read_text(encoding="utf-8"))
    context["svg"] = Markup(context.get("svg", ""))
    if "steps" in context:  # "<" could end the script
        context["steps_json"] = Markup(json.dumps(context["steps"]).replace("<", "\\u003c"))
    return environment.get_template(template).render(context)


def step(
    phase: str,
    title: str,
    text: str = "",
    note: str = "",
    rows: list[list[str]] | None = None,
    gate: str | None = None,
    show: list[str] | None = None,
) -> dict[str, Any]:
    """One step of a page, as `steps` says."""
    return {
        "phase": phase,
        "title": title,
        "text": text,
        "note": note,
        "rows": rows or [],
        "gate": gate,
        "show": show or [],
    }


def _equation(node: Node) -> str:
    """s0 = w0 * x0 with the numbers below."""
    assert node.gate is not None
    names = [o.label if o.name or o.constant is not None else "·" for o in node.operands]
    values = [_shown(value_of(o)) for o in node.operands]
    y = _shown(value_of(node))
    if any("\n" in v for v in [*values, y]):
        arguments = "\n".join(f"{n}\n{v}" for n, v in zip(names, values, strict=True))
        return f"{arguments}\n{node.gate.symbol} gives\n{y}"
    if len(values) == 2 and node.gate.elementwise and node.gate.symbol in "+×":
        formula = f" {node.gate.symbol} ".join(v if v[0] != "−" else f"({v})" for v in values)
        return f"{f' {node.gate.symbol} '.join(names)} = {formula} = {y}"
    return f"{node.gate.symbol}({', '.join(values)}) = {y}"


def _row(graph: Graph, wire: Wire) -> list[str]:
    assert wire.gate is not None
    assert wire.gate.gate is not None
    assert wire.gate.grad is not None
    assert wire.gradient is not None
    local = graph.local_gradient(wire.gate, wire.position)
    passed = LOCAL_IN_WORDS.get((wire.gate.gate.name, wire.position), "its Jacobian")
    name = wire.source.label if wire.source.name else f"the {wire.source.label} before it"
    return [
        name,
        _shown(wire.gate.grad),
        passed if local is None else _shown(local),
        _shown(wire.gradient),
    ]


def _sum(node: Node) -> str:
    assert node.grad is not None
    if len(node.branches) < 2 or node.grad.dim():
        return ("\n" if node.grad.dim() else "") + _shown(node.grad)
    return " + ".join(number(float(d)) for _, _, d in node.branches) + f" = {_shown(node.grad)}"


def _shown(value: Tensor | None) -> str:
    return "0" if value is None else "\n".join(lines_of(value))
