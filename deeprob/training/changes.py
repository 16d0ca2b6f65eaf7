"""Changes to a run that goes on: checked as a new training's are, and against what the run has learnt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from deeprob.config import check_values, options
from deeprob.config_errors import flatten, one_line_errors
from deeprob.errors import InputError
from deeprob.overrides import quote_text
from deeprob.records import check_record, listing, mapping, tensor, whole
from deeprob.runs import Run
from deeprob.training.experiment import Checkpoint, read_checkpoint, read_config
from deeprob.training.groups import parameter_groups
from deeprob.training.module import PerceptionModule

NEW_RUN = "start a new run; model.pretrained=<this run folder> starts it from these weights"
_ONCE = ("trainer.overfit", "trainer.lr_finder")  # what tries a network out, in a folder of its own

_RESUMED = mapping(  # entries without which a training would begin anew, and not say so
    {
        "optimizer_states": listing(mapping({"state": mapping()}, needed=("state", "param_groups")), 1),
        "lr_schedulers": listing(mapping({"last_epoch": whole}, needed=("last_epoch",)), 1),
        "loops": mapping({"fit_loop": mapping()}, needed=("fit_loop",)),
        "callbacks": mapping({"RandomState": mapping(of=tensor, needed=("cpu",)), "Cost": mapping()}),
    },
    needed=("optimizer_states", "lr_schedulers", "loops", "callbacks"),
)


def change(run: Run, overrides: Sequence[str]) -> DictConfig:
    """A run's config with `key=value` overrides, each of the type of its key.

    Raises InputError for any that a run which goes on cannot take: nothing is changed then.
    """
    before = read_config(run)
    explained = one_line_errors("train", overrides, lambda: list(flatten(before)), options)
    explained.where = str(run.config)
    with explained:
        cfg = before.copy()
        cfg.allowed_targets = []
        for override in overrides:
            _set(cfg, override)
        check_values(cfg, overrides)
    cfg.allowed_targets = sorted({*before.allowed_targets, *cfg.allowed_targets})
    for key in _ONCE:
        if OmegaConf.select(cfg, key) and OmegaConf.select(cfg, key) != OmegaConf.select(before, key):
            raise InputError(f"{key} is not for a run that goes on", where=run.path, fix="start a new run")
    return cfg


def _set(cfg: DictConfig, override: str) -> None:
    """Set one key, as Hydra reads `key=value`, to a value of its type."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import ConfigCompositionException

    if override.startswith(("-", "+", "~")) or "=" not in override:
        raise InputError(
            f"{override} is not for a run that goes on", expected="key=value of a key that it has"
        )
    (override,) = quote_text("train", [override])
    parsed = OverridesParser.create().parse_override(override)
    key = parsed.key_or_group
    if parsed.is_sweep_override():
        raise InputError(f"{override} stands for several runs", expected="one value")
    if key in ("paths.data_dir", "paths.runs_dir", "name"):
        raise InputError(f"{override} says where a new run lies, and moves nothing", fix="set data.root")
    if "/" in key or (options(key) and isinstance(parsed.value(), str)) or key.endswith("_target_"):
        raise InputError(
            f"{override} chooses another {key}; a run that goes on keeps its own",
            expected="changes of single keys such as trainer.max_epochs=50",
            fix="or a new run",
        )
    try:
        OmegaConf.update(cfg, key, parsed.value(), merge=True)
    except (ConfigKeyError, ConfigAttributeError):
        raise
    except OmegaConfBaseException as error:
        raise ConfigCompositionException(f"Error merging override {override}") from error


def check_fits(module: PerceptionModule, checkpoint: Checkpoint) -> None:
    """Raise InputError where a training cannot go on from a checkpoint, or would not do as it is told.

    A checkpoint brings its weights, and its optimiser with all settings: a changed learning rate would be
    read, written down, and then replaced by the old one.
    """
    content = read_checkpoint(checkpoint.path)
    try:
        module.load_state_dict(content["state_dict"])
    except RuntimeError as error:
        raise InputError(
            f"its weights do not fit this model ({_first(error)})", where=checkpoint.path, fix=NEW_RUN
        ) from error
    check_record(content, _RESUMED, checkpoint.path, NEW_RUN)
    groups = parameter_groups(module, module.model, module.decay_norm_and_bias, module.backbone_lr_factor)
    optimizer = module.make_optimizer(groups)
    now = [_settings(group) for group in optimizer.state_dict()["param_groups"]]
    try:
        then = [_settings(group) for group in content["optimizer_states"][0]["param_groups"]]
        counts = [len(group["params"]) for group in then]
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(f"its optimiser's state is damaged ({error})", where=checkpoint.path) from error
    if [len(group["params"]) for group in now] != counts:
        raise InputError(
            "its optimiser has other groups of parameters",
            where=checkpoint.path,
            expected="model.freeze, optim.backbone_lr_factor and optim.decay_norm_and_bias as they were",
            fix=NEW_RUN,
        )
    for group, old in zip(now, then, strict=True):
        for key in group.keys() | old.keys():
            if group.get(key) != old.get(key):
                raise InputError(
                    f"its optimiser has {key} {old.get(key)}, not {group.get(key)}",
                    where=checkpoint.path,
                    fix=NEW_RUN,
                )


def _settings(group: dict[str, Any]) -> dict[str, Any]:
    """A parameter group with the rate that its schedule starts from, and tuples as the lists they are."""
    kept = dict(group)
    kept["lr"] = kept.pop("initial_lr", kept["lr"] * kept.pop("lr_factor", 1.0))
    kept.pop("swa_lr", None)
    return {key: list(value) if isinstance(value, tuple) else value for key, value in kept.items()}


def _first(error: Exception) -> str:
    """What went wrong first, without torch's heading."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[1] if len(lines) > 1 else lines[0]
