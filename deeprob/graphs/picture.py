"""A graph as SVG, as the lecture draws it: left to right, values above each wire, gradients below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from torch import Tensor

from deeprob.errors import InputError
from deeprob.graphs.graph import Graph, value_of
from deeprob.graphs.layout import Point, curve, lay_out
from deeprob.graphs.node import Node

MOST_NODES = 200
CHARACTER, LINE = 6.7, 13.0  # pixels of the 11 px monospaced face

STYLE = """
.graph { --paper: #fdfdfb; --ink: #1c2024; --muted: #59626b; --line: #8b949c; --wash: #f2f3ef;
  --value: #2f7d4f; --gradient: #b4470f; --warn: #b3261e; }
@media (prefers-color-scheme: dark) { .graph { --paper: #15181b; --ink: #e6e8ea; --muted: #9ca5ad;
  --line: #6b757e; --wash: #20252a; --value: #6fc28f; --gradient: #f0945c; --warn: #f28b82; } }
.graph { background: var(--paper); }
.graph text { font: 11px ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace;
  text-anchor: middle; fill: var(--ink); }
.graph .wire { fill: none; stroke: var(--line); stroke-width: 1.2; }
.graph .box { fill: var(--wash); stroke: var(--ink); stroke-width: 1.2; }
.graph .symbol { font-size: 13px; }
.graph .name { font-size: 13px; font-weight: 600; }
.graph .v { fill: var(--value); }
.graph .g { fill: var(--gradient); }
.graph .small, .graph .legend { fill: var(--muted); }
.graph .legend { text-anchor: start; }
.graph .warn { fill: var(--warn); }
.graph tspan.v, .graph tspan.g { font-weight: 600; }
"""


@dataclass(frozen=True)
class Wire:
    """One input of one gate, or (gate None) the graph's output: what flows there, forward and backward."""

    source: Node
    gate: Node | None
    position: int
    key: str

    @property
    def gradient(self) -> Tensor | None:
        """The part of dL/dsource that comes back through this wire."""
        if self.gate is None:
            return self.source.grad
        return next((d for g, p, d in self.source.branches if g is self.gate and p == self.position), None)


def wires_of(graph: Graph) -> list[Wire]:
    """Every wire that is drawn, in forward order; constants are drawn inside their gate."""
    found: list[Wire] = []
    for gate in graph.gates:
        for position, operand in enumerate(gate.operands):
            if operand.constant is None:
                found.append(Wire(operand, gate, position, f"w{len(found)}"))
    return [*found, Wire(graph.output, None, 0, f"w{len(found)}")]


def draw(graph: Graph, title: str = "computational graph") -> str:
    """Return the SVG of a graph after forward, and after backward where it ran.

    Raises InputError where it has over MOST_NODES nodes.
    """
    if len(graph.nodes) > MOST_NODES:
        raise InputError(
            f"{len(graph.nodes)} nodes are too many to draw",
            expected=f"at most {MOST_NODES}",
            fix="take show=table or show=flat",
        )
    wires = wires_of(graph)
    ids = {node: f"n{i}" for i, node in enumerate(graph.nodes)}
    sizes: dict[str, Point] = {}
    for node in graph.nodes:
        if node.constant is None:
            sizes[ids[node]] = _node_size(node)
    edges = []
    for wire in wires:
        sizes[wire.key] = _wire_size(wire)
        edges.append((ids[wire.source], wire.key))
        if wire.gate is not None:
            edges.append((wire.key, ids[wire.gate]))
    layout = lay_out(sizes, edges)
    parts = []
    for (a, b), points in layout.edges.items():
        # a wire runs straight through the place of its numbers
        run = [(points[0][0] + sizes[a][0] / 2, points[0][1]), *points[1:-1]]
        run.append((points[-1][0] - sizes[b][0] / 2, points[-1][1]))
        parts.append(f'<path class="wire" d="{curve(run)}"/>')
    for wire in wires:
        x, y = layout.centres[wire.key]
        width = sizes[wire.key][0]
        parts.append(f'<path class="wire" d="M{x - width / 2:.1f},{y:.1f}h{width:.1f}"/>')
        above = lines_of(value_of(wire.source))
        parts.append(_text(x, y - 5 - LINE * (len(above) - 1), above, "v", f"{wire.key}v"))
        if wire.gradient is not None:
            parts.append(_text(x, y + 14, lines_of(wire.gradient), "g", f"{wire.key}g"))
    for node in graph.nodes:
        if node.constant is None:
            parts.append(_node_mark(node, ids[node], layout.centres[ids[node]], sizes[ids[node]]))
    legend = [("v", "above a wire: its value"), ("g", "below: the gradient of the output with respect to it")]
    return frame(parts, layout.width, layout.height, title, legend)


def frame(
    parts: Sequence[str], width: float, height: float, title: str, legend: Sequence[tuple[str, str]]
) -> str:
    """A whole SVG document around drawn parts: style, title, a legend of (class, words) below."""
    width = max(width, 36 + CHARACTER * max(len(words) + 2 for _, words in legend))
    rows = "".join(
        f'<text class="legend" x="24" y="{height + 14 + 16 * i:.0f}"><tspan class="{kind}">■</tspan> '
        f"{escape(words)}</text>"
        for i, (kind, words) in enumerate(legend)
    )
    height += 16 * len(legend) + 10
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="graph" role="img" aria-label={quoteattr(title)} '
        f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n"
        f'<rect width="100%" height="100%" fill="var(--paper)"/>\n' + "\n".join(parts) + f"\n{rows}\n</svg>\n"
    )


def number(value: float) -> str:
    """Two decimals, or two digits where that says nothing; a true minus."""
    plain = value == 0 or 0.01 <= abs(value) < 10_000
    text = f"{value:.2f}" if plain else f"{value:.2g}"
    return text.removesuffix(".00").replace("-", "−")


def lines_of(value: Tensor) -> list[str]:
    """The numbers of a small array, row by row; of a larger one its shape and Euclidean norm."""
    if value.dim() == 0:
        return [number(float(value))]
    value = value.where(value.abs() > 1e-12 * value.abs().max(), 0) if value.numel() else value  # rounding
    if value.dim() <= 2 and value.shape[-1] <= 6 and value.numel() // max(1, value.shape[-1]) <= 4:
        rows = [[number(v) for v in row] for row in value.reshape(-1, value.shape[-1]).tolist()]
        widest = max((len(cell) for row in rows for cell in row), default=0)
        return [" ".join(cell.rjust(widest) for cell in row) for row in rows] or ["empty"]
    return [f"{'×'.join(map(str, value.shape))}  ‖·‖ {number(float(value.norm()))}"]


def symbol(node: Node) -> str:
    """The gate's symbol with its constant operands: + 1, × −1."""
    assert node.gate is not None
    constants = [number(o.constant) for o in node.operands if o.constant is not None]
    return " ".join([node.gate.symbol, *constants])


def _node_size(node: Node) -> Point:
    if node.gate is None:
        return (CHARACTER * 1.3 * len(node.label) + 10, 24)
    return (max(30.0, CHARACTER * 1.25 * len(symbol(node)) + 14), 30)


def _wire_size(wire: Wire) -> Point:
    above = lines_of(value_of(wire.source))
    below = lines_of(wire.gradient) if wire.gradient is not None else [""]
    longest = max(len(line) for line in above + below)
    return (CHARACTER * longest + 12, 2 * LINE * max(len(above), len(below)) + 6)


def _text(x: float, y: float, lines: list[str], kind: str, key: str) -> str:
    rows = "".join(
        f'<tspan x="{x:.1f}" y="{y + LINE * i:.1f}" xml:space="preserve">{escape(line)}</tspan>'
        for i, line in enumerate(lines)
    )
    return f'<text class="{kind}" id="{key}">{rows}</text>'


def _node_mark(node: Node, key: str, centre: Point, size: Point) -> str:
    (x, y), (width, height) = centre, size
    if node.gate is None:
        return f'<text class="name" id="{key}" x="{x:.1f}" y="{y + 4:.1f}">{escape(node.label)}</text>'
    told = f"<title>{escape(node.gate.name)}: {escape(node.gate.pattern)}</title>"
    return (
        f'<g id="{key}">{told}<rect class="box" x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" '
        f'width="{width:.1f}" height="{height:.1f}" rx="15"/>'
        f'<text class="symbol" x="{x:.1f}" y="{y + 4.5:.1f}">{escape(symbol(node))}</text></g>'
    )
