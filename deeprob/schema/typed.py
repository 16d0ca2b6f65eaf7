"""A training's plain config, as its run folder holds it, in the types of the schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, ValidationError

from deeprob.schema import LEAVES, SCHEMA
from deeprob.schema.moved import current_keys, current_target


def typed(written: Mapping[str, Any]) -> DictConfig:
    """Plain values in the dataclasses that Hydra fills; no key can be added.

    What has no schema, and a part with keys that the schema of today lacks, stays as it is. Raises
    OmegaConfBaseException where a value is of another type.
    """
    values = current_keys(written)
    data, optim = _part(values, "data"), _part(values, "optim")
    parts = {name: values.pop(name) for name in ("model", "objective", "logger") if name in values}
    callbacks = _part(values, "callbacks")
    whole = _filled(SCHEMA["root"]["train"], values)
    OmegaConf.set_struct(whole, False)
    inner = {name: data.pop(name) for name in ("source", "view", "augmentation") if name in data}
    whole.data = _filled(SCHEMA["data"]["pybullet" if "sim" in data else "files"], data)
    for name, part in inner.items():
        key = f"data.{name}"
        whole.data[name] = _augmentation(key, part) if name == "augmentation" else _leaf(key, part)
    for group, part in parts.items():
        whole[group] = _leaf(group, part)
    chosen = {name: optim.pop(name) for name in ("optimizer", "schedule") if name in optim}
    OmegaConf.update(whole, "optim", optim, merge=True)
    for key, part in chosen.items():
        whole.optim[key] = _leaf(f"optim.{key}", part)
    whole.callbacks = {name: _leaf(f"callbacks.{name}", part) for name, part in callbacks.items()}
    OmegaConf.set_struct(whole, True)
    _link(whole, whole)
    return whole


def _link(whole: DictConfig, node: DictConfig) -> None:
    """Let a value follow another again where the schema says so and both agree: ${data.root} and the like.

    Otherwise a change of data.root would reach no reader of files.
    """
    schema = OmegaConf.get_type(node)
    rules = {f.name: f.default for f in fields(schema)} if is_dataclass(schema) else {}
    for key in list(node):
        written = None if OmegaConf.is_missing(node, key) else node[key]
        rule = rules.get(str(key))
        if isinstance(written, DictConfig):
            _link(whole, written)
        elif isinstance(rule, str) and "${" in rule and "oc.env" not in rule:
            node[key] = rule
            if node[key] != written:
                node[key] = written


def _part(values: dict[str, Any], key: str) -> dict[str, Any]:
    """Take a part out of a mapping; nothing where there is none."""
    return dict(_mapping(key, values.pop(key, None)) or {})


def _mapping(key: str, value: Any) -> dict[str, Any] | None:
    if value is not None and not isinstance(value, dict):
        raise ValidationError(f"{key} is {value!r:.60}, not keys and values")
    return value


def _leaf(key: str, values: Any) -> Any:
    """The part of a class, with its schema's types where it has a schema."""
    schema = LEAVES.get(current_target(str((_mapping(key, values) or {}).get("_target_"))))
    return values if schema is None else _filled(schema, values)


def _augmentation(key: str, values: Any) -> Any:
    """The augmentation of pictures or of points, the simplest kind that has these settings."""
    keys = set(_mapping(key, values) or {})
    fitting = [s for s in SCHEMA["augmentation"].values() if keys and keys <= set(s.__dataclass_fields__)]  # type: ignore[attr-defined]
    alike = bool(fitting) and all(issubclass(schema, fitting[0]) for schema in fitting)
    return _filled(fitting[0], values) if alike else values


def _filled(schema: type, values: dict[str, Any]) -> DictConfig:
    try:
        filled = OmegaConf.merge(OmegaConf.structured(schema), values)
    except ConfigKeyError:  # of another version
        filled = OmegaConf.create(values)
    assert isinstance(filled, DictConfig)
    return filled
