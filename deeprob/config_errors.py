"""Hydra's and OmegaConf's errors, in one line that names the nearest valid key or choice."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from deeprob.errors import InputError
from deeprob.overrides import shell

_KINDS = {  # what OmegaConf says of a value of another kind, and what is typed instead
    "is not a ListConfig|Cannot merge DictConfig with ListConfig": "a list, as '{0}=[{1}]'",
    "Cannot assign .* to Dict": "names with values, as '{0}={{name: {1}}}'",
    "could not be converted to Integer": "a whole number",
    "could not be converted to Float": "a number",
    "is not a valid bool": "true or false",
}
_NO_NAMES = ("null", "true", "false")
_NOISE = ("object_type", "reference_type", "full_key", "See https", "Use -h", "usage:")


class one_line_errors:  # noqa: N801  a context manager reads as a verb
    """Turn their errors into InputError.

    verb: whose config it is. overrides: what it was composed with. keys: lists the valid keys, with dots.
    options: lists the choices of a group.
    """

    def __init__(
        self,
        verb: str,
        overrides: Sequence[str],
        keys: Callable[[], Sequence[str]],
        options: Callable[[str], Sequence[str]],
    ) -> None:
        self.where = f"configs/{verb}.yaml"
        self.overrides = overrides
        self.keys, self.options = keys, options

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        from hydra.errors import HydraException

        if isinstance(error, HydraException | OmegaConfBaseException):
            raise self._explain(error) from error
        if isinstance(error, TypeError | ValueError) and not isinstance(error, InputError):
            for override in self.overrides:  # Hydra has no words for a choice that is no name
                key, _, value = override.partition("=")
                found = self.options(key) if key.isidentifier() else []
                names = value.strip("[]").split(",")
                if found and not all(re.search("[a-z]", n) and n not in _NO_NAMES for n in names):
                    raise InputError(f"no {key} named {value}", expected=" ".join(found)) from error

    def _explain(self, error: BaseException) -> InputError:
        text = str(error)
        twice = re.search(r"Could not append to config\. An item is already at '([^']+)'", text)
        if twice:
            there, hint = f"{twice[1]} is there already", f"leave out the +: {twice[1]}=..."
            return InputError(there, where=self.where, fix=hint)
        several = re.search(r"Ambiguous value for argument '([^'=]+)=(.*?)'\n", text)
        if several:
            return InputError(
                f"{several[1]}={several[2]} stands for several runs",
                where=self.where,
                expected="one value, or -m in front",
                fix="a text with commas stands in quotes: " + shell(several[1], several[2]),
            )
        key = re.search(r"Could not (?:override|append|delete) '?([\w./@]+)'?", text)
        if key:
            return self._no_key(key[1])
        choice = re.search(r"Could not find '([\w-]+)/([^']+)'", text)
        if choice:
            group, name = choice.groups()
            found = self.options(group)
            near = difflib.get_close_matches(name, found, n=1)
            offer = f"did you mean {near[0]}?" if near else None
            return InputError(f"no {group} named {name!r}", expected=" ".join(found), fix=offer)
        unknown = re.search(r"Key '([^']+)' (?:not in|is not in struct)", text)
        if unknown:
            full = re.search(r"full_key: (\S+)", text)
            return self._no_key(full[1] if full else unknown[1])
        wrong = re.match(r"Error merging override ([\w.@/]+)=(.*)", text)
        for pattern, expected in _KINDS.items():
            if wrong and re.search(pattern, "; ".join(_lines(error))):
                what, where = f"{wrong[1]}={wrong[2]}", self.where
                return InputError(what, where=where, expected=expected.format(*wrong.groups()))
        grammar = next((o for o in self.overrides if text.startswith(f"Error parsing override '{o}'")), None)
        if grammar is not None and "=" not in grammar:
            return InputError(f"cannot use {grammar!r}", where=self.where, expected="key=value")
        return InputError("; ".join(_lines(error)), where=self.where)

    def _no_key(self, name: str) -> InputError:
        """Explain a key that cannot be set: misspelt, new in an open mapping, or not of these choices."""
        given = [o for o in self.overrides if o.partition("=")[0] == name and o.partition("=")[2][:1] == "{"]
        if given:
            return InputError(
                f"{name} cannot take new keys like this", where=self.where, fix=f"add them: '+{given[0]}'"
            )
        keys = self.keys()
        if name in keys:
            groups = (
                " ".join(o for o in self.overrides if "/" in o.partition("=")[0]) or "what else is chosen"
            )
            return InputError(
                f"no key {name!r} beside {groups}",
                where=self.where,
                fix="an experiment sets it: start from one made for that choice, or from name=... data=...",
            )
        return InputError(f"no key {name!r}", where=self.where, fix=nearest(name, keys))


def _lines(error: BaseException) -> list[str]:
    """What the error and its causes say, each line once."""
    causes = [str(error)]
    while error.__cause__ is not None:
        error = error.__cause__
        causes.append(str(error))
    lines = [line.strip() for line in "\n".join(causes).splitlines() if line.strip()]
    return [line for line in dict.fromkeys(lines) if not line.startswith(_NOISE)]


def nearest(name: str, valid: Sequence[str]) -> str | None:
    """Name the nearest valid key: beside the first level that is wrong, else one that ends the same."""
    level, dot, last = name.rpartition(".")
    beside = {v[len(level) + len(dot) :].split(".")[0] for v in valid if v.startswith(level + dot)}
    if not beside:
        return nearest(level, valid) if level else None
    near = [f"{level}{dot}{found}" for found in difflib.get_close_matches(last, beside, n=1)]
    near = (
        near or sorted((key for key in valid if key.endswith(f".{last}")), key=lambda key: key.count("."))[:2]
    )
    return f"did you mean {' or '.join(near)}?" if near else f"valid: {' '.join(sorted(beside))}"


def check_flags(arguments: Sequence[str]) -> None:
    """Raise InputError for flags that Hydra's command line refuses: it would print its whole usage."""
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        raise InputError(message, expected="key=value, or one of Hydra's flags such as --cfg job")

    parser.error = refuse  # type: ignore[method-assign]
    parser.parse_args(list(arguments))


def flatten(cfg: DictConfig | Mapping[str, Any]) -> dict[str, Any]:
    """All keys of a config with dots between the levels, unresolved: {"optim.optimizer.lr": 0.1, ...}.

    An empty mapping stands for itself.
    """

    def walk(prefix: str, node: Any) -> Iterator[tuple[str, Any]]:
        if isinstance(node, Mapping) and node:
            for key, value in node.items():
                yield from walk(f"{prefix}{key}.", value)
        elif prefix:
            yield prefix[:-1], node

    plain = OmegaConf.to_container(cfg, resolve=False) if isinstance(cfg, DictConfig) else cfg
    return dict(walk("", plain))
