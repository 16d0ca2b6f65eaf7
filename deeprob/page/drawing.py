"""Figures as inline SVG whose colours and fonts are the page's own: they follow light, dark and print.

matplotlib draws with marker colours; `to_svg` replaces them by CSS variables, and `standalone` by plain
colours for files that stand beside the report.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeprob.writing import write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID, PAPER = "#010101", "#020202", "#030303", "#040404"
SERIES = ("#050505", "#060606", "#070707", "#080808")
COLOURS = {  # marker -> CSS variable, and its value in the light theme
    INK: ("--ink", "#1c2024"),
    MUTED: ("--muted", "#5b646d"),
    GRID: ("--line", "#dedfdc"),
    PAPER: ("--paper", "#ffffff"),
    SERIES[0]: ("--series-1", "#0b5f8a"),
    SERIES[1]: ("--series-2", "#b4470f"),
    SERIES[2]: ("--series-3", "#2f7d4f"),
    SERIES[3]: ("--series-4", "#7a4fa3"),
}
WIDTH, HEIGHT = 4.5, 2.9  # inches: a phone shows it at its own size, a desktop two side by side
LONGEST_NAME = 28  # characters that leave room for what they name


def standalone(svg: str) -> str:
    """The same figure as a file of its own: light colours, white ground."""
    for variable, colour in COLOURS.values():
        svg = svg.replace(f"var({variable})", colour)
    svg = svg.replace("var(--sans)", "sans-serif")
    return svg.replace("<svg ", '<svg style="background:#ffffff" ', 1)


def write_drawings(folder: Path, drawings: Mapping[str, str]) -> None:
    """Write each drawing that there is as a file beside a report, <name>.svg."""
    for name, svg in drawings.items():
        if svg:
            write_text(folder / f"{name.replace('/', '-')}.svg", standalone(svg) + "\n")


def new_figure(width: float = WIDTH, height: float = HEIGHT) -> tuple[Figure, Axes]:
    """An empty drawing in the report's style, sizes in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    style(axes)
    return figure, axes


def style(axes: Axes) -> None:
    """Draw axes as the report does: a light grid behind, no frame on the right and above."""
    axes.set_facecolor("none")
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(which="both", colors=MUTED, labelcolor=INK, labelsize=9)
    axes.xaxis.label.set(color=INK, fontsize=10)
    axes.yaxis.label.set(color=INK, fontsize=10)


def log_x(axes: Axes) -> None:
    """Make the x axis logarithmic, its marks plain numbers and few enough for a phone."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if high > 100 * low else (1.0, 2.0, 5.0), numticks=7))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def add_legend(axes: Axes, columns: int = 3) -> None:
    """A legend above the drawing, in at most so many columns; fewer where its names are long."""
    longest = max((len(name) for name in axes.get_legend_handles_labels()[1]), default=0)
    # Inches: of the line before a name, and of a letter.
    figure: Any = axes.get_figure(root=True)
    fit = int(figure.get_figwidth() / (0.45 + 0.07 * longest))
    columns = max(1, min(columns, fit))
    axes.legend(  # above the drawing, where it hides nothing
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=columns,
        frameon=False,
        labelcolor=INK,
        fontsize=9,
        borderaxespad=0.2,
        handlelength=1.4,
    )


def _take_names_as_they_are(figure: Figure) -> None:
    """A class called "$a$" is no formula; a stray byte in a name is written as its number."""
    from matplotlib.text import Text
    from matplotlib.ticker import FuncFormatter

    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            ticks = axis.get_major_formatter()
            if isinstance(ticks, FuncFormatter):  # also of given names, which are written anew when drawn
                axis.set_major_formatter(FuncFormatter(_encodable_by(ticks.func)))
    for text in figure.findobj(Text):
        text.set_parse_math(False)
        text.set_text(_encodable(text.get_text()))


def _encodable_by(function: Callable[..., str]) -> Callable[..., str]:
    return lambda value, position: _encodable(function(value, position))


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _lay_out(figure: Figure) -> None:
    """Place what is drawn: `savefig` alone would draw everything twice to do it."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    FigureCanvasSVG(figure)  # which measures texts as it writes them
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")


def to_svg(figure: Figure, name: str, description: str) -> str:
    """Inline SVG: text as text, ids of its own, a description for who cannot see it, the page's colours."""
    import matplotlib

    buffer = io.StringIO()
    _take_names_as_they_are(figure)
    settings = {"svg.fonttype": "none", "svg.hashsalt": name, "text.parse_math": False}
    with matplotlib.rc_context(settings):
        _lay_out(figure)
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*|<style.*?</style>\s*", "", svg, flags=re.S)
    name = re.sub(r"\W+", "-", name)
    svg = re.sub(r"\bid=\"", f'id="{name}-', svg)
    svg = re.sub(r"(url\(|href=\")#", rf"\g<1>#{name}-", svg)
    for marker, (variable, _) in COLOURS.items():
        svg = svg.replace(marker, f"var({variable})")
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", "var(--sans)", svg)
    label = html.escape(description)
    opening = f'<svg role="img" aria-label="{label}" '
    return svg.replace("<svg ", opening, 1).strip()
