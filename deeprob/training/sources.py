"""The data that a config describes: its source, its splits, its unlabelled samples."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from deeprob.config import compose
from deeprob.data.batches.datamodule import PerceptionData
from deeprob.data.extra_splits import ExtraSplits
from deeprob.data.known import KnownSource
from deeprob.data.relabel import RelabelledSource
from deeprob.data.source import Source
from deeprob.errors import InputError
from deeprob.overrides import quoted
from deeprob.targets import build
from deeprob.writing import make_folder


def make_source(cfg: DictConfig, classes: Sequence[str] = ()) -> Source:
    """The data set of a config.

    classes: of another data set, as which those of this one are counted; they are some of them.
    Raises InputError where it is none.
    """
    data = cfg.data
    source = _source_of(data.source, cfg, data.label_map, classes)
    extra = data.get("extra_splits") or {}  # a run of an older version lacks it
    if extra:
        others = {name: (_other_source(entry, cfg), str(entry.split)) for name, entry in extra.items()}
        source = ExtraSplits(source, others)
    return source


def make_data(
    cfg: DictConfig, facts: Mapping[str, Any] | None = None, classes: Sequence[str] = ()
) -> PerceptionData:
    """The data module of a config; nothing is read or rendered yet.

    facts: data.json of a run; the data set then need not be there, and no frame of it can be read. classes:
    as of make_source.
    """
    data = cfg.data
    source = make_source(cfg, classes) if facts is None else KnownSource(facts)
    cache_dir = Path(cfg.paths.cache_dir).expanduser() / "crops"
    if facts is None:
        make_folder(cache_dir, fix="set paths.cache_dir")
    known = {} if facts is None else {name: tuple(facts[name]) for name in ("mean", "std")}
    view = build(data.view, cfg.allowed_targets)
    return PerceptionData(
        source=source,
        view=view,
        augmentation=view.augmentation(**OmegaConf.to_container(data.augmentation)),  # type: ignore[arg-type]
        batch_size=data.batch_size,
        eval_batch_size=data.eval_batch_size,
        num_workers=data.workers,
        seed=cfg.seed,
        cache_dir=cache_dir,
        val_fraction=data.val_fraction,
        num_folds=data.num_folds,
        fold=data.fold,
        balanced=data.balanced,
        memory_budget_gb=data.get("memory_budget_gb", 8.0),  # a run of an older version lacks it
        labelled=data.get("labelled", 1.0),
        labelled_by=data.get("labelled_by", "sample"),
        unlabelled=unlabelled_source(cfg) if data.get("unlabelled") else None,
        progress=sys.stdout.isatty(),
        **known,
    )


def _source_of(
    leaf: Any, cfg: DictConfig, label_map: Mapping[str, str | None] | None, classes: Sequence[str] = ()
) -> Source:
    """The data set of a leaf, its classes as a label map says. Raises InputError where it is none."""
    source = build(leaf, cfg.allowed_targets)
    if not isinstance(source, Source):
        raise InputError(
            f"{type(source).__name__} is no data set",
            where="data.source",
            expected="a subclass of deeprob.data.source.Source",
        )
    return RelabelledSource(source, label_map or {}, classes) if label_map or classes else source


def _other_source(entry: DictConfig, cfg: DictConfig) -> Source:
    """The source that an extra split is of."""
    own = cast("dict[str, Any]", OmegaConf.to_container(entry.source, resolve=True))
    return _source_of({"on_bad_sample": cfg.data.on_bad_sample, **own}, cfg, entry.get("label_map"))


def unlabelled_source(cfg: DictConfig) -> Callable[[], Source]:
    """What makes the source that data.unlabelled names: a data config, or overrides that choose one."""
    given = cfg.data.unlabelled
    overrides = [f"data={given}"] if isinstance(given, str) else list(given)
    paths = [f"paths.{key}={quoted(str(value))}" for key, value in cfg.paths.items() if key != "runs_dir"]

    def make() -> Source:
        data = compose("info", [*overrides, *paths]).data
        return _source_of(data.source, cfg, data.label_map)

    return make
