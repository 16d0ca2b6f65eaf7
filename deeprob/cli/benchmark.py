"""Time layers and models against torch.nn; data, simulator, trainer, k-NN, sweeps and frames on a robot too.

usage: deeprob benchmark layers models [quick=true] [only=conv2d,relu] [rounds=3] [out=runs/benchmark]
       deeprob benchmark layers compiled=true [...]     both sides through torch.compile: layers-compiled.json
       deeprob benchmark models threads=2 [...]         by the clock on the wall: models-threads2.json
       deeprob benchmark data|sim|training|knn|sweep|gpu|deploy|render [out=runs/benchmark] [its own keys]

Each prints a table, and writes JSON and markdown to `out`. Where there is a GPU, layers and models run on it:
layers-cuda.json.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from math import exp, log
from pathlib import Path
from typing import Any

from deeprob.cli.gradcheck import parse_options
from deeprob.environment import cpu_name, shipped, version
from deeprob.errors import InputError
from deeprob.writing import make_folder, write_text

KINDS = ("layers", "models")
ALONE = (
    "data",
    "sim",
    "training",
    "knn",
    "sweep",
    "gpu",
    "deploy",
    "render",
)  # scripts with rounds and a table of their own
SLOW_ENOUGH = 100e-6  # seconds of torch.nn below which a ratio says more about Python than about the layer


def main(args: list[str]) -> int:
    """Run the kinds named (default: layers); options quick=true, only=conv2d, rounds=3, out=folder.

    Returns 0, or 1 when a measuring process failed. Raises InputError for arguments it cannot use.
    """
    alone = [a for a in args if a in ALONE]
    if alone:
        if any(a in KINDS for a in args):
            raise InputError("layers and models do not go with " + " ".join(alone), fix="call twice")
        return max(run_script(kind, [a for a in args if a not in ALONE]) for kind in alone)
    kinds = [a for a in args if a in KINDS] or ["layers"]
    known = ("quick", "only", "out", "rounds", "compiled", "threads")
    options = parse_options([a for a in args if a not in KINDS], known, "benchmark")
    compiled = options.get("compiled", "false").lower()
    if compiled not in ("true", "false"):
        raise InputError(
            f"cannot use compiled={options['compiled']}", where="benchmark", expected="true or false"
        )
    quick = options.get("quick", "false").lower()
    if quick not in ("true", "false"):
        raise InputError(f"cannot use quick={options['quick']}", where="benchmark", expected="true or false")
    rounds, threads = options.get("rounds", "1" if quick == "true" else "3"), options.get("threads", "1")
    for name, value in (("rounds", rounds), ("threads", threads)):
        if not value.isdecimal() or int(value) < 1:
            raise InputError(f"cannot use {name}={value}", where="benchmark", expected="a number from 1")
    budget = 0.2 if quick == "true" else 1.0
    out = Path(options.get("out", "runs/benchmark"))
    make_folder(out)
    for kind in kinds:
        arguments = (kind, budget, options.get("only", ""), compiled == "true", int(threads))
        results = [measure(*arguments) for _ in range(int(rounds))]
        failed = [r for r in results if isinstance(r, str)]
        if failed:
            print(f"deeprob benchmark: {kind}: {failed[0]}", file=sys.stderr)
            return 1
        rounds_made = [r for r in results if isinstance(r, dict)]
        if not all(r["rows"] for r in rounds_made):
            raise nothing_measured(kind, options.get("only"), any(r.get("left_out") for r in rounds_made))
        result = join(rounds_made, int(threads))
        name = kind + "-compiled" * (compiled == "true") + "-cuda" * ("gpu" in result["machine"])
        name += f"-threads{threads}" * (threads != "1")
        report(name, result, out)
    return 0


def nothing_measured(kind: str, only: str | None, left_out: bool) -> InputError:
    """Say why there is no row: what was asked for cannot be compiled, or is not known."""
    if left_out:
        return InputError(
            f"all {kind} that match only={only} were left out, for the reasons above",
            where="benchmark",
            fix="without compiled=true they run",
        )
    return InputError(f"no {kind} match only={only}", where="benchmark")


def run_script(kind: str, arguments: list[str]) -> int:
    """Run a benchmark that prints its own table. Returns its exit code, 2 for an option it does not know."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, str(shipped("benchmarks") / f"{kind}.py"), *arguments]
    return subprocess.run(command, env=environment, check=False).returncode


def measure(kind: str, budget: float, only: str, compiled: bool, threads: int) -> dict[str, Any] | str:
    """Measure in a fresh process, one thread on one core: the rows, or the last line of what went wrong.

    What it prints, a line for each row as it comes, goes to stderr.
    """
    script = shipped("benchmarks") / f"{kind}.py"
    with tempfile.TemporaryDirectory() as temporary:
        rows = Path(temporary) / "rows.json"
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        environment |= {"OMP_NUM_THREADS": str(threads), "DEEPROB_BENCHMARK_THREADS": str(threads)}
        environment |= {"DEEPROB_BENCHMARK_COMPILED": "1"} if compiled else {}
        command = [sys.executable, str(script), str(rows), str(budget), only]
        command = pinned() + command if threads == 1 else command
        done = subprocess.run(
            command, env=environment, stdout=2, stderr=subprocess.PIPE, text=True, check=False
        )
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip() and "USDT" not in line]
            return lines[-1] if lines else f"exit code {done.returncode}"
        result: dict[str, Any] = json.loads(rows.read_text())
        return result


