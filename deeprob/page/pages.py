"""HTML pages from the templates beside this file: style and script inside, no network."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from deeprob.page.definitions import DEFINITIONS

TEMPLATES = Path(__file__).resolve().parent / "templates"


def render(template: str, terms: Iterable[str], context: Mapping[str, Any]) -> str:
    """Fill a template. terms: names to define at the end of the page, as far as DEFINITIONS knows them."""
    wanted = set(terms)
    environment = _environment(autoescape=not template.endswith(".md.j2"))
    environment.globals["definitions"] = {k: v for k, v in DEFINITIONS.items() if k in wanted}
    return environment.get_template(template).render(context)


@functools.cache  # reading the templates takes longer than filling them
def _environment(autoescape: bool) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(fixed=fixed, signed=signed, thousands=thousands, p_value=p_value)
    for name, file in (("style", "style.css"), ("script", "script.js")):
        environment.globals[name] = Markup((TEMPLATES / file).read_text(encoding="utf-8"))
    return environment


def fixed(value: float | None, digits: int = 3) -> str:
    """A number with so many decimals; a dash where it is not known."""
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}".replace("-", "−")


def signed(value: float | None, digits: int = 3) -> str:
    """A difference with its sign, a true minus."""
    return "–" if value is None or math.isnan(value) else f"{value:+.{digits}f}".replace("-", "−")


def thousands(value: int) -> str:
    """A count with separated thousands."""
    return f"{value:,}"


def p_value(value: float | None) -> str:
    """A p-value; below a thousandth only that."""
    if value is None or math.isnan(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
