"""Show versions, hardware, where data and runs live, and what is missing; or look into a data set or network.

usage: deeprob info [paths.data_dir=...] [paths.runs_dir=...]
       deeprob info data=<name> [data.root=...] [sheet=sheet.png]
       deeprob info objects=<folder of meshes> [scale=0.001] [sheet=sheet.png]
       deeprob info model=<name> [batch_size=64] [input=[3,32,32]] [num_classes=10] [optim=adamw] [depth=3]

With objects: their sizes, and the symmetries of their shapes as lines for objects.yaml.
With a data set: counts for each split and class, sizes, bad files, and a contact sheet with the labels drawn.
With a network: parameters, FLOPs, bytes kept for backward and peak memory of its training, before it is made.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeprob.errors import InputError

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.console import Console

    from deeprob.data.readers.points import Cloud, PointsSource


@dataclass(frozen=True)
class Need:
    """Something optional: what for, whether it is there, and the command that brings it."""

    what: str
    purpose: str
    present: bool
    fix: str


def main(arguments: list[str]) -> int:
    """Run the verb. Returns 0 when every required package is installed, else 1."""
    from deeprob.config import hydra_main

    code = [0]

    def task(cfg: DictConfig) -> None:
        if cfg.objects is not None:
            from deeprob.cli.info_objects import show_objects

            sheet = Path(cfg.sheet).expanduser() if cfg.sheet else None
            code[0] = show_objects(cfg.objects, cfg.scale, sheet)
        elif cfg.model is not None:
            code[0] = show_model(cfg)
        else:
            code[0] = show(cfg) if cfg.data is None else show_data(cfg)

    hydra_main("info", task, arguments)
    return code[0]


def show(cfg: DictConfig) -> int:
    """Print the tables. Returns 1 where a required package is missing."""
    from rich.console import Console

    from deeprob import environment

    console = Console()
    facts = environment.describe()
    missing = [name for name, version in facts["packages"].items() if version is None]
    console.print(_machine_table(facts))
    console.print(_package_table(facts["packages"]))
    console.print(_folder_table(cfg))
    _print_needs(console, needs(cfg))
    for name in missing:
        console.print(f"[red]missing[/red] {name}: pip install -c constraints.txt {name}")
    return 1 if missing else 0


def show_data(cfg: DictConfig) -> int:
    """Print what a data set holds, and write its contact sheet where asked. Returns 1 where files are bad."""
    from rich.console import Console

    from deeprob.data.inspect import describe
    from deeprob.progress import print_whole
    from deeprob.targets import build

    if cfg.data.on_bad_sample == "error":
        cfg.data.on_bad_sample = "skip"  # all that is bad is listed, not the first alone
    source = build(cfg.data.source)
    sheet = Path(cfg.sheet).expanduser() if cfg.sheet else None
    if source.has_clouds:
        return show_clouds(source, sheet)
    console = Console(markup=False)
    table, summaries = describe(source, sheet, progress=console.is_terminal)
    print_whole(table, console)
    bad = [line for summary in summaries.values() for line in summary.bad]
    for line in bad:
        console.print(f"bad  {line}", highlight=False, soft_wrap=True, markup=False)
    for line in source.passed_over:
        console.print(f"note  {line}", highlight=False, soft_wrap=True, markup=False)
    _print_sheet(console, sheet, any(summary.frames for summary in summaries.values()))
    return 1 if bad else 0


def show_clouds(source: PointsSource, sheet: Path | None = None) -> int:
    """Print a row for each point cloud: points, normals, and its size along the axes.

    A sheet shows each object once. Returns 1 where files are bad.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table("split", "object", "points", "normals", "size, cm", title=f"{source.name}: point clouds")
    drawn: dict[str, tuple[str, Cloud]] = {}
    for split in source.splits:
        for cloud in source.clouds(split):
            drawn.setdefault(cloud.key, (source.classes[cloud.class_id], cloud))
            size = " x ".join(f"{100 * side:.1f}" for side in cloud.points.max(0) - cloud.points.min(0))
            normals = "no" if cloud.normals is None else "yes"
            table.add_row(split, source.classes[cloud.class_id], str(len(cloud.points)), normals, size)
    console = Console(markup=False)
    console.print(table)
    for line in source.skipped:
        console.print(f"bad  {line}", highlight=False, soft_wrap=True, markup=False)
    if drawn and sheet is not None:
        from deeprob.data.cloud_sheet import cloud_sheet
        from deeprob.data.inspect import write_sheet

        write_sheet(cloud_sheet(drawn.values()), sheet)
    _print_sheet(console, sheet, bool(drawn))
    return 1 if source.skipped else 0


def _print_sheet(console: Console, sheet: Path | None, drawn: bool) -> None:
    """Say where the contact sheet lies, or that there was nothing to draw."""
    if sheet is not None:
        told = str(sheet) if drawn else "not written: no sample can be shown"
        console.print(f"sheet  {told}", highlight=False, soft_wrap=True, markup=False)


