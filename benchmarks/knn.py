"""Time k-nearest-neighbour search against scikit-learn's brute force: rows as JSON and as a table.

    python benchmarks/knn.py [out=runs/benchmark] [rounds=3] [threads=0] [large=true] [memory=true]

Both are built and asked in turn in this process, over the same float32 vectors, the values of random 32 x 32
images; the ratio is the median of the rounds' ratios, and each row says how many neighbours are the same. On
one thread the clock is the process's own, which stands still while another process has the core.
Memory is what a search holds beside the training set and its queries, as the process's peak in a process of
its own; memory=false leaves it out. threads: of torch and scikit-learn alike, 0 for all cores. large: the row
of 50,000 images too, which takes minutes; `only` measures that one alone. Rows that stand in `out`
already and are not measured again are kept.
"""

import json
import multiprocessing
import os
import re
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import parse
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from deeprob.models.knn import KNearestNeighbours
from deeprob.writing import write_json, write_text

NAMES = {"l2": "euclidean", "l1": "manhattan", "cosine": "cosine"}
GOAL = 1.0
FEATURES, K = 3072, 5
SMALL = [("l2", 4_521, 2_891), ("cosine", 4_521, 2_891), ("l1", 4_521, 300)]
LARGE = ("l2", 50_000, 10_000)
Vectors = NDArray[np.float32]


def main() -> None:
    """Measure every row, print the table and write knn.json and knn.md."""
    options = parse(
        {"out": "runs/benchmark", "rounds": "3", "threads": "0", "large": "true", "memory": "true"}
    )
    threads = int(options["threads"]) or len(os.sched_getaffinity(0))
    sizes = [] if options["large"] == "only" else SMALL
    if options["large"] != "false":
        sizes = [*sizes, LARGE]
    measured = [
        compare(*size, int(options["rounds"]), threads, memory=options["memory"] == "true") for size in sizes
    ]
    out = Path(options["out"])
    rows = joined(out / "knn.json", measured)
    table = [
        "| metric | training | queries | sklearn s | ours s | ratio | goal | same | sklearn MiB | ours MiB |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        table.append(
            f"| {row['metric']} | {row['samples']:,} | {row['queries']:,} | {row['sklearn_seconds']:.2f} | "
            f"{row['seconds']:.2f} | {row['ratio']:.2f} | {GOAL} | {100 * row['same']:.2f} % | "
            f"{mebibytes(row['sklearn_bytes'])} | {mebibytes(row['bytes'])} |"
        )
    text = "\n".join(table)
    print(text)
    about = f"torch {torch.__version__}, {threads} threads, {time.strftime('%Y-%m-%d')}"
    write_json(out / "knn.json", {"schema": 1, "about": about, "rows": rows})
    write_text(
        out / "knn.md",
        f"# knn: {K} nearest neighbours over {FEATURES:,} features\n\n{about}; `deeprob benchmark knn`; "
        f"built and asked in turn, medians\n\n{text}\n",
    )


def joined(path: Path, measured: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The measured rows, and those that the file holds of other sizes, small ones first.

    Where a row was measured without memory, what the file says of it stays.
    """
    found = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
    rows = {(row["metric"], row["samples"], row["queries"]): row for row in found}
    for row in measured:
        key = row["metric"], row["samples"], row["queries"]
        known = {name: value for name, value in row.items() if value is not None}
        rows[key] = {**row, **rows.get(key, {}), **known}
    order = [*SMALL, LARGE]
    return [rows[key] for key in sorted(rows, key=lambda k: order.index(k) if k in order else len(order))]


def mebibytes(size: int | None) -> str:
    """A number of MiB; a dash where it was not measured."""
    return "–" if size is None else f"{size / 2**20:.0f}"


def compare(
    metric: str, samples: int, queries: int, rounds: int, threads: int, memory: bool = True
) -> dict[str, Any]:
    """Seconds and bytes of both, and the share of neighbours that are the same."""
    x, q = vectors(samples, 0), vectors(queries, 1)
    torch.set_num_threads(threads)
    ours(metric, x[:64], q[:8])  # compiled loops
    clock = time.process_time if threads == 1 else time.perf_counter
    seconds: dict[str, list[float]] = {"ours": [], "sklearn": []}
    found = {}
    with threadpool_limits(threads):
        for _ in range(rounds):
            for name, search in (("ours", ours), ("sklearn", theirs)):
                begin = clock()
                found[name] = search(metric, x, q)
                seconds[name].append(clock() - begin)
    pairs = zip(seconds["ours"], seconds["sklearn"], strict=True)
    return {
        "metric": metric,
        "samples": samples,
        "queries": queries,
        "seconds": statistics.median(seconds["ours"]),
        "sklearn_seconds": statistics.median(seconds["sklearn"]),
        "ratio": statistics.median(a / b for a, b in pairs),
        "same": float((found["ours"] == found["sklearn"]).mean()),
        "rounds": rounds,
        "bytes": peak_bytes("ours", metric, samples, queries) if memory else None,
        "sklearn_bytes": peak_bytes("sklearn", metric, samples, queries) if memory else None,
    }


def vectors(count: int, seed: int) -> Vectors:
    """Random images as rows, on a scale from 0 to 255."""
    images = np.random.default_rng(seed).integers(0, 256, (count, FEATURES), dtype=np.uint8)
    return images.astype(np.float32)


def ours(metric: str, x: Vectors, q: Vectors) -> NDArray[np.int64]:
    """Indices of the neighbours, from vectors to answer."""
    labels = torch.zeros(len(x), dtype=torch.int64)
    model = KNearestNeighbours(torch.from_numpy(x), labels, k=K, metric=metric)
    return model.neighbours(torch.from_numpy(q))[1].numpy()


def theirs(metric: str, x: Vectors, q: Vectors) -> NDArray[np.int64]:
    """The same from scikit-learn."""
    model = NearestNeighbors(n_neighbors=K, algorithm="brute", metric=NAMES[metric]).fit(x)
    return np.asarray(model.kneighbors(q, return_distance=False))


def peak_bytes(name: str, metric: str, samples: int, queries: int) -> int:
    """Growth of a fresh process's peak memory by a search over a tenth of the queries."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(grow, (name, metric, samples, max(queries // 10, 1)))


def grow(name: str, metric: str, samples: int, queries: int) -> int:
    """Run in the fresh process: a small search first, so that libraries are loaded, then the real one."""
    search = {"ours": ours, "sklearn": theirs}[name]
    search(metric, vectors(64, 0), vectors(8, 1))
    x, q = vectors(samples, 0), vectors(queries, 1)
    before = peak()
    search(metric, x, q)
    return peak() - before


def peak() -> int:
    """The process's largest resident size so far; getrusage would also count the parent's."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


if __name__ == "__main__":
    main()
