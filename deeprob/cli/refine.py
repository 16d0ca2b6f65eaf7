"""Refine 6-D poses by descending the picture: each object is drawn, compared with what is seen, and moved.

usage: deeprob refine poses=poses.csv data=bop data.root=/my/set [out=refined.csv] [terms=[mask,depth,rgb]]
       deeprob refine poses=poses.csv data=ycbv_frames terms=[depth,rgb] starts=4

  poses      as the BOP challenge takes them, of any program, about a split of the data set
  terms      what is compared: the labels' masks, the depth image, colours; empty takes all that is there
  starts     starts of each pose: itself, and others some degrees about it
  sides      pixels of the squares around an object, coarse to fine; steps: on each
  report     folder of the page; null: predictions/<name of out> below paths.runs_dir

Writes the refined poses, and report.html: starts and ends on the pictures, the loss, and where the data set
knows the poses, every metric before and after. A start is kept, and counted, where nothing better is found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from omegaconf import DictConfig

    from deeprob.tasks.pose.refined_file import RefinedFile


def main(arguments: list[str]) -> int:
    """Run the verb. Returns the exit code; raises InputError and KeyboardInterrupt."""
    from deeprob.config import hydra_main

    hydra_main("refine", refine, arguments)
    return 0


def refine(cfg: DictConfig) -> None:
    """Refine the poses that `cfg` names; print what was done, the metrics before and after, and the page."""
    import shlex
    from pathlib import Path

    from hydra.core.hydra_config import HydraConfig
    from rich.console import Console

    from deeprob.cli.evaluate import only_split
    from deeprob.errors import InputError
    from deeprob.evaluation.evaluate import print_table
    from deeprob.evaluation.judge import judge
    from deeprob.progress import steps
    from deeprob.targets import build
    from deeprob.tasks.pose.refine import PoseRefiner
    from deeprob.tasks.pose.refined_file import refine_file
    from deeprob.writing import check_writable

    if cfg.data is None:
        raise InputError(
            "poses in which pictures?", expected="data=<data set>, such as data=bop data.root=/my/set"
        )
    poses, out = Path(cfg.poses).expanduser(), Path(cfg.out).expanduser()
    if poses.suffix.lower() != ".csv" or out.suffix.lower() != ".csv":
        raise InputError(f"{poses} to {out}", where="poses, out", expected="files .csv, as BOP takes them")
    folder = Path(cfg.report or Path(cfg.paths.runs_dir) / "predictions" / out.stem).expanduser()
    if out.resolve() == poses.resolve():
        raise InputError(f"out={out} are the poses to refine", fix="choose another out=")
    check_writable(out.parent, "choose another out=")
    check_writable(folder, "choose another report=")
    source = build(only_split(cfg.data.source, cfg.split), cfg.allowed_targets)
    refiner = PoseRefiner(
        *(source, list(cfg.terms), cfg.starts, tuple(cfg.sides), tuple(cfg.steps), cfg.seed)
    )
    found = refine_file(poses, source, cfg.split, refiner, out, steps)
    command = shlex.join(["deeprob", "refine", *HydraConfig.get().overrides.task])
    console = Console(markup=False)
    if found.has_truth:
        results, page = judge(
            *(out, source, cfg.split),
            against=str(poses),
            unit=cfg.unit,
            out=folder,
            samples=cfg.bootstrap_samples,
            command=command,
            blocks=[found.block()],
            notes=found.notes(),
        )
        print_table(results, console)
        for line in _gains(results):
            console.print(line, highlight=False, soft_wrap=True)
    else:
        page = _page_alone(found, folder, out, source.name, cfg.split, command)
        for note in found.notes():
            console.print(note, highlight=False, soft_wrap=True)
    console.print(f"written  {out}\nreport   {page}", highlight=False, soft_wrap=True)


def _gains(results: dict[str, Any]) -> list[str]:
    """The headline metrics before and after, with the interval of the difference on the same samples."""
    from deeprob.page.definitions import title
    from deeprob.page.pages import fixed, signed
    from deeprob.tasks.known import known_tasks

    lines = []
    for metric in known_tasks()[results["task"]].headlines:  # type: ignore[attr-defined]
        ((before, difference),) = zip(
            results["baselines"].values(), results["differences"].values(), strict=True
        )
        gain, after = difference[metric], results["metrics"][metric]
        if after["value"] is None:
            continue
        line = f"{title(metric)}: {fixed(before[metric]['value'])} before, {fixed(after['value'])} after, "
        line += f"gain {signed(gain['value'])}"
        if gain["ci95"]:
            line += f" (95 % interval {signed(gain['ci95'][0])} to {signed(gain['ci95'][1])})"
        lines.append(line)
    return lines


def _page_alone(found: RefinedFile, folder: Path, out: Path, source: str, split: str, command: str) -> Path:
    """The page where nobody knows the poses."""
    from deeprob.evaluation.report import write_page
    from deeprob.tasks.base import Page
    from deeprob.tasks.pose.task import Pose

    results = {
        "predictions": str(out),
        "split": split,
        "notes": found.notes(),
        "data": {"source": source, split: found.total},
        "interval": {"units": 0, "samples": 0},
        **{name: {} for name in ("metrics", "baselines", "differences", "per_class")},
    }
    abstract = "The data set does not say where the objects are: no gain is known."
    return write_page(folder, results, Pose, Page(abstract, (), "estimates", [found.block()]), command)
