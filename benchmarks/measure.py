"""Side by side, in one process: the seconds, saved bytes and allocator's peak of one step."""

import ctypes
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Step = Callable[[], Any]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
GPU = torch.cuda.get_device_name() if DEVICE == "cuda" else None
THREADS = int(os.environ.get("DEEPROB_BENCHMARK_THREADS", "1"))


def parse(defaults: dict[str, str]) -> dict[str, str]:
    """Read key=value arguments over `defaults`; an unknown key ends the process, one line, exit code 2."""
    options = dict(defaults)
    for argument in sys.argv[1:]:
        key, equals, value = argument.partition("=")
        if key not in options or not equals:
            known = ", ".join(f"{name}={default}" for name, default in defaults.items())
            print(f"{Path(sys.argv[0]).name}: no option {argument!r}; expected {known}", file=sys.stderr)
            raise SystemExit(2)
        options[key] = value
    return options


def keep_memory() -> None:
    """Have the C library keep freed memory, so that no step pays for fresh pages by the luck of addresses.

    Without this, freeing the block at the end of the heap gives it back to the system if enough is free
    there, and the next step faults it in again: for 8 MB five times what reading it costs. Blocks over 32 MB
    are always given back. Does nothing where the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        trim_threshold, mmap_threshold = -1, -3
        mallopt(mmap_threshold, 1 << 25)
        mallopt(trim_threshold, 1 << 30)


def seconds_interleaved(steps: dict[str, Step], repeats: int, budget: float) -> dict[str, list[float]]:
    """Time the steps in turn, A B A B: at most `repeats` rounds or `budget` seconds, five rounds at least.

    On one CPU thread the clock is the process's own, which stands still while another has the core. On
    a GPU it is the wall's, and a step ends with its last kernel; on several threads the wall's too.
    """
    clock = time.perf_counter if DEVICE == "cuda" or THREADS > 1 else time.process_time
    for step in steps.values():  # caches, lazy compilation
        step()
        step()
        finish()
    times: dict[str, list[float]] = {name: [] for name in steps}
    end = time.perf_counter() + budget
    for done in range(repeats):
        if done >= 5 and time.perf_counter() > end:
            break
        for name, step in steps.items():
            begin = clock()
            step()
            finish()
            times[name].append(clock() - begin)
    return times


def finish() -> None:
    """Wait for the GPU, where there is one."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def ratio(times: dict[str, list[float]], ours: str, theirs: str) -> float:
    """Return the ratio of medians."""
    return statistics.median(times[ours]) / statistics.median(times[theirs])


def saved_bytes(forward: Step, free: Iterable[Tensor] = ()) -> int:
    """Count the bytes a forward keeps for its backward, each storage once, less the `free` tensors'."""
    known = {t.untyped_storage().data_ptr() for t in free}
    sizes: dict[int, int] = {}

    def pack(t: Tensor) -> Tensor:
        storage = t.untyped_storage()
        if storage.data_ptr() not in known:
            sizes[storage.data_ptr()] = storage.nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        output = forward()  # kept until the end: a freed storage would be counted again
    del output
    return sum(sizes.values())


def peak_bytes(step: Step) -> int:
    """Return the highest sum of what the step allocates through torch at any moment."""
    with torch.autograd.profiler.profile(profile_memory=True) as profile:
        step()
    events = [e for e in profile.kineto_results.events() if e.name() == "[memory]"]
    total = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        total += event.nbytes()
        peak = max(peak, total)
    return peak


def gemm_peak_gflops(size: int = 768, repeats: int = 20) -> float:
    """Measure the best float32 matrix product of this machine, by torch.mm and by the fast linear layer."""
    from deeprob.layers.linear import matmul_transposed

    if DEVICE == "cuda":
        size = 8192
    a, b = torch.randn(size, size, device=DEVICE), torch.randn(size, size, device=DEVICE)
    products = {"mm": lambda: a @ b, "linear": lambda: matmul_transposed(a, b)}
    times = seconds_interleaved(products, repeats, 10.0)
    return 2 * size**3 / min(min(t) for t in times.values()) / 1e9
