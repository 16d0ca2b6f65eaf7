"""Where the boxes of a directed graph go: in layers from left to right, crossings reduced, long edges routed.

Laid out by grandalf (Sugiyama, Tagawa, Toda, 1981): the one layered layout on PyPI that is pure Python, knows
the boxes' sizes and needs no system package; graphviz needs its `dot`, networkx has none of its own.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Point = tuple[float, float]

LAYER_GAP, ROW_GAP, MARGIN = 18.0, 14.0, 24.0  # pixels


@dataclass(frozen=True)
class Layout(Generic[Key]):
    """Centres of the boxes, and the points that each edge goes through, in pixels; y points down."""

    centres: Mapping[Key, Point]
    edges: Mapping[tuple[Key, Key], Sequence[Point]]
    width: float
    height: float


class _View:
    """A box as grandalf sees it; its layers lie one under the other, so width and height are exchanged."""

    def __init__(self, width: float, height: float) -> None:
        self.w, self.h = height, width
        self.xy = (0.0, 0.0)


def lay_out(sizes: Mapping[Key, Point], edges: Sequence[tuple[Key, Key]]) -> Layout[Key]:
    """Place boxes of the given (width, height) so that every edge (from, to) points right.

    The graph must have no cycle. Parts that hang together are set one below the other.
    """
    from grandalf.graphs import Edge, Vertex, graph_core
    from grandalf.layouts import SugiyamaLayout

    edges = list(dict.fromkeys(edges))
    centres: dict[Key, Point] = {}
    routes: dict[tuple[Key, Key], list[Point]] = {}
    top = MARGIN
    for keys in _connected(list(sizes), edges):
        vertices = {key: Vertex(key) for key in keys}
        for key, vertex in vertices.items():
            vertex.view = _View(*sizes[key])
        # not grandalf's own Graph: it keeps edges in a set, and every drawing would differ
        part = graph_core(
            list(vertices.values()), [Edge(vertices[a], vertices[b]) for a, b in edges if a in vertices]
        )
        sugiyama = SugiyamaLayout(part)
        sugiyama.xspace, sugiyama.yspace = ROW_GAP, LAYER_GAP
        roots = [v for v in part.sV if not v.e_in()]
        sugiyama.init_all(roots=roots, optimize=True)
        sugiyama.draw(6)
        _part_overlaps(sugiyama)
        boxes = [v.view for v in part.sV]
        left = min(b.xy[1] - b.h / 2 for b in boxes) - MARGIN
        upper = min(b.xy[0] - b.w / 2 for b in boxes) - top
        for vertex in part.sV:
            centres[vertex.data] = (vertex.view.xy[1] - left, vertex.view.xy[0] - upper)
        for edge in part.sE:
            a, b = edge.v
            # long edges pass through one dummy a layer
            between = [d for r, d in sorted(sugiyama.ctrls.get(edge, {}).items()) if d not in (a, b)]
            points = [centres[a.data]]
            points += [(d.view.xy[1] - left, d.view.xy[0] - upper) for d in between]
            routes[(a.data, b.data)] = [*points, centres[b.data]]
        top = max(centres[v.data][1] + v.view.w / 2 for v in part.sV) + 2 * MARGIN
    xs = [centres[k][0] + sizes[k][0] / 2 for k in sizes] + [x for r in routes.values() for x, _ in r]
    ys = [centres[k][1] + sizes[k][1] / 2 for k in sizes] + [y for r in routes.values() for _, y in r]
    lowest = min([0.0, *(y - MARGIN for r in routes.values() for _, y in r)])
    if lowest < 0:  # a long edge went above the boxes
        centres = {k: (x, y - lowest) for k, (x, y) in centres.items()}
        routes = {k: [(x, y - lowest) for x, y in r] for k, r in routes.items()}
    return Layout(centres, routes, max(xs) + MARGIN, max(ys) - lowest + MARGIN)


def _connected(keys: Sequence[Key], edges: Sequence[tuple[Key, Key]]) -> list[list[Key]]:
    """The parts that hang together, each in the order of `keys`."""
    part = {key: [key] for key in keys}
    for a, b in edges:
        if part[a] is not part[b]:
            part[a] += part[b]
            for key in part[b]:
                part[key] = part[a]
    place = {key: i for i, key in enumerate(keys)}
    return [sorted(group, key=place.__getitem__) for group in {id(g): g for g in part.values()}.values()]


def _part_overlaps(sugiyama: Any) -> None:
    """Push boxes of one layer apart where grandalf, which averages four placements, let them touch."""
    for layer in sugiyama.layers:
        low = float("-inf")
        for vertex in layer:
            view = vertex.view
            along, across = view.xy
            along = max(along, low + view.w / 2)
            view.xy = (along, across)
            low = along + view.w / 2 + ROW_GAP / 2


def curve(points: Sequence[Point]) -> str:
    """An SVG path through the points that leaves and enters each one horizontally."""
    path = f"M{points[0][0]:.1f},{points[0][1]:.1f}"
    for (x0, y0), (x1, y1) in pairwise(points):
        middle = (x0 + x1) / 2
        bend = "L" if abs(y0 - y1) < 0.5 else f"C{middle:.1f},{y0:.1f} {middle:.1f},{y1:.1f} "
        path += f"{bend}{x1:.1f},{y1:.1f}"
    return path