def show_model(cfg: DictConfig) -> int:
    """Print what training a network will cost, by layer and in all. Returns 0."""
    from rich.console import Console
    from rich.table import Table

    from deeprob.graphs.cost import HEADER, predict, rows, state_copies, summary
    from deeprob.schema.models import constructed
    from deeprob.targets import build
    from deeprob.training.weights import freeze

    if min(cfg.batch_size, cfg.num_classes, cfg.depth, *cfg.input) < 1:
        raise InputError(
            f"batch_size={cfg.batch_size} num_classes={cfg.num_classes} depth={cfg.depth} input={cfg.input}",
            where="deeprob info model=...",
            expected="numbers of at least 1",
        )
    allowed = list(cfg.allowed_targets)
    model = build(constructed(cfg.model), allowed, num_classes=cfg.num_classes)
    if cfg.model.get("freeze"):
        freeze(model, cfg.model.freeze)
    cost = predict(model, list(cfg.input), cfg.batch_size, cfg.precision)
    copies = state_copies(lambda groups: build(cfg.optim.optimizer, allowed, params=groups))
    console = Console(markup=False, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = 160  # a file or a pipe has room for whole names
    table = Table(*HEADER, title=f"{model.__class__.__name__}, {cfg.precision}", title_justify="left")
    for column in table.columns[3:]:
        column.justify = "right"
    for row in rows(cost, cfg.depth):
        table.add_row(*row)
    console.print(table)
    for line in summary(cost, copies):
        console.print(line)
    return 0


def needs(cfg: DictConfig) -> list[Need]:
    """What is optional, and whether this machine has it."""
    import importlib.util

    import torch

    robocup = Path(cfg.paths.data_dir).expanduser() / "robocup_msl"
    return [
        Need(
            "robocup_msl",
            "real robot data: deeprob train experiment=robocup",
            robocup.is_dir(),
            f"clone github.com/andrepool/robocup_ml and put its frames at {robocup}, "
            "or set paths.data_dir (or DEEPROB_DATA) to the folder above it",
        ),
        Need(
            "CUDA GPU",
            "faster training",
            torch.cuda.is_available(),
            "a driver and a CUDA build of torch: https://pytorch.org/get-started",
        ),
        Need(
            "tensorboard",
            "logger=tensorboard",
            importlib.util.find_spec("tensorboard") is not None,
            "pip install -c constraints.txt 'deeprob[tensorboard]'",
        ),
        Need(
            "onnxruntime",
            "deeprob export, predict engine=onnxruntime",
            all(importlib.util.find_spec(name) is not None for name in ("onnx", "onnxscript", "onnxruntime")),
            "pip install -c constraints.txt 'deeprob[export]'",
        ),
        Need(
            "rosbags",
            "deeprob predict input=recording.mcap",
            importlib.util.find_spec("rosbags") is not None,
            "pip install -c constraints.txt 'deeprob[ros]'",
        ),
        Need("W&B login", "logger=wandb logger.offline=false", _wandb_key(), "wandb login"),
        Need(
            "C++ compiler",
            "torch.compile",
            shutil.which("g++") is not None,
            "apt-get install g++",
        ),
        Need(
            "sbatch",
            "jobs on a SLURM cluster",
            shutil.which("sbatch") is not None,
            "log in to the cluster's login node",
        ),
    ]


def _wandb_key() -> bool:
    """Whether W&B could go online. The key itself is neither read further nor shown."""
    import netrc
    import os

    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators("api.wandb.ai") is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _machine_table(facts: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table(title="machine", title_justify="left", show_header=False)
    gpus = ", ".join(facts["gpus"]) or "none"
    table.add_row("deeprob", f"{facts['deeprob']}  commit {facts['commit'] or 'not a checkout'}")
    table.add_row("python", f"{facts['python']} on {facts['platform']}")
    table.add_row("cpu", f"{facts['cpu']}, {facts['cores']} cores, torch uses {facts['threads']} threads")
    table.add_row("memory", f"{facts['memory_bytes'] / 2**30:.1f} GiB")
    table.add_row("gpu", gpus)
    return table


def _package_table(packages: dict[str, str | None]) -> Any:
    from rich.columns import Columns

    return Columns([f"{name} {version or '[red]missing[/red]'}" for name, version in packages.items()])


def _folder_table(cfg: DictConfig) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table("folder", "path", "what is there", title="folders", title_justify="left")
    for name, purpose in (
        ("data_dir", "data sets"),
        ("runs_dir", "runs"),
        ("cache_dir", "renders and crops"),
    ):
        path = Path(cfg.paths[name]).expanduser()
        table.add_row(f"paths.{name}", Text(str(path.resolve())), _content(path, purpose))
    return table


def _content(path: Path, purpose: str) -> str:
    if not path.is_dir():
        return f"not there yet ({purpose})"
    if purpose == "runs":
        return f"{len(list(path.glob('*/*/config.yaml')))} runs"
    names = sorted(p.name for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    free = shutil.disk_usage(path).free / 2**30
    return f"{' '.join(names) or 'empty'}; {free:.0f} GiB free"


def _print_needs(console: Console, found: list[Need]) -> None:
    from rich.table import Table

    table = Table("optional", "for", "", title="what is there for what", title_justify="left")
    for need in found:
        state = "[green]there[/green]" if need.present else f"[yellow]missing[/yellow]  {need.fix}"
        table.add_row(need.what, need.purpose, state)
    console.print(table)
