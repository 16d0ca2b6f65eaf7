"""Evaluate a run folder again, on any split and with any of its checkpoints; or predictions in a file.

usage: deeprob evaluate run=<run folder> [split=val] [checkpoint=last] [robustness=true]
       deeprob evaluate run=<run folder> data=<other data set> split=val
       deeprob evaluate run=<run folder> data.root=<folder>      its own data, which lie there now
       deeprob evaluate predictions=<file> data=<data set> [split=test] [against=<second file>]

A run: writes results.json (results_<split>.json for a split that the experiment is not judged by) and the
predictions behind it. With `data`, the same model is judged on another data set of its classes, such as real
images after simulated ones. `deeprob report run=<run folder>` then writes the report again, which shows both
side by side.

Predictions of anything: poses.csv as the BOP challenge takes them, boxes.json as COCO takes them (masks too),
or a folder of label images. Writes results.json and report.html into runs/predictions/<file>, and compares
with a second file, or with the labels of another image drawn at random.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main(arguments: list[str]) -> int:
    """Run the verb. Returns the exit code; raises InputError and KeyboardInterrupt."""
    from deeprob.config import hydra_main

    hydra_main("evaluate", evaluate, arguments)
    return 0


def evaluate(cfg: DictConfig) -> None:
    """Evaluate the run or the predictions that `cfg` names, and print the table."""
    from rich.console import Console

    from deeprob.errors import InputError
    from deeprob.evaluation.evaluate import evaluate_run, print_table
    from deeprob.runs import Run
    from deeprob.writing import check_writable

    if (cfg.run is None) == (cfg.predictions is None):
        raise InputError("nothing to evaluate", expected="either run=<run folder> or predictions=<file>")
    if cfg.predictions is not None:
        return _evaluate_predictions(cfg)
    given = given_keys()
    for key in ("unit", "out", "against", "bootstrap_samples"):
        if key in given:
            raise InputError(
                f"{key} with a run", expected=f"{key} with predictions=..., a run has settings of its own"
            )
    run = Run.find(cfg.run)
    check_writable(run.path, "evaluate a copy of it")
    other, places = cfg.data, places_of(cfg)
    if "data.root" in places:
        other = None
    if other is not None and cfg.robustness:
        raise InputError("robustness on other data", expected="one of data=... and robustness=true")
    allowed = list(cfg.allowed_targets)
    results = evaluate_run(
        run, cfg.split, cfg.checkpoint, allowed=allowed, other=other, boxes=cfg.boxes, places=places
    )
    console = Console(markup=False)
    print_table(results, console)
    if cfg.robustness:
        from deeprob.evaluation.robustness import evaluate_robustness, table

        console.print(
            table(evaluate_robustness(run, cfg.split, cfg.checkpoint, allowed=allowed, places=places))
        )


def given_keys() -> list[str]:
    """The keys of the command that is running."""
    from hydra.core.hydra_config import HydraConfig

    return [override.partition("=")[0] for override in HydraConfig.get().overrides.task]


def places_of(cfg: DictConfig) -> dict[str, str]:
    """Where the files of a run lie now: the folders that a command gives."""
    places = {}
    if "paths.cache_dir" in given_keys():
        places["paths.cache_dir"] = str(cfg.paths.cache_dir)
    if cfg.data is not None and set(cfg.data) == {"root"}:
        places["data.root"] = str(cfg.data.root)
    return places


def _evaluate_predictions(cfg: DictConfig) -> None:
    """Judge a file of predictions about the data set of `cfg`, print its table and where the report is."""
    import shlex
    from pathlib import Path

    from hydra.core.hydra_config import HydraConfig
    from rich.console import Console

    from deeprob.errors import InputError
    from deeprob.evaluation.evaluate import print_table
    from deeprob.evaluation.judge import judge
    from deeprob.targets import build

    if cfg.data is None or "source" not in cfg.data:
        raise InputError(
            "predictions about what?", expected="data=<data set>, such as data=bop data.root=/my/set"
        )
    if cfg.data.label_map:
        raise InputError(
            "data.label_map with predictions", fix="give the predictions the data set's own classes"
        )
    for key in ("checkpoint", "robustness", "boxes"):
        if cfg[key]:
            raise InputError(f"{key} with predictions", fix=f"leave out {key}: it is of runs")
    split = cfg.split or "test"
    results, page = judge(
        Path(cfg.predictions).expanduser(),
        build(only_split(cfg.data.source, split), cfg.allowed_targets),
        split,
        against=cfg.against,
        unit=cfg.unit,
        out=Path(
            cfg.out or Path(cfg.paths.runs_dir) / "predictions" / Path(cfg.predictions).stem
        ).expanduser(),
        samples=cfg.bootstrap_samples,
        command=shlex.join(["deeprob", "evaluate", *HydraConfig.get().overrides.task]),
    )
    console = Console(markup=False)
    print_table(results, console)
    console.print(f"report  {page}", highlight=False, soft_wrap=True)


def only_split(source: DictConfig, split: str) -> DictConfig:
    """The config of a source without its other splits, whose files need not be there."""
    from deeprob.errors import InputError

    for key in ("splits", "annotations", "maps"):
        if hasattr(source.get(key), "keys") and split not in source[key]:
            raise InputError(f"no split {split!r}", where="split", expected=" or ".join(source[key]))
    kept = source.copy()
    for key in ("splits", "annotations", "maps", "images", "targets", "panoptic"):
        of_splits = source.get(key)
        if hasattr(of_splits, "keys") and split in of_splits:
            kept[key] = {split: of_splits[split]}
        elif hasattr(of_splits, "keys"):
            kept[key] = {} if key in ("images", "targets", "panoptic") else of_splits
    return kept
