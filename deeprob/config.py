"""Composing configs from the YAML files under CONFIG_DIR; what a config may hold is in schema/.

Neither torch nor lightning is imported here; Hydra only where a config is composed.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict

from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from deeprob.config_errors import check_flags, flatten, one_line_errors
from deeprob.config_files import offer_experiment_files
from deeprob.environment import shipped
from deeprob.errors import InputError
from deeprob.overrides import check_known, quote_text
from deeprob.schema import LEAVES, SCHEMA
from deeprob.schema.models import NetworkSettings
from deeprob.schema.moved import current_target

CONFIG_DIR = shipped("configs")
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


def register() -> None:
    """Make the schema known to Hydra."""
    from hydra.core.config_store import ConfigStore

    _register_schema()
    store = ConfigStore.instance()
    if (CONFIG_DIR / "local.yaml").is_file():
        store.repo.pop("local.yaml", None)
    else:  # stands in where the user has no file of their own
        store.store(name="local", node={})


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
    offer_experiment_files(overrides)
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
    offer_experiment_files(arguments)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions come through, and are told in one line by us

    if not any(a.startswith("-") or a.lstrip("+~").startswith("hydra") for a in arguments):
        with _explained(verb, arguments):
            cfg = _composed_once(verb, quote_text(verb, arguments))
            if cfg is not None:
                _run(task, cfg)
                return
    errors: list[Exception] = []

    def checked(cfg: DictConfig) -> None:
        try:
            _run(task, cfg)
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


def _run(task: Callable[[DictConfig], None], cfg: DictConfig) -> None:
    from hydra.core.hydra_config import HydraConfig

    _complete(cfg)
    check_values(cfg, HydraConfig.get().overrides.task)
    task(cfg)


def _composed_once(verb: str, overrides: list[str]) -> DictConfig | None:
    """Compose the config of one run; None where Hydra's own command line has more to do, or to refuse.

    That composes every config twice: first to see whether a file sets hydra.mode.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException

    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            cfg = hydra_compose(verb, overrides, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException):
        return None
    own = cfg.hydra
    if own.mode is not None or own.callbacks or own.job.env_set or own.job.env_copy or own.job.chdir:
        return None
    HydraConfig.instance().set_config(cfg)
    cfg = cfg.copy()
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg


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
