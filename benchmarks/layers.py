"""Time every layer of the catalogue against torch.nn on shapes of real models: one process's rows, as JSON.

    python benchmarks/layers.py rows.json [budget_seconds] [layer,layer]

`deeprob benchmark layers` runs this several times and joins the rows. DEEPROB_BENCHMARK_COMPILED=1 puts both
sides through torch.compile.
"""

import json
import os
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from measure import (
    DEVICE,
    GPU,
    THREADS,
    gemm_peak_gflops,
    keep_memory,
    peak_bytes,
    ratio,
    saved_bytes,
    seconds_interleaved,
)
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from deeprob.layers.catalogue import LAYERS, Draw, Layer, Sample, drawn_on


def main() -> None:
    """Measure every bench sample in every layout, and write the rows."""
    out, budget = Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
    chosen = set(sys.argv[3].split(",")) if len(sys.argv) > 3 and sys.argv[3] else None
    compiled = os.environ.get("DEEPROB_BENCHMARK_COMPILED") == "1"
    torch.set_num_threads(THREADS)
    keep_memory()
    torch.manual_seed(0)
    peak = gemm_peak_gflops()
    rows, left_out = [], 0
    with drawn_on(DEVICE):
        for layer, sample, layout in cases(chosen):
            reason = "the compiler would unroll its plain Python for minutes"
            if not (compiled and layer.unrolled):
                try:
                    rows.append(measure(layer, sample, layout, budget, peak, compiled))
                    continue
                except torch._dynamo.exc.TorchDynamoException as error:
                    reason = why(error)
            print(f"{layer.name} {sample.name} {layout}: left out, {reason}", flush=True)
            left_out += 1
    result = {"gpu": GPU, "gemm_peak_gflops": peak, "rows": rows, "left_out": left_out}
    out.write_text(json.dumps(result))


def cases(chosen: set[str] | None) -> Iterator[tuple[Layer, Sample, str]]:
    """Yield every bench sample of the chosen layers (None: of all) in every layout."""
    for layer in LAYERS:
        if chosen is None or layer.name in chosen:
            for sample in layer.samples:
                if sample.size == "bench":
                    yield from ((layer, sample, layout) for layout in layouts(layer, sample))


def why(error: Exception) -> str:
    """Return the first line of what the compiler says."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def layouts(layer: Layer, sample: Sample) -> Iterator[str]:
    """Yield the layouts to try: channels_last too where the input is a map."""
    x = sample.inputs(Draw(dtype=torch.float32))[0]
    yield "NCHW"
    if layer.maps and x is not None and x.dim() == 4:
        yield "channels_last"


def measure(
    layer: Layer, sample: Sample, layout: str, budget: float, peak: float, compiled: bool
) -> dict[str, Any]:
    """Compare one layer with torch's: forward and backward in float32, one thread."""
    functions = {"ours": layer.call, "torch": layer.reference}
    if compiled:
        torch.compiler.reset()  # the limit on recompilations counts a function's shapes and options
        functions = {name: torch.compile(f, dynamic=False) for name, f in functions.items()}
    inputs = [arrange(x, layout) for x in sample.inputs(Draw(dtype=torch.float32))]
    for i, x in enumerate(inputs):
        if x is not None and x.is_floating_point() and i not in layer.constants:
            inputs[i] = x.requires_grad_()
    wanted = [x for x in inputs if x is not None and x.requires_grad]
    parameters = [x for i, x in enumerate(inputs) if x is not None and i > 0]
    steps = {}
    for name, function in functions.items():
        y = function(*inputs, **sample.options)
        upstream = torch.randn_like(y) if isinstance(y, Tensor) else [torch.randn_like(part) for part in y]
        steps[name] = step(function, sample, inputs, wanted, upstream)
    times = seconds_interleaved(steps, 200, budget)
    with FlopCounterMode(display=False) as counter:
        step(layer.reference, sample, inputs, wanted, upstream)()  # eager: compiled kernels are not counted
    seconds = {name: statistics.median(t) for name, t in times.items()}
    saved = {
        name: saved_bytes(lambda f=function: f(*inputs, **sample.options), parameters)
        for name, function in functions.items()
    }
    peaks = {name: peak_bytes(step) for name, step in steps.items()}
    print(f"{layer.name} {sample.name} {layout} {ratio(times, 'ours', 'torch'):.2f}", flush=True)
    return {
        "layer": layer.name,
        "shape": sample.name,
        "layout": layout,
        "seconds": seconds["ours"],
        "torch_seconds": seconds["torch"],
        "time_ratio": ratio(times, "ours", "torch"),
        "saved_bytes": saved["ours"],
        "torch_saved_bytes": saved["torch"],
        "peak_bytes": peaks["ours"],
        "torch_peak_bytes": peaks["torch"],
        "gemm_share": counter.get_total_flops() / seconds["ours"] / 1e9 / peak,
    }


def arrange(x: Tensor | None, layout: str) -> Tensor | None:
    """Store maps in the layout."""
    if x is None or x.dim() != 4 or layout == "NCHW":
        return x
    return x.contiguous(memory_format=torch.channels_last)


def step(function: Any, sample: Sample, inputs: Any, wanted: list[Tensor], upstream: Any) -> Any:
    """Make a forward and backward of one function."""

    def run() -> None:
        y = function(*inputs, **sample.options)
        torch.autograd.grad(y, wanted, upstream)

    return run


if __name__ == "__main__":
    main()
