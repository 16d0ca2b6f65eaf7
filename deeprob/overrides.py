"""Overrides as people type them: paths and names with letters that Hydra's grammar has no place for.

One rule for every verb. A value that the grammar reads is what Hydra makes of it: a,b are two runs, [a,b] is
a list. Any other is the text that stands there, where it is a path or a name, or holds no bracket, comma or
quote. What the grammar would read as something else is put in quotes: 'data.root="a,b"'.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from deeprob.errors import InputError
from deeprob.schema.moved import KEYS

_PLAIN = re.compile(r"[\w./:+\-]*", re.ASCII)  # always read, and read as it stands
_SURE = re.compile(r"[A-Za-z_/.][\w./+-]*", re.ASCII)
_WORDS = ("null", "true", "false", "nan", "inf")
_FREE_TEXT = {
    "graph": re.compile("expression|at|upstream|chain"),
    "card": re.compile(r"card\.(?!targets\.).+"),
    "predict": re.compile("input|topic|boxes"),
}
# is new in a config that chooses no data set: of the run's own
_OF_THE_RUN = {"evaluate": "data.root", "graph": "data.root"}
_PATHS = re.compile(
    r"run|runs|out|output|sheet|predictions|against|poses|report|detector|render|boxes|objects|input"
    r"|name|base|job|root|paths\.\w+|folder"
    r"|.*\.(root|name|folder|pretrained|features|path|objects)"
)


def quoted(value: object) -> str:
    """A text as Hydra's grammar takes any text."""
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(str(value), Quote.single).with_quotes()


def shell(key: str, value: object) -> str:
    """`key=value` to paste into a shell, whatever the value is."""
    text = str(value)
    if _SURE.fullmatch(text) and text.lower() not in _WORDS:
        return f"{key}={text}"
    escaped = re.sub(r'(\\*)"', r'\1\1\\"', text)
    escaped += "\\" * (len(escaped) - len(escaped.rstrip("\\")))
    return shlex.quote(f'{key}="{escaped}"')


def plain(override: str) -> str:
    """The value of `key=value` where only a text is possible: what is in quotes, or all that stands there."""
    _, _, value = override.partition("=")
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        parsed = _parsed(override)
        return value if parsed is None else str(parsed)
    return value


def quote(overrides: Sequence[str]) -> list[str]:
    """The same overrides for Hydra, texts that its grammar cannot read in quotes."""
    return [_quote(override) for override in overrides]


def quote_text(verb: str, overrides: Sequence[str]) -> list[str]:
    """The overrides for Hydra's grammar: a verb's free text in quotes, the rest as `quote` says.

    What is quoted already stays as it is. A key that is new where no data set is chosen gets its plus.
    """
    texts = _FREE_TEXT.get(verb, re.compile("(?!)"))
    chosen = {override.partition("=")[0] for override in overrides}
    taken = []
    for override in overrides:
        key, equals, value = override.partition("=")
        if key == _OF_THE_RUN.get(verb) and "data" not in chosen:
            override = f"+{override}"
        if equals and texts.fullmatch(key) and value[:1] not in ("'", '"'):
            override = f"{key}={quoted(value)}"
        taken.append(override)
    return quote(taken)


def _quote(override: str) -> str:
    key, equals, value = override.partition("=")
    if not equals or not value or override.startswith("-") or _PLAIN.fullmatch(value) or _reads(override):
        return override
    if re.fullmatch(r"\[[^\[\]{}()'\"]*\]", value):
        parts = (part.strip() for part in value[1:-1].split(","))
        return f"{key}=[{','.join(part if _reads(f'x={part}') else quoted(part) for part in parts)}]"
    if _PATHS.fullmatch(key.lstrip("+~")) or not re.search(r"[\[\]{}()',\"]", value):
        return f"{key}={quoted(value)}"
    return override


def _reads(override: str) -> bool:
    return _parsed(override) is not None


def _parsed(override: str) -> object:
    """What Hydra's grammar makes of a value, None where it cannot read it."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        value = OverridesParser.create().parse_override(override).value()
    except HydraException:
        return None
    return "null" if value is None else value


_RENAMED = {"experiment=robocup_places": "experiment=robocup_coordinates"}
"""Choices of earlier versions, and what they are called now."""


def check_known(overrides: Sequence[str]) -> None:
    """Raise InputError for settings of Hydra's without effect here, and for names of earlier versions."""
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        if key in KEYS:
            raise InputError(f"{key} has another name now", fix=f"{KEYS[key]}={value}")
        for choice in (f"{key}={one}" for one in value.split(",")):
            if choice in _RENAMED:
                raise InputError(f"{choice} has another name now", fix=_RENAMED[choice])
        if key in ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra.output_subdir"):
            raise InputError(
                f"{key} has no effect: a run's folder is paths.runs_dir/name/<run id>",
                fix="set paths.runs_dir or name; DEEPROB_RUN_ID gives the run id",
            )
