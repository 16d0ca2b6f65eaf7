"""Time what a trial of a sweep costs beyond its training: many short trials on one shared study.

    python benchmarks/sweep.py [out=runs/benchmark] [trials=200] [jobs=2]

Each trial trains a small network on a few pictures for three epochs, some half a second: what it costs beside
shows. From a trial's start to the start of its worker's next, less the seconds from the training loop's
first step to its end: asking the study, composing the config, reading data, making network and trainer, the
run folder, telling the study and writing down the best. Also shown: from a worker's start to its first trial.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from measure import parse

from deeprob.environment import cpu_name, version
from deeprob.runs import Run
from deeprob.studies.ablation import quoted
from deeprob.studies.sweep.study import folder_name, peek
from deeprob.writing import write_json, write_text

GOAL = 2.0
STRETCH = 50  # trials of a row: what grows with the study shows from row to row
PICTURES = {"train": 24, "val": 12}  # of each class
EPOCHS = 3
SPACE = "{optim.optimizer.lr: {low: 0.01, high: 0.3, log: true}, model.width: [4, 8]}"


def main() -> None:
    """Sweep, print the table and write sweep.json and sweep.md."""
    options = parse({"out": "runs/benchmark", "trials": "200", "jobs": "2"})
    out, trials, jobs = Path(options["out"]), int(options["trials"]), int(options["jobs"])
    if not 1 <= jobs < trials:
        print(f"sweep.py: trials={trials} jobs={jobs}; expected more trials than workers", file=sys.stderr)
        raise SystemExit(2)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as temporary:
        folder, begun = run_sweep(Path(temporary), trials, jobs)
        costs, starts = measure(folder, begun)
    rows = [row(costs[at : at + STRETCH]) for at in range(0, len(costs), STRETCH)] + [row(costs)]
    table = [
        "| trials | training s | beyond it s | 95th percentile | longest | goal |",
        "|---|---|---|---|---|---|",
    ]
    for r in rows:
        table.append(
            f"| {r['first']} to {r['last']} | {r['training_seconds']:.2f} | {r['overhead_seconds']:.2f} | "
            f"{r['overhead_p95']:.2f} | {r['overhead_max']:.2f} | {GOAL} |"
        )
    first = ", ".join(f"{seconds:.1f}" for seconds in starts)
    text = "\n".join(table)
    print(f"{text}\n\nfrom the start of the command to each worker's first trial: {first} s")
    about = (
        f"{cpu_name()}, {os.cpu_count()} cores, load {load:.1f} before; torch {version('torch')}, "
        f"optuna {version('optuna')}, {jobs} workers, {time.strftime('%Y-%m-%d')}"
    )
    result = {"schema": 1, "about": about, "rows": rows, "first_trial_seconds": starts}
    write_json(out / "sweep.json", result)
    write_text(
        out / "sweep.md",
        f"# sweep: what a trial costs beyond its training\n\n{about}; "
        f"`deeprob benchmark sweep trials={trials} jobs={jobs}`; medians of wall time. From the start of the "
        f"command to each worker's first trial: {first} s.\n\n{text}\n",
    )


def run_sweep(folder: Path, trials: int, jobs: int) -> tuple[Path, datetime]:
    """Run the sweep as a user would; returns its folder and when it was started."""
    draw(folder / "squares")
    training = [
        *("data=darknet", f"data.root={folder / 'squares'}", "data.view.size=16", "data.batch_size=16"),
        *(
            "model.blocks=[1,1]",
            "trainer.threads=1",
            f"trainer.max_epochs={EPOCHS}",
            "trainer.accelerator=cpu",
        ),
        "evaluation.split=val",
    ]
    command = [
        *(sys.executable, "-m", "deeprob", "sweep", "sweep.name=short", "sweep.experiment=quickstart"),
        *(f"sweep.trials={trials}", "sweep.pruner=none", f"+sweep.space={SPACE}", f"jobs={jobs}"),
        f"sweep.trial_overrides=[{','.join(map(quoted, training))}]",
        *(f"paths.runs_dir={folder / 'runs'}", f"paths.cache_dir={folder / 'cache'}"),
    ]
    begun = datetime.now()
    with open(folder / "output.txt", "wb") as output:
        done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        lines = (folder / "output.txt").read_text(encoding="utf-8").strip().splitlines()
        raise SystemExit(f"sweep.py: {lines[-1]}")
    return folder / "runs" / "sweeps" / "short", begun


def measure(folder: Path, begun: datetime) -> tuple[list[dict[str, Any]], list[float]]:
    """Each trial but a worker's last: its number, and its seconds in training and beyond; by number.

    Also the seconds from `begun` to every worker's first trial.
    """
    found = peek(folder)
    assert found is not None
    trials = sorted(found[1], key=lambda t: (str(t.user_attrs["worker"]), t.number))
    costs, starts = [], []
    for _, own in groupby(trials, key=lambda t: str(t.user_attrs["worker"])):
        mine = list(own)
        times = [t.datetime_start for t in mine if t.datetime_start is not None]
        starts.append((times[0] - begun).total_seconds())
        for trial, (start, following) in zip(mine, pairwise(times), strict=False):
            training = json.loads(Run(folder / folder_name(trial)).training.read_text())["train_seconds"]
            beyond = (following - start).total_seconds() - training
            costs.append({"number": trial.number, "training": training, "overhead": beyond})
    return sorted(costs, key=lambda cost: int(cost["number"])), starts


def row(costs: list[dict[str, Any]]) -> dict[str, Any]:
    """The medians of some trials, and the spread of what is beyond training."""
    overheads = [cost["overhead"] for cost in costs]
    return {
        "first": costs[0]["number"] + 1,
        "last": costs[-1]["number"] + 1,
        "training_seconds": statistics.median(cost["training"] for cost in costs),
        "overhead_seconds": statistics.median(overheads),
        "overhead_p95": float(np.quantile(overheads, 0.95)),
        "overhead_max": max(overheads),
        "goal": GOAL,
    }


def draw(root: Path) -> None:
    """Write pictures of one square each, the class being its colour, in darknet's format."""
    random = np.random.default_rng(0)
    for split, count in PICTURES.items():
        (root / split).mkdir(parents=True)
        for class_id in range(3):
            for number in range(count):
                image = random.integers(90, 130, (40, 40, 3), dtype=np.uint8)
                x, y = random.integers(4, 20, 2)
                image[y : y + 16, x : x + 16, class_id] = 220
                name = root / split / f"{class_id}-{number:02d}"
                cv2.imwrite(f"{name}.png", image)
                box = f"{class_id} {(x + 8) / 40} {(y + 8) / 40} {16 / 40} {16 / 40}\n"
                name.with_suffix(".txt").write_text(box)
    (root / "obj.names").write_text("blue\ngreen\nred")


if __name__ == "__main__":
    main()
