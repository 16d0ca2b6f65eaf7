"""A traced network as a table, an SVG of its blocks, and a page whose blocks open."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from deeprob.errors import InputError
from deeprob.graphs.flow import words
from deeprob.graphs.layout import curve, lay_out
from deeprob.graphs.page import fill
from deeprob.graphs.picture import CHARACTER, LINE, MOST_NODES, frame, number
from deeprob.graphs.trace import INPUT, Trace, TracedLayer

LEGEND = (
    ("v", "‖y‖ norm of the block's output over the batch; FLOP: forward, the whole batch"),
    ("g", "‖dy‖ norm of the loss's gradient with respect to it; dashed: a block that holds layers"),
)


@dataclass(frozen=True)
class Block:
    """Layers that are drawn as one box: a single layer, or all under one path."""

    path: tuple[str, ...]
    layers: Sequence[TracedLayer]
    mistakes: Sequence[str]

    @property
    def folded(self) -> bool:
        return self.layers[0].path != self.path

    @property
    def last(self) -> TracedLayer:
        return self.layers[-1]

    @property
    def anchor(self) -> str:
        return "block-" + re.sub(r"\W", "-", ".".join(self.path))

    def total(self, name: str) -> int:
        """The sum of `parameters`, `flops` or `saved_bytes`."""
        return sum(getattr(layer, name) for layer in self.layers)


def mistakes_of(trace: Trace) -> list[list[str]]:
    """What is wrong with each layer, in words."""
    at_output = next((layer.gradient for layer in reversed(trace.layers) if layer.gradient is not None), None)
    return [words(layer.flow, layer.gradient, at_output) for layer in trace.layers]


def blocks_of(trace: Trace, inside: tuple[str, ...] = (), depth: int = 1) -> list[Block]:
    """The boxes inside a block, `depth` levels open, in the order they ran."""
    told = mistakes_of(trace)
    groups: dict[tuple[str, ...], list[int]] = {}
    for i, layer in enumerate(trace.layers):
        if layer.path[: len(inside)] == inside:
            groups.setdefault(layer.path[: len(inside) + depth], []).append(i)
    return [
        Block(path, [trace.layers[i] for i in members], [m for i in members for m in told[i]])
        for path, members in groups.items()
    ]


def draw_network(trace: Trace, title: str, inside: tuple[str, ...] = (), depth: int = 1) -> str:
    """Return an SVG of the boxes inside a block; a folded block's box links to #block-<path>.

    Raises InputError where there are over MOST_NODES.
    """
    blocks = blocks_of(trace, inside, depth)
    if len(blocks) > MOST_NODES:
        raise InputError(
            f"{len(blocks)} boxes are too many to draw",
            expected=f"at most {MOST_NODES}",
            fix="fold them: a smaller depth" if depth > 1 else "take show=table",
        )
    keys = {id(layer): i for i, block in enumerate(blocks) for layer in block.layers}
    texts = {i: _texts(block) for i, block in enumerate(blocks)}
    texts[INPUT] = [("name", "input")] + (
        [("small", "×".join(map(str, s))) for s in trace.input_shapes] if not inside else []
    )
    edges = []
    for i, block in enumerate(blocks):
        for layer in block.layers:
            for source in layer.sources:
                from_key = INPUT if source == INPUT else keys.get(id(trace.layers[source]), INPUT)
                if from_key != i:
                    edges.append((from_key, i))
    sizes = {}
    for key, lines in texts.items():
        longest = max(len(_plain(line)) for _, line in lines)
        sizes[key] = (CHARACTER * longest + 22, LINE * 1.15 * len(lines) + 14)
    layout = lay_out(sizes, edges)
    parts = []
    for (a, b), points in layout.edges.items():
        run = [(points[0][0] + sizes[a][0] / 2, points[0][1]), *points[1:-1]]
        run.append((points[-1][0] - sizes[b][0] / 2, points[-1][1]))
        parts.append(f'<path class="wire" d="{curve(run)}"/>')
    for key, lines in texts.items():
        parts.append(_box(blocks[key] if key != INPUT else None, lines, layout.centres[key], sizes[key]))
    return frame(parts, layout.width, layout.height, title, LEGEND)


def network_page(trace: Trace, title: str, told: Sequence[str] = ()) -> str:
    """Return one self-contained page: the blocks, each of which opens, and the table of all layers."""
    sections = [
        {
            "anchor": "block-" + re.sub(r"\W", "-", ".".join(path)),
            "name": ".".join(path) or "the whole network",
            "svg": draw_network(trace, ".".join(path) or title, path),
        }
        for path in _folded_paths(trace)
    ]
    table = [
        [layer.name, *row[1:], "; ".join(mistakes)]
        for layer, row, mistakes in zip(trace.layers, rows(trace), mistakes_of(trace), strict=True)
    ]
    return fill("network.html.j2", title=title, sections=sections, header=HEADER, rows=table, told=told)


HEADER = ("layer", "kind", "output", "parameters", "MFLOP", "saved KiB", "‖y‖", "‖dy‖", "what is wrong")


def rows(trace: Trace) -> list[list[str]]:
    """The table, one row a layer, without what is wrong. FLOPs and saved bytes are of the whole batch."""
    return [
        [
            layer.name,
            layer.kind,
            "×".join(map(str, layer.shape)) or "one number",
            f"{layer.parameters:,}" if layer.parameters else "",
            f"{layer.flops / 1e6:.1f}" if layer.flops else "",
            f"{layer.saved_bytes / 1024:.0f}" if layer.saved_bytes else "",
            number(layer.flow.norm) if layer.flow else "",
            number(layer.gradient) if layer.gradient is not None else "",
        ]
        for layer in trace.layers
    ]


def summary(trace: Trace) -> str:
    """The whole network in one line."""
    whole = Block((), trace.layers, [])
    samples = max(1, trace.input_shapes[0][0] if trace.input_shapes and trace.input_shapes[0] else 1)
    return (
        f"{len(trace.layers)} layers, {whole.total('parameters'):,} parameters, "
        f"{whole.total('flops') / samples / 1e6:.1f} MFLOP a sample forward, "
        f"{whole.total('saved_bytes') / 2**20:.1f} MiB saved for backward by a batch of {samples}; "
        f"loss {trace.loss:.4g}"
    )


def _folded_paths(trace: Trace) -> Iterator[tuple[str, ...]]:
    """The whole network, then every block that holds layers, outer ones first."""
    seen: dict[tuple[str, ...], None] = {(): None}
    for layer in trace.layers:
        for end in range(1, len(layer.path)):
            seen.setdefault(layer.path[:end])
    yield from seen


def _texts(block: Block) -> list[tuple[str, str]]:
    """The lines inside a box, each with its class; a value and a gradient in one line are parted by a tab."""
    last = block.last
    kind = f"{len(block.layers)} layers" if block.folded else last.kind
    lines = [("name", block.path[-1]), ("small", f"{kind}  {'×'.join(map(str, last.shape[1:])) or '1'}")]
    cost = []
    if parameters := block.total("parameters"):
        cost.append(f"{short(parameters)} weights")
    if flops := block.total("flops"):
        cost.append(f"{short(flops)}FLOP")
    if cost:
        lines.append(("small", "  ".join(cost)))
    norm = f"‖y‖ {number(last.flow.norm)}" if last.flow else ""
    gradient = f"‖dy‖ {number(last.gradient)}" if last.gradient is not None else ""
    lines.append(("flow", f"{norm}\t{gradient}"))
    if block.mistakes:
        more = f" (+{len(block.mistakes) - 1})" if len(block.mistakes) > 1 else ""
        lines.append(("warn", block.mistakes[0].partition(":")[0] + more))
    return lines


def short(count: float) -> str:
    """A count with k, M or G: 11.2 M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} "


def _plain(line: str) -> str:
    return line.replace("\t", "  ")


def _box(
    block: Block | None, lines: list[tuple[str, str]], centre: tuple[float, float], size: tuple[float, float]
) -> str:
    (x, y), (width, height) = centre, size
    told = ""
    if block is not None:
        told = f"<title>{escape('; '.join([block.last.name, *block.mistakes]))}</title>"
    dash = ' stroke-dasharray="5 3"' if block is not None and block.folded else ""
    parts = [
        f'<rect class="box" x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" width="{width:.1f}" '
        f'height="{height:.1f}" rx="6"{dash}/>'
    ]
    for i, (kind, line) in enumerate(lines):
        at = y - height / 2 + 7 + LINE * 1.15 * (i + 0.75)
        shown = escape(line)
        if kind == "flow":
            value, _, gradient = shown.partition("\t")
            shown = f'<tspan class="v">{value}</tspan>  <tspan class="g">{gradient}</tspan>'
        parts.append(f'<text class="{kind}" x="{x:.1f}" y="{at:.1f}" xml:space="preserve">{shown}</text>')
    drawn = told + "".join(parts)
    if block is not None and block.folded:
        return f'<a href="#{block.anchor}">{drawn}</a>'
    return f"<g>{drawn}</g>"
