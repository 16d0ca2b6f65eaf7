"""Time one frame through a network: torch.nn, ours, ours compiled, and onnxruntime; decoding apart.

    python benchmarks/deploy.py [out=runs/benchmark] [frames=60] [compiled=true] [threads=1,2]

Batch 1, float32, no gradient. Each contestant has a process of its own, which has run nothing else; they
take turns, BLOCK frames at a time. One thread is timed by the process's own clock, several by the clock on
the wall. "deeprob" is what predict and evaluate run: batch norms folded, no checks, no Function, weights in
oneDNN's order. Weights are random: they do not change a network's time, and make a detector find as many
candidates as it may, the most that its decoding can cost.
"""

import math
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
from deeprob.models.folding import fold_norms
from deeprob.training.experiment import make_model
from deeprob.writing import write_json, write_text

NETWORKS: dict[str, tuple[tuple[int, int], list[str]]] = {  # height, width; overrides
    "resnet_small": ((32, 32), []),
    "resnet18": ((224, 224), ["model.stem=imagenet"]),
    "fcos": ((400, 304), []),
}
CONTESTANTS = ("torch", "deeprob", "compiled", "onnxruntime")
WARM = 4
BLOCK = 10
GOAL_DECODE = 0.15  # of a frame by onnxruntime


def main() -> None:
    """Measure, print the table and write deploy.json and deploy.md."""
    options = parse({"out": "runs/benchmark", "frames": "60", "compiled": "true", "threads": ""})
    out, frames = Path(options["out"]), int(options["frames"])
    each = sorted({int(n) for n in options["threads"].split(",") if n} or {1, os.cpu_count() or 1})
    names = [n for n in CONTESTANTS if n != "compiled" or options["compiled"] == "true"]
    rows = []
    for network in NETWORKS:
        for threads in each:
            measured = in_turns(network, names, threads, frames)
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


def in_turns(network: str, names: list[str], threads: int, frames: int) -> dict[str, dict[str, float | None]]:
    """Of each contestant: milliseconds a frame, their 95th percentile, those of decoding, peak memory."""
    context = multiprocessing.get_context("fork")
    contestants = {}
    for name in names:
        here, there = context.Pipe()
        process = context.Process(target=contend, args=(there, network, name, threads), daemon=True)
        process.start()
        there.close()
        here.recv()  # warm
        contestants[name] = (process, here)
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in names}
    for _ in range(math.ceil(frames / BLOCK)):
        for name, (_, pipe) in contestants.items():
            pipe.send(BLOCK)
            for kept, seconds in zip(times[name], pipe.recv(), strict=True):
                kept.extend(seconds)
    found = {}
    for name, (process, pipe) in contestants.items():
        pipe.send(0)
        memory = pipe.recv()
        process.join()
        seconds, decoding = times[name]
        found[name] = {
            "p50": 1e3 * statistics.median(seconds),
            "p95": 1e3 * statistics.quantiles(seconds, n=20)[-1],
            "decode": 1e3 * statistics.median(decoding) if decoding else None,
            "mib": memory,
        }
    return found


def contend(pipe: Any, network: str, contestant: str, threads: int) -> None:
    """Time as many frames as the pipe asks for, again and again; at 0 tell the peak memory, MiB, and end."""
    torch.set_num_threads(threads)
    model, run, image = made(network, contestant)
    clock = time.process_time if threads == 1 else time.perf_counter
    with torch.inference_mode():
        timed(lambda: run(image), clock, WARM)
        outputs = run(image)
        decodes = hasattr(model, "detect")
        pipe.send("warm")
        while count := pipe.recv():
            seconds = timed(lambda: run(image), clock, count)
            pipe.send((seconds, timed(lambda: model.detect(outputs), clock, count) if decodes else []))
    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def made(network: str, contestant: str) -> tuple[Any, Any, torch.Tensor]:
    """The network, what runs it, and an image for that."""
    size, overrides = NETWORKS[network]
    backend = "torch" if contestant == "torch" else "deeprob"
    chosen = ["experiment=quickstart", f"model={network}", "objective=supervised", *overrides]
    cfg = compose("train", [*chosen, f"model.backend={backend}"])
    torch.manual_seed(0)
    model: Any = make_model(cfg, None, {"num_classes": 10}).eval()  # type: ignore[arg-type]
    image = torch.randn(1, 3, *size)
    if contestant == "onnxruntime":
        return model, RuntimeModel(model, image), image
    if contestant == "torch":
        return model, model, image
    model.to(memory_format=torch.channels_last)  # as a run has it by default
    image = image.contiguous(memory_format=torch.channels_last)
    return model, torch.compile(model) if contestant == "compiled" else fold_norms(model, image), image


def timed(call: Callable[[], Any], clock: Callable[[], float], frames: int) -> list[float]:
    """Seconds of each call."""
    seconds = []
    for _ in range(frames):
        start = clock()
        call()
        seconds.append(clock() - start)
    return seconds


if __name__ == "__main__":
    import logging
    import warnings

    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    main()