def pinned() -> list[str]:
    """Return the command that keeps a process on one core, where there is one."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    core = max(os.sched_getaffinity(0))
    return (
        ["taskset", "-c", str(core)] if any(Path(p, "taskset").exists() for p in os.get_exec_path()) else []
    )


def join(results: list[dict[str, Any]], threads: int = 1) -> dict[str, Any]:
    """Join the rounds: medians of every number, and the spread of the time ratio."""
    rows = []
    for same in zip(*(r["rows"] for r in results), strict=True):
        row = dict(same[0])
        for name, value in same[0].items():
            if isinstance(value, int | float):
                row[name] = statistics.median(r[name] for r in same)
        ratios = [r["time_ratio"] for r in same]
        row["time_ratio_range"] = [min(ratios), max(ratios)]
        rows.append(row)
    peak = statistics.median(r["gemm_peak_gflops"] for r in results)
    about = machine(results[0].get("gpu"), threads)
    return {"schema": 1, "machine": about, "rounds": len(results), "gemm_peak_gflops": peak, "rows": rows}


def machine(gpu: str | None, threads: int) -> dict[str, Any]:
    """Describe what it ran on."""
    return {
        **({"gpu": gpu} if gpu else {}),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": threads,
        "torch": version("torch"),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def geometric_mean(values: list[float]) -> float:
    """Return exp of the mean logarithm."""
    return exp(sum(map(log, values)) / len(values)) if values else float("nan")


def share(ours: float, theirs: float) -> str:
    """Show a ratio of bytes; nothing against nothing is a dash."""
    return f"{ours / theirs:.2f}" if theirs else ("-" if not ours else "new")


def report(kind: str, result: dict[str, Any], out: Path) -> None:
    """Print the table; write JSON, markdown and a figure."""
    from rich.console import Console
    from rich.table import Table

    header = ["layer", "shape", "layout", "torch ms", "time", "saved", "peak", "of GEMM peak"]
    lines = []
    for row in result["rows"]:
        lines.append(
            [
                row["layer"],
                row["shape"],
                row["layout"],
                f"{row['torch_seconds'] * 1e3:.2f}",
                f"{row['time_ratio']:.2f}",
                share(row["saved_bytes"], row["torch_saved_bytes"]),
                share(row["peak_bytes"], row["torch_peak_bytes"]),
                f"{row['gemm_share']:.2f}" if row.get("gemm_share") else "-",
            ]
        )
    table = Table(*header, title=f"{kind}: ours over torch.nn, medians; below 1 is faster or smaller")
    for line in lines:
        table.add_row(*line)
    console = Console()
    console.print(table)
    ratios = [row["time_ratio"] for row in result["rows"] if row["torch_seconds"] > SLOW_ENOUGH]
    result["summary"] = {
        "rows_counted": len(ratios),
        "time_ratio_geometric_mean": geometric_mean(ratios),
        "time_ratio_worst": max(ratios, default=float("nan")),
    }
    summary = (
        f"{len(ratios)} rows where torch.nn takes over 100 us: geometric mean "
        f"{result['summary']['time_ratio_geometric_mean']:.2f}, "
        f"worst {result['summary']['time_ratio_worst']:.2f}"
    )
    console.print(summary)
    about = ", ".join(f"{k} {v}" for k, v in result["machine"].items())
    about += f"; GEMM {result['gemm_peak_gflops']:.0f} GFLOP/s"
    markdown = [
        f"# {kind}: ours over torch.nn",
        "",
        f"Machine: {about}.",
        "",
    ]
    markdown += [
        f"Forward and backward, float32; medians of {result['rounds']} fresh processes. {summary}.",
        "",
    ]
    markdown += ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    markdown += ["| " + " | ".join(line) + " |" for line in lines]
    write_text(out / f"{kind}.json", json.dumps(result, indent=1) + "\n")
    write_text(out / f"{kind}.md", "\n".join(markdown) + "\n")
    draw(result, out / f"{kind}.png")
    console.print(f"written to {out}/{kind}.json, .md and .png")


def draw(result: dict[str, Any], path: Path) -> None:
    """Draw one bar a row, sorted by time ratio."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = sorted(result["rows"], key=lambda row: row["time_ratio"])
    figure, axes = plt.subplots(figsize=(9, 1 + 0.17 * len(rows)), layout="constrained")
    ratios = [row["time_ratio"] for row in rows]
    axes.barh(range(len(rows)), ratios, color=["#2a7f62" if r <= 1 else "#c8553d" for r in ratios])
    names = [f"{row['layer']}, {row['shape']}, {row['layout']}" for row in rows]
    axes.set_yticks(range(len(rows)), names, fontsize=6)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlabel("time over torch.nn's, forward and backward")
    figure.savefig(path, dpi=130)
    plt.close(figure)
