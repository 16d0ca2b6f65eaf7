"""YAML files read with care: a small one cannot stand for a huge one, a run folder's looks nothing up."""

from __future__ import annotations

from pathlib import Path

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf

from deeprob.config_errors import flatten
from deeprob.errors import InputError

MOST_NODES = 1_000_000  # keys and values, each as often as its aliases repeat it


def read_yaml(path: Path) -> DictConfig | ListConfig:
    """A YAML file. Raises FileNotFoundError, and InputError where it is not readable or stands for too much.

    Anchors, aliases and merge keys are YAML's own and are taken; but a few lines of them can stand for more
    than any memory holds ("billion laughs"), so what they stand for is counted before it is made.
    """
    try:
        text = path.read_text(encoding="utf-8")
        count = _count(yaml.compose(text, Loader=yaml.SafeLoader), {})
        if count > MOST_NODES:
            raise InputError(f"its aliases stand for more than {MOST_NODES} values", where=path)
        return OmegaConf.load(path)
    except (FileNotFoundError, InputError):
        raise
    except Exception as error:  # the YAML reader has a family of errors of its own
        raise InputError(f"not a readable config ({error or type(error).__name__})", where=path) from error


def read_written(path: Path) -> DictConfig:
    """A config that deeprob wrote, such as config.yaml of a run folder: plain keys and values.

    Such a file holds no ${...}: it was written with every value in place. One that came from elsewhere could
    name an environment variable there, and what it holds would end in reports. Raises InputError.
    """
    try:
        cfg = read_yaml(path)
    except FileNotFoundError:
        raise InputError(f"{path.name} is missing", where=path.parent, expected="a run folder") from None
    if not isinstance(cfg, DictConfig):
        raise InputError("not a config", where=path, expected="keys and values")
    for key, value in flatten(cfg).items():
        if "${" in str(value):
            raise InputError(
                f"{key} is not a plain value: {value}",
                where=path,
                expected="the file as deeprob wrote it, without ${...}",
            )
    return cfg


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
