"""Time one frame through a network: torch.nn, ours, ours compiled, and onnxruntime; decoding apart.

    python benchmarks/deploy.py [out=runs/benchmark] [frames=60] [compiled=true]

Batch 1, float32, no gradient. Each contestant runs in a fresh process, in turn; on one thread by the
process's own clock, on all cores by the clock on the wall. Weights are random: they do not change a network's
time, and make a detector find as many candidates as it may, the most that its decoding can cost.
"""

import multiprocessing
import os
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from measure import parse

from deeprob.config import compose
from deeprob.deploy.engine import RuntimeModel
from deeprob.environment import cpu_name
from deeprob.runs import write_json, write_text
from deeprob.training.experiment import make_model

NETWORKS = {"resnet_small": (32, 32), "resnet18": (224, 224), "fcos": (400, 304)}  # height, width
CONTESTANTS = ("torch", "deeprob", "compiled", "onnxruntime")
WARM = 4
GOAL_DECODE = 0.15  # of a frame by onnxruntime


def main() -> None:
    """Measure, print the table and write deploy.json and deploy.md."""
    options = parse({"out": "runs/benchmark", "frames": "60", "compiled": "true"})
    out, frames = Path(options["out"]), int(options["frames"])
    names = [n for n in CONTESTANTS if n != "compiled" or options["compiled"] == "true"]
    rows = []
    for network in NETWORKS:
        for threads in sorted({1, os.cpu_count() or 1}):
            measured = {name: in_fresh_process(measure, network, name, threads, frames) for name in names}
            rows.append({"network": network, "threads": threads, **measured})
            print(line(rows[-1]), flush=True)
    head = "| network | threads | " + " | ".join(f"{n} ms p50 (p95), MiB" for n in names)
    table = [head + " | decode ms, share |", "|---|---|" + "---|" * len(names) + "---|", *map(line, rows)]
    about = f"{cpu_name()}, {os.cpu_count()} cores, torch {torch.__version__}, {time.strftime('%Y-%m-%d')}; "
    about += f"load of the machine at the end {os.getloadavg()[0]:.1f}"
    write_json(out / "deploy.json", {"schema": 1, "about": about, "frames": frames, "rows": rows})
    text = (
        f"# deploy: one frame through a network\n\n{about}; `deeprob benchmark deploy`; {frames} frames\n\n"
    )
    write_text(out / "deploy.md", text + "\n".join(table) + "\n")
    print(f"written to {out}/deploy.json and .md")


def line(row: dict[str, Any]) -> str:
    """A row of the table."""
    cells = []
    for name in CONTESTANTS:
        if name in row:
            found = row[name]
            cells.append(f"{found['p50']:.2f} ({found['p95']:.2f}), {found['mib']:.0f}")
    runtime = row["onnxruntime"]
    decode = "-"
    if runtime["decode"] is not None:
        decode = f"{runtime['decode']:.2f}, {runtime['decode'] / runtime['p50']:.2f} (goal {GOAL_DECODE})"
    return f"| {row['network']} | {row['threads']} | " + " | ".join(cells) + f" | {decode} |"


def measure(network: str, contestant: str, threads: int, frames: int) -> dict[str, float | None]:
    """Milliseconds a frame, their 95th percentile, those of decoding, and the process's peak memory."""
    torch.set_num_threads(threads)
    backend = "torch" if contestant == "torch" else "deeprob"
    overrides = ["experiment=quickstart", f"model={network}", "objective=supervised"]
    cfg = compose("train", [*overrides, f"model.backend={backend}"])
    torch.manual_seed(0)
    model: Any = make_model(cfg, None, {"num_classes": 10}).eval()  # type: ignore[arg-type]
    image = torch.randn(1, 3, *NETWORKS[network])
    run: Any = model
    if contestant == "compiled":
        run = torch.compile(model)
    elif contestant == "onnxruntime":
        run = RuntimeModel(model, image)
    elif backend == "deeprob":  # as a run has it by default
        model.to(memory_format=torch.channels_last)
        image = image.contiguous(memory_format=torch.channels_last)
    clock = time.process_time if threads == 1 else time.perf_counter
    with torch.inference_mode():
        seconds = timed(lambda: run(image), clock, frames)
        outputs = run(image)
        decode = hasattr(model, "detect")
        decoding = timed(lambda: model.detect(outputs), clock, frames) if decode else None
    return {
        "p50": 1e3 * statistics.median(seconds),
        "p95": 1e3 * statistics.quantiles(seconds, n=20)[-1],
        "decode": None if decoding is None else 1e3 * statistics.median(decoding),
        "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def timed(call: Callable[[], Any], clock: Callable[[], float], frames: int) -> list[float]:
    """Seconds of each call."""
    for _ in range(WARM):
        call()
    seconds = []
    for _ in range(frames):
        start = clock()
        call()
        seconds.append(clock() - start)
    return seconds


def in_fresh_process(work: Callable[..., Any], *arguments: Any) -> Any:
    """What the work returns, done in a process that has run nothing else."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=lambda: sender.send(work(*arguments)))
    process.start()
    sender.close()
    found = receiver.recv()
    process.join()
    return found


if __name__ == "__main__":
    import logging
    import warnings

    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    main()
