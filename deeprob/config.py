"""Composing configs from the YAML files under CONFIG_DIR, and making objects from their leaves.

A leaf (`_target_` and its arguments) names the class that it configures; `build` makes the object, and calls
nothing outside ALLOWED_TARGETS. What a config may hold is in schema/.

Neither torch nor lightning is imported here; Hydra only where a config is composed.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from deeprob.config_errors import check_flags, flatten, one_line_errors
from deeprob.config_files import read_yaml
from deeprob.environment import shipped
from deeprob.errors import InputError
from deeprob.overrides import check_known, plain, quote, quoted
from deeprob.schema import LEAVES, SCHEMA, arguments, schema_of
from deeprob.schema.models import NetworkSettings
from deeprob.schema.moved import current_target

CONFIG_DIR = shipped("configs")
_FREE_TEXT = {
    "graph": re.compile("expression|at|upstream|chain"),
    "card": re.compile(r"card\.(?!targets\.).+"),
    "predict": re.compile("input|topic|boxes"),
}
_REQUIRED = {
    "train": ["name=any"],
    "card": ["name=any"],
    "evaluate": ["run=any"],
    "predict": ["run=any"],
    "refine": ["poses=any"],
    "export": ["run=any"],
    "sweep": ["sweep.name=any", "sweep.experiment=any"],
    "ablate": ["ablation.name=any", "ablation.experiment=any"],
}
_NAMES = ("name", "sweep.name", "ablation.name")  # of folders below paths.runs_dir
_CHOSEN = {  # a key that only a choice sets, and how the choice is offered
    "name": ("experiment", "choose an experiment: "),
    "sweep.name": ("sweep", "choose a sweep, dry_run=true shows its plan: "),
    "ablation.name": ("ablation", "choose an ablation, dry_run=true shows its plan: "),
}
ALLOWED_TARGETS = ("deeprob", "torch.optim", "lightning.pytorch")
SCHEMA_ONLY = "only classes with a schema"  # in allowed_targets of a config that came with a run folder
_ROLES = {  # what a config needs of a large package, which also holds classes that run what they are told
    "torch.optim": ("torch.optim.optimizer.Optimizer",),
    "lightning.pytorch": (
        "lightning.pytorch.callbacks.callback.Callback",
        "lightning.pytorch.loggers.logger.Logger",
    ),
}


def register() -> None:
    """Make the schema known to Hydra."""
    from hydra.core.config_store import ConfigStore

    _register_schema()
    store = ConfigStore.instance()
    if (CONFIG_DIR / "local.yaml").is_file():
        store.repo.pop("local.yaml", None)
    else:  # stands in where the user has no file of their own
        store.store(name="local", node={})


def _offer_experiment_files(overrides: Sequence[str]) -> None:
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


@functools.cache  # once a process: it takes as long as composing a config
def _register_schema() -> None:
    from hydra.core.config_store import ConfigStore

    # Hydra copies its sources, and with them this one store, before it composes: a quarter of the time.
    setattr(ConfigStore, "__deepcopy__", lambda store, memo: store)  # noqa: B010  it has no such method
    store = ConfigStore.instance()
    for group, schemas in SCHEMA.items():
        for name, schema in schemas.items():
            store.store(group=f"schema/{group}", name=name, node=schema)


def compose(verb: str, overrides: Sequence[str] = ()) -> DictConfig:
    """Compose the root config of a verb. Raises InputError, naming the nearest valid key, where it cannot."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    register()
    check_known(overrides)
    _offer_experiment_files(overrides)
    with _explained(verb, overrides):
        overrides = quote_text(verb, overrides)
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            cfg = hydra_compose(verb, list(overrides))
        _complete(cfg)
        check_values(cfg, overrides)
    return cfg


@functools.lru_cache
def composed(verb: str, overrides: tuple[str, ...]) -> DictConfig:
    """Compose once for all that ask for the same; to be read only. `composed.cache_clear()` forgets."""
    return compose(verb, overrides)


def composed_with(verb: str, shared: Sequence[str], changes: Sequence[str]) -> DictConfig:
    """`compose(verb, [*shared, *changes])`: what is shared is composed once a process, the rest set in it."""
    try:
        cfg = deepcopy(composed(verb, tuple(shared)))
    except InputError:  # a value that has no default is among the changes
        return compose(verb, [*shared, *changes])
    if all(set_value(cfg, verb, shared, change) for change in changes):
        return cfg
    return compose(verb, [*shared, *changes])


