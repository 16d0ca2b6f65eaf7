"""Making objects from the leaves of a config: what a `_target_` may name, and the check of its arguments.

A leaf (`_target_` and its arguments) names the class that it configures; `build` makes the object, and calls
nothing outside ALLOWED_TARGETS.

Neither torch nor lightning is imported here before a leaf asks for it.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from deeprob.config_errors import flatten
from deeprob.errors import InputError
from deeprob.schema import LEAVES, arguments, schema_of
from deeprob.schema.moved import current_target

ALLOWED_TARGETS = ("deeprob", "torch.optim", "lightning.pytorch")
SCHEMA_ONLY = "only classes with a schema"  # in allowed_targets of a config that came with a run folder
_ROLES = {  # what a config needs of a large package, which also holds classes that run what they are told
    "torch.optim": ("torch.optim.optimizer.Optimizer",),
    "lightning.pytorch": (
        "lightning.pytorch.callbacks.callback.Callback",
        "lightning.pytorch.loggers.logger.Logger",
    ),
}


def build(leaf: Mapping[str, Any] | DictConfig, allowed: Sequence[str] = (), **arguments: Any) -> Any:
    """Make the object that a leaf describes: call its `_target_` with its other keys and `arguments`.

    allowed: packages and classes admitted beside ALLOWED_TARGETS; with SCHEMA_ONLY among them, those of
    ALLOWED_TARGETS must have a schema. Values stay as they are written: nothing inside a leaf is called.
    Raises InputError where the target is not admitted, does not exist, or refuses its arguments.
    """
    target = leaf.get("_target_")
    if not isinstance(target, str):
        raise InputError(f"no _target_ in {dict(leaf)}", expected="_target_: package.Class")
    target = current_target(target)
    make = _locate(target, allowed)
    values = _typed(target, schema_of(make), leaf)
    try:
        return make(**values, **arguments)
    except (TypeError, ValueError) as error:
        if isinstance(error, InputError) or (isinstance(error, TypeError) and _deep(error)):
            raise
        raise InputError(str(error), where=f"config of {target}") from error


def _typed(target: str, schema: type | None, leaf: Mapping[str, Any] | DictConfig) -> dict[str, Any]:
    """The arguments in a leaf as its class's schema types them: config.yaml of a run holds bare dicts."""
    bare = OmegaConf.to_container(leaf, resolve=True) if isinstance(leaf, DictConfig) else dict(leaf)
    assert isinstance(bare, dict)
    bare.pop("_target_")
    if schema is None:
        return cast("dict[str, Any]", bare)
    try:
        typed = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), bare))
    except OmegaConfBaseException as error:
        raise InputError(str(error).splitlines()[0], where=f"config of {target}") from error
    kept = arguments(schema)
    return {key: value for key, value in vars(typed).items() if key in kept}


def _deep(error: BaseException) -> bool:
    """Whether the error arose inside the called code, not in the call itself: a bug, not a config."""
    traceback = error.__traceback__
    return traceback is not None and traceback.tb_next is not None


def locate(target: str, allowed: Sequence[str] = ()) -> Any:
    """The class that a `_target_` names. Raises InputError where it is not admitted, or does not exist."""
    return _locate(current_target(target), allowed)


def _locate(target: str, allowed: Sequence[str]) -> Callable[..., Any]:
    packages = (*ALLOWED_TARGETS, *allowed)
    if not _inside(target, packages):
        raise InputError(
            f"_target_ {target!r} is outside the packages that a config may call",
            expected=f"one of {', '.join(packages)}",
            fix=f"allow it on the command line: allowed_targets=[{target.split('.')[0]}]",
        )
    module, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"_target_ {target!r} cannot be imported ({error})") from error
    # A module also holds what it imported; only what a package defines itself may be called, and of ours
    # only classes: a checkpoint's config must not reach a function that writes files.
    home = getattr(found, "__module__", "")
    by_name = _inside(target, allowed)
    if not (_inside(f"{home}.{name}", packages) and (inspect.isclass(found) or by_name)):
        raise InputError(f"_target_ {target!r} may not be called", expected="a class of an allowed package")
    if not by_name:
        _check_role(target, found, SCHEMA_ONLY in allowed)
    return cast("Callable[..., Any]", found)


def _check_role(target: str, found: type, schema_only: bool) -> None:
    """Raise InputError where an allowed package has a class that no config needs."""
    package = next((name for name in _ROLES if _inside(target, [name])), None)
    bases = {f"{base.__module__}.{base.__qualname__}" for base in found.__mro__}
    if package is not None and bases.isdisjoint(_ROLES[package]):
        roles = " or ".join(base.rpartition(".")[2] for base in _ROLES[package])
        raise InputError(
            f"_target_ {target!r} may not be called", expected=f"in {package}, a class of {roles}"
        )
    # An optimiser takes numbers and touches nothing but the network, whatever a stranger's file tells it.
    if schema_only and package != "torch.optim" and schema_of(found) is None:
        raise InputError(
            f"_target_ {target!r} is not one of those that a run folder may call",
            expected="a class with a schema",
            fix=f"where you trust the folder, allow it on the command line: allowed_targets=[{target}]",
        )


def admitted(cfg: DictConfig) -> list[str]:
    """What a training admits to its run folder's config: all that its own config names and may call."""
    if SCHEMA_ONLY in cfg.allowed_targets:
        return [name for name in cfg.allowed_targets if name != SCHEMA_ONLY]
    targets = {str(v) for key, v in flatten(cfg).items() if key.rpartition(".")[2] == "_target_"}
    return sorted({*cfg.allowed_targets, *(targets - LEAVES.keys())})


def _inside(target: str, packages: Sequence[str]) -> bool:
    return any(target == package or target.startswith(f"{package}.") for package in packages)
