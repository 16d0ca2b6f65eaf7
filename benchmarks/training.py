"""Time a training step under Lightning and Hydra against a bare loop over the same model and data.

    python benchmarks/training.py [out=runs/benchmark] [budget=60]

The bare loop makes the same batches, the same forward, backward and optimiser step, and nothing else: no
logging, no checks for NaN, no schedule. Both run in turn on one thread, each epoch in a fresh process, by the
process's own clock; ours with what `deeprob train` asks of the C library, which the bare loop does not.
"""

import itertools
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from measure import parse

from deeprob.config import compose
from deeprob.data.batches.loader import BatchLoader
from deeprob.data.settings import Augmentation
from deeprob.layers import cross_entropy
from deeprob.runs import Run
from deeprob.schema.training import TrainerSettings
from deeprob.targets import build
from deeprob.tasks.classification.task import Classification
from deeprob.tasks.classification.view import CropCollate, CropSamples
from deeprob.training.allocator import keep_freed_memory
from deeprob.training.callbacks import Cost
from deeprob.training.loggers import JsonlLogger
from deeprob.training.parts import Parts, memory_format_of
from deeprob.training.trainer import make_trainer
from deeprob.writing import write_json, write_text

STEPS, WARM = 24, 4  # of an epoch, and the first of them that do not count
BATCH = 64
GOAL = 1.05


class Clock(pl.Callback):
    """Notes when each training step ends."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        self.times.append(time.process_time())


def main() -> None:
    """Measure, print one line and write training.json and training.md."""
    options = parse({"out": "runs/benchmark", "budget": "60"})
    out, budget = Path(options["out"]), float(options["budget"])
    torch.set_num_threads(1)
    rows = [compare(width, budget / 2) for width in (16, 32)]
    table = ["| network | bare ms | deeprob ms | ratio | goal |", "|---|---|---|---|---|"]
    for row in rows:
        table.append(
            f"| resnet_small, width {row['width']}, batch {BATCH} | {row['bare_seconds'] * 1e3:.1f} | "
            f"{row['deeprob_seconds'] * 1e3:.1f} | {row['ratio']:.3f} | {GOAL} |"
        )
    text = "\n".join(table)
    print(text)
    about = f"torch {torch.__version__}, 1 thread, {time.strftime('%Y-%m-%d')}"
    write_json(out / "training.json", {"schema": 1, "about": about, "rows": rows})
    write_text(
        out / "training.md",
        f"# training: a step under Lightning over a bare step\n\n{about}; `deeprob benchmark training`; "
        f"medians of steps, an epoch of each in turn\n\n{text}\n",
    )


def compare(width: int, budget: float) -> dict[str, Any]:
    """Median seconds of a step, both ways, in turn until the budget is spent."""
    steps: dict[str, list[float]] = {"bare": [], "deeprob": []}
    end = time.perf_counter() + budget
    while time.perf_counter() < end or len(steps["bare"]) < 2 * STEPS:
        steps["bare"] += in_fresh_process(bare_epoch, width)
        steps["deeprob"] += in_fresh_process(deeprob_epoch, width)
    bare, ours = statistics.median(steps["bare"]), statistics.median(steps["deeprob"])
    pairs = [b / a for a, b in zip(*(medians(steps[name]) for name in ("bare", "deeprob")), strict=True)]
    return {
        "width": width,
        "bare_seconds": bare,
        "deeprob_seconds": ours,
        "ratio": statistics.median(pairs),
        "epochs": len(pairs),
    }


def medians(seconds: list[float]) -> list[float]:
    """The median of each epoch."""
    size = STEPS - WARM
    return [statistics.median(seconds[i : i + size]) for i in range(0, len(seconds), size)]


def in_fresh_process(epoch: Callable[[int], list[float]], width: int) -> list[float]:
    """Seconds of the steps that count."""
    context = multiprocessing.get_context("fork")  # imports are done, nothing has run
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=lambda: sender.send(epoch(width)[WARM - 1 :]))
    process.start()
    sender.close()
    seconds: list[float] = receiver.recv()
    process.join()
    return seconds


def config(width: int) -> Any:
    """The quickstart's config, for one short epoch."""
    overrides = [f"model.width={width}", "trainer.max_epochs=1", f"data.batch_size={BATCH}"]
    return compose("train", ["experiment=quickstart", *overrides])


def loader(cfg: Any) -> BatchLoader:
    """Random images through the quickstart's augmentation."""
    generator = torch.Generator().manual_seed(0)
    size, count = cfg.data.view.size, STEPS * BATCH
    split = CropSamples(
        images=torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=generator),
        labels=torch.randint(0, 10, (count,), generator=generator),
        units=torch.arange(count),
        groups=torch.arange(count),
        group_names=(),
        keys=tuple(map(str, range(count))),
    )
    knobs = Augmentation(**{str(k): v for k, v in cfg.data.augmentation.items()})
    mean, std = (0.45, 0.45, 0.45), (0.25, 0.25, 0.25)
    return BatchLoader(split, BATCH, CropCollate(mean, std, knobs), shuffle=True, drop_last=True)


def bare_epoch(width: int) -> list[float]:
    """Seconds of each step but the first of a plain loop."""
    cfg = config(width)
    model = build(cfg.model, num_classes=10).to(memory_format=memory_format_of(cfg.trainer))
    optimizer = build(cfg.optim.optimizer, params=model.parameters())
    times = []
    for batch in loader(cfg):
        images = batch.images.contiguous(memory_format=memory_format_of(cfg.trainer))
        loss = cross_entropy(model(images), batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        times.append(time.process_time())
    return [b - a for a, b in itertools.pairwise(times)]


def deeprob_epoch(width: int) -> list[float]:
    """Seconds of each step but the first of the trainer that `deeprob train` uses."""
    keep_freed_memory()
    cfg = config(width)
    parts = Parts(
        None,
        Classification,  # its class knows the headline
        build(cfg.model, num_classes=10),
        objective=build(cfg.objective),
        optimizer=lambda groups: build(cfg.optim.optimizer, params=groups),
        schedule=build(cfg.optim.schedule),
        trainer=TrainerSettings(**cfg.trainer),
    )
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder))
        trainer = make_trainer(parts, run, JsonlLogger(run), Cost())
        trainer.callbacks = [clock, *(c for c in trainer.callbacks if not hasattr(c, "best_model_path"))]
        trainer.fit(parts.module(), train_dataloaders=loader(cfg))
    return [b - a for a, b in zip(clock.times, clock.times[1:], strict=False)]


if __name__ == "__main__":
    import logging
    import warnings

    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    main()
