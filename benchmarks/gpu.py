"""What one GPU does with the layers, most important first, within minutes; results are written as they come.

    deeprob benchmark gpu [minutes=8] [out=runs/benchmark] [only=eager,compiled,gradcheck,layers,training]
                          [size=full|small]

1. eager, compiled: training steps of whole models, ours and torch.nn's in turn: steps/s and peak memory.
2. gradcheck: every layer of the catalogue, on the device; what fails is printed at once.
3. layers: single layers on inputs so large that a kernel takes over half a millisecond, the slowest first.
4. training: the trainer of `deeprob train` from end to end: images/s, share of the time that the GPU works,
   and how often a step waits for it.

Results are lines of gpu.jsonl; the same command takes up where the time ran out. gpu.md is the table of them.
Without a GPU everything runs in miniature on the CPU (size=small), which shows that the command works.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from gpu_work import MEASURES, MODELS, PRECISIONS
from measure import DEVICE, GPU, parse

from deeprob.layers.catalogue import LAYERS
from deeprob.writing import write_text

PARTS = ("eager", "compiled", "gradcheck", "layers", "training")
LONGEST = 180.0  # seconds of one item, after which it is ended and the next begins


def main() -> None:
    """Run what is not done yet, in processes of its own, until the minutes are spent; then write gpu.md."""
    options = parse(
        {"minutes": "8", "out": "runs/benchmark", "only": ",".join(PARTS), "size": "", "work": ""}
    )
    size = options["size"] or ("full" if DEVICE == "cuda" else "small")
    parts = options["only"].split(",")
    unknown = [part for part in parts if part not in PARTS]
    if unknown or size not in ("full", "small") or not _is_positive(options["minutes"]):
        print(
            f"gpu.py: only={options['only']} size={size} minutes={options['minutes']}; expected some of "
            f"{','.join(PARTS)}, full or small, a number over 0",
            file=sys.stderr,
        )
        raise SystemExit(2)
    out = Path(options["out"])
    out.mkdir(parents=True, exist_ok=True)
    record = out / ("gpu.jsonl" if DEVICE == "cuda" else "gpu-miniature.jsonl")
    if options["work"]:
        work(options["work"].split(";"), size, record)
        return
    end = time.monotonic() + 60 * float(options["minutes"])
    while todo := [
        name for name in items(size) if name.partition(":")[0] in parts and name not in done(record)
    ]:
        if time.monotonic() > end:
            break
        supervise(todo, size, record, end)
    write_text(record.with_suffix(".md"), report(read(record), todo))
    print(f"written to {record} and {record.with_suffix('.md')}; {len(todo)} items are left")


def _is_positive(text: str) -> bool:
    try:
        return float(text) > 0
    except ValueError:
        return False


def items(size: str) -> list[str]:
    """Everything there is to measure, as part:what, the most important first."""
    names = list(dict.fromkeys(layer.name for layer in LAYERS))
    steps = [f"{name}:{precision}" for precision in PRECISIONS for name in MODELS]
    if size == "small":
        names, steps = ["linear", "relu"], ["robocup:bf16", "PointNet:bf16"]
    first = [*map("eager:{}".format, steps), *map("compiled:{}".format, steps[:2])]
    rest = [*map("compiled:{}".format, steps[2:])]
    single = map("layers:{}".format, names)
    return [*first, *map("gradcheck:{}".format, names), *single, "training:robocup", *rest]


def read(record: Path) -> list[dict[str, Any]]:
    """The lines written so far; a half one, of a process that was killed, is left out."""
    found = []
    for line in record.read_text(encoding="utf-8").splitlines() if record.is_file() else []:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


def done(record: Path) -> set[str]:
    """The items that have a result, or failed."""
    return {line["item"] for line in read(record) if line["state"] != "begun"}


def write(record: Path, **line: Any) -> None:
    """Add a line."""
    with record.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def supervise(todo: list[str], size: str, record: Path, end: float) -> None:
    """Let a process of its own work through the items; where it dies or hangs, note that of its item."""
    command = [sys.executable, __file__, f"work={';'.join(todo)}", f"size={size}", f"out={record.parent}"]
    process = subprocess.Popen(command, start_new_session=True)
    seen, since = 0, time.monotonic()
    while process.poll() is None:
        time.sleep(0.2)
        lines = len(read(record))
        if lines != seen:
            seen, since = lines, time.monotonic()
        if time.monotonic() > min(end, since + LONGEST):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    states = {line["item"]: line["state"] for line in read(record)}
    for item in [item for item in todo if states.get(item) == "begun"]:
        if time.monotonic() < end:  # else it is begun again by the next call
            why = f"ended after {LONGEST:.0f} s" if process.returncode == -9 else "the process died"
            write(record, item=item, state="failed", rows=[], why=f"{why} (exit code {process.returncode})")


def work(names: list[str], size: str, record: Path) -> None:
    """Measure items one after the other; what goes wrong is the item's result."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.set_num_threads(1 if DEVICE == "cpu" else torch.get_num_threads())
    for name in names:
        write(record, item=name, state="begun")
        part, _, what = name.partition(":")
        begin = time.monotonic()
        try:
            rows = MEASURES[part](what, size)
            why = ""
        except Exception as error:  # whatever it is: the next item is measured all the same
            rows, why = [], f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        seconds = round(time.monotonic() - begin, 1)
        write(record, item=name, state="failed" if why else "done", rows=rows, why=why, seconds=seconds)
        print(f"{name}: {why or told(rows)} ({seconds} s)", flush=True)


def told(rows: list[dict[str, Any]]) -> str:
    """Rows in one line."""
    return "; ".join(", ".join(f"{k} {_short(v)}" for k, v in row.items()) for row in rows) or "nothing"


def _short(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def report(lines: list[dict[str, Any]], left: list[str]) -> str:
    """All results as markdown, a table for each part."""
    results = {line["item"]: line for line in lines if line["state"] != "begun"}
    about = f"{GPU or 'CPU, in miniature'}, torch {torch.__version__}, {time.strftime('%Y-%m-%d')}"
    text = [
        "# The layers on a GPU",
        "",
        f"{about}; `deeprob benchmark gpu`. A ratio is our time over torch.nn's.",
    ]
    for part in PARTS:
        of_part = {name: line for name, line in results.items() if name.partition(":")[0] == part}
        rows = [row for line in of_part.values() for row in line["rows"]]
        if part == "layers":
            rows.sort(key=lambda row: -row["ratio"])
        if rows:
            head = list(dict.fromkeys(key for row in rows for key in row))
            text += ["", f"## {part}", "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
            text += ["| " + " | ".join(_short(row.get(key)) for key in head) + " |" for row in rows]
        failed = [(name, line["why"]) for name, line in of_part.items() if line["state"] == "failed"]
        text += ["", *[f"- fails: `{name}`: {why}" for name, why in failed]] if failed else []
    if left:
        text += ["", f"Not measured yet: {', '.join(left)}."]
    return "\n".join(text) + "\n"


if __name__ == "__main__":
    main()
