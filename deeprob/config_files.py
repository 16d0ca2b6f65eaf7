"""YAML files read with care: a small one cannot stand for a huge one, a run folder's looks nothing up."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf._utils import get_yaml_loader

from deeprob.config_errors import flatten
from deeprob.errors import InputError
from deeprob.overrides import plain

MOST_BRACKETS, LONGEST_LINE = 2_000, 1_000
MOST_NODES = 1_000_000  # keys and values, each as often as its aliases repeat it


def read_yaml(path: Path) -> DictConfig | ListConfig:
    """A YAML file. Raises FileNotFoundError, and InputError where it is not readable or stands for too much.

    Anchors, aliases and merge keys are YAML's own and are taken; but a few lines of them can stand for more
    than any memory holds ("billion laughs"), so what they stand for is counted before it is made.
    """
    return _made(_parse(path), path)


def read_written(path: Path) -> DictConfig:
    """A config that deeprob wrote, such as config.yaml of a run folder: `read_values` as a config."""
    made = _made(read_values(path), path)
    assert isinstance(made, DictConfig)
    return made


def read_values(path: Path) -> dict[Any, Any]:
    """Plain keys and values of a config that deeprob wrote.

    Such a file holds no ${...}: it was written with every value in place. One that came from elsewhere could
    name an environment variable there, and what it holds would end in reports. Raises InputError.
    """
    try:
        values = _parse(path)
    except FileNotFoundError:
        raise InputError(f"{path.name} is missing", where=path.parent, expected="a run folder") from None
    if not isinstance(values, dict | None):
        raise InputError("not a config", where=path, expected="keys and values")
    for key, value in flatten(values or {}).items():
        if "${" in str(value):
            raise InputError(
                f"{key} is not a plain value: {value}",
                where=path,
                expected="the file as deeprob wrote it, without ${...}",
            )
    return values or {}


def _parse(path: Path) -> Any:
    """What a YAML file stands for, as OmegaConf reads it."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if _is_shallow(text):
            return yaml.load(text, Loader=_fast_loader())
        count = _count(yaml.compose(text, Loader=yaml.SafeLoader), {})
        if count > MOST_NODES:
            raise InputError(f"its aliases stand for more than {MOST_NODES} values", where=path)
        return yaml.load(text, Loader=get_yaml_loader())
    except (FileNotFoundError, InputError):
        raise
    except Exception as error:  # the YAML reader has a family of errors of its own
        raise _unreadable(path, error) from error


def _made(values: Any, path: Path) -> DictConfig | ListConfig:
    try:
        made: DictConfig | ListConfig = OmegaConf.create() if values is None else OmegaConf.create(values)
    except Exception as error:  # values that no config holds
        raise _unreadable(path, error) from error
    return made


def _unreadable(path: Path, error: Exception) -> InputError:
    why = str(error) or type(error).__name__
    return InputError(f"not a readable config ({why:.300})", where=path)


def _is_shallow(text: str) -> bool:
    """Whether libyaml may read it: no aliases, and no nesting so deep that its stack could overflow.

    Each level takes a bracket, or a character at the beginning of a line.
    """
    brackets = text.count("[") + text.count("{")
    longest = max(map(len, text.splitlines()), default=0)
    return "&" not in text and brackets <= MOST_BRACKETS and longest <= LONGEST_LINE


@functools.cache
def _fast_loader() -> Any:
    """OmegaConf's own reader on libyaml, about ten times as fast; where that is not there, OmegaConf's."""
    base: Any = get_yaml_loader()
    if not yaml.__with_libyaml__:
        return base

    class Loader(yaml.CSafeLoader):  # type: ignore[misc]  # its stubs know no libyaml
        yaml_implicit_resolvers = base.yaml_implicit_resolvers
        yaml_constructors = base.yaml_constructors

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            keys = [key.value for key, _ in node.value if key.tag == "tag:yaml.org,2002:str"]
            twice = next((key for key in keys if keys.count(key) > 1), None)
            if twice is not None:
                raise ValueError(f"found duplicate key {twice}")
            made: dict[Any, Any] = super().construct_mapping(node, deep=deep)
            return made

    return Loader


def _count(node: yaml.Node | None, known: dict[int, int]) -> int:
    """The nodes that one node stands for. known: those that were counted, by identity; 0 while counting."""
    if id(node) in known:
        if not known[id(node)]:
            raise ValueError("an anchor that holds itself")
        return known[id(node)]
    known[id(node)] = 0
    children: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        children = node.value
    elif isinstance(node, yaml.MappingNode):
        children = [child for pair in node.value for child in pair]
    known[id(node)] = 1 + sum(_count(child, known) for child in children)
    return known[id(node)]


def offer_experiment_files(overrides: Sequence[str]) -> None:
    """Make each file given as `experiment=<path>.yaml` a choice of its group, under its path."""
    from hydra.core.config_store import ConfigStore

    for override in overrides:
        key, _, value = override.partition("=")
        text = plain(override)
        for path in ([text] if text != value else text.split(",")) if key == "experiment" else ():
            if not path.endswith(".yaml"):
                continue
            try:
                node = read_yaml(Path(path).expanduser())
            except FileNotFoundError:
                raise InputError("no such experiment file", where=path) from None
            *folders, name = [part for part in path.split("/") if part]
            group = "/".join(["experiment", *folders])
            ConfigStore.instance().store(group=group, name=name, node=node, package="_global_")