def set_value(cfg: DictConfig, verb: str, overrides: Sequence[str], changed: str) -> bool:
    """Change one key of a composed config, checked as composing anew would, some fifty times faster.

    overrides: what it was composed with. changed: `key=value`. Returns False, and changes nothing, where only
    composing tells: for a choice of a group, a mapping, a new or a deleted key. Raises InputError.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import ConfigCompositionException

    (changed,) = quote_text(verb, [changed])
    key = changed.partition("=")[0]
    parent, _, name = key.rpartition(".")
    beside = OmegaConf.select(cfg, parent) if parent else cfg
    if "/" in key or (CONFIG_DIR / key).is_dir() or not isinstance(beside, DictConfig) or name not in beside:
        return False
    if isinstance(OmegaConf.select(cfg, key, throw_on_resolution_failure=False), DictConfig):
        return False
    with _explained(verb, [*overrides, changed]):
        try:
            OmegaConf.update(cfg, key, OverridesParser.create().parse_override(changed).value(), merge=True)
        except OmegaConfBaseException as error:
            raise ConfigCompositionException(f"Error merging override {changed}") from error
        _complete(cfg)
        check_values(cfg, [*overrides, changed])
    return True


def hydra_main(verb: str, task: Callable[[DictConfig], None], arguments: Sequence[str]) -> None:
    """Run `task` under Hydra's own command line: overrides, -m multirun, --cfg, launchers, shell completion.

    Raises InputError where the config cannot be composed, and what `task` raised; of several runs all are
    made, and the first error is raised at the end.
    """
    import hydra

    register()
    check_known(arguments)
    _offer_experiment_files(arguments)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions come through, and are told in one line by us

    errors: list[Exception] = []

    def checked(cfg: DictConfig) -> None:
        from hydra.core.hydra_config import HydraConfig

        try:
            _complete(cfg)
            check_values(cfg, HydraConfig.get().overrides.task)
            task(cfg)
        except Exception as error:  # kept from Hydra, which would print it in its own words
            errors.append(error)

    arguments = sorted(arguments, key=lambda a: a not in ("-m", "--multirun"))  # argparse wants it in front
    check_flags(arguments)
    quiet = []
    if not any(a.startswith("-") and a not in ("-m", "--multirun") for a in arguments):
        quiet = [  # the run folder is ours: Hydra writes nothing beside it
            "hydra.run.dir=.",
            "hydra.output_subdir=null",
            "hydra.sweep.dir=${paths.runs_dir}/multirun/${now:%Y%m%d-%H%M%S}",
            "hydra.sweep.subdir=.",
            "hydra/job_logging=none",
            "hydra/hydra_logging=none",
        ]
    own_arguments, sys.argv = sys.argv, [sys.argv[0], *quote_text(verb, arguments), *quiet]
    try:
        with _explained(verb, arguments):
            hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name=verb)(checked)()
            if errors:
                raise errors[0]
    finally:
        sys.argv = own_arguments


def quote_text(verb: str, overrides: Sequence[str]) -> list[str]:
    """The overrides for Hydra's grammar: a verb's free text in quotes, the rest as `overrides.quote` says.

    What is quoted already stays as it is.
    """
    texts = _FREE_TEXT.get(verb, re.compile("(?!)"))
    taken = []
    for override in overrides:
        key, equals, value = override.partition("=")
        if equals and texts.fullmatch(key) and value[:1] not in ("'", '"'):
            override = f"{key}={quoted(value)}"
        taken.append(override)
    return quote(taken)


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


def _complete(cfg: DictConfig) -> None:
    """Expand ~ in paths, and give a network without a schema what every network has."""
    for key, value in (cfg.get("paths") or {}).items():
        if (
            isinstance(value, str)
            and value.startswith("~")
            and not cfg.paths._get_node(key)._is_interpolation()
        ):
            cfg.paths[key] = os.path.expanduser(value)
    model = cfg.get("model")
    named = (
        isinstance(model, DictConfig) and "_target_" in model and not OmegaConf.is_missing(model, "_target_")
    )
    if named and "optim" in cfg and current_target(str(model._target_)) not in LEAVES:
        defaults = asdict(NetworkSettings())
        if not defaults.keys() <= model.keys():
            OmegaConf.set_struct(model, False)
            cfg.model = OmegaConf.merge(defaults, model)


def check_values(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Refuse what is missing, and packages let in by a file instead of by the command line."""
    missing = sorted(key for key, value in flatten(cfg).items() if isinstance(value, str) and value == "???")
    if missing:
        hint = f"give it as {missing[0]}=..."
        for group, offer in (_CHOSEN[key] for key in missing if key in _CHOSEN):
            hint = offer + ", ".join(f"{group}={name}" for name in options(group))
        raise InputError(f"required and not set: {', '.join(missing)}", fix=hint)
    seed = cfg.get("seed")
    if isinstance(seed, int) and not 0 <= seed < 2**32:
        raise InputError(f"seed={seed}", expected="a whole number from 0, below 2**32")
    for key in _NAMES:
        check_name(key, OmegaConf.select(cfg, key))
    by_hand = any(o.lstrip("+").startswith("allowed_targets=") for o in overrides)
    if cfg.get("allowed_targets") and not by_hand:
        raise InputError(
            "allowed_targets is set in a file",
            expected="it on the command line only: a config must not let in its own code",
        )


def check_name(key: str, name: object) -> None:
    """Raise InputError where a folder of this name would not lie in the folder that it is made in."""
    if isinstance(name, str):
        inside = not name.startswith(("/", "~")) and ".." not in name.split("/") and name.strip("/.")
        if not inside or not name.isprintable():
            raise InputError(
                f"{key}={name!r} names a folder elsewhere", expected="a plain name such as my_run"
            )


def options(group: str) -> list[str]:
    """The choices that a config group offers."""
    return sorted(path.stem for path in (CONFIG_DIR / group).glob("*.yaml"))


def _explained(verb: str, overrides: Sequence[str]) -> one_line_errors:
    """Hydra's errors while composing a verb's config, as InputError."""
    return one_line_errors(verb, overrides, lambda: _keys(verb), options)


def _keys(verb: str) -> list[str]:
    """The keys of a verb's config as it is without overrides."""
    from hydra.errors import HydraException

    try:
        return list(flatten(composed(verb, tuple(_REQUIRED.get(verb, ())))))
    except (InputError, HydraException, OmegaConfBaseException):
        return []
