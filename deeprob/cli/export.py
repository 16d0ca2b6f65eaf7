"""Write a trained run's model as a file for robots: ONNX, PyTorch's exported program, or the weights alone.

usage: deeprob export run=<run folder> [format=onnx|pt2|safetensors] [out=<folder>]
       deeprob export run=<run folder> format=onnx opset=18 dynamic=false precision=fp16

The graph takes uint8 RGB (N, H, W, 3) as a camera gives it and gives decoded results. Beside it model.json:
classes, how to resize, what is left to decode, the run, its metrics with intervals, the file's SHA-256. It
needs onnx, onnxscript and onnxruntime, or safetensors: pip install 'deeprob[export]'. docs/deploy.md has a
program that uses the file with numpy, OpenCV and onnxruntime alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main(arguments: list[str]) -> int:
    """Run the verb. Returns the exit code; raises InputError and KeyboardInterrupt."""
    from deeprob.config import hydra_main

    hydra_main("export", export_run, arguments)
    return 0


def export_run(cfg: DictConfig) -> None:
    """Export the run of `cfg`, and print where it is."""
    from pathlib import Path

    from rich.console import Console

    from deeprob.deploy.export import export
    from deeprob.deploy.predict import opened
    from deeprob.errors import InputError
    from deeprob.runs import Run
    from deeprob.writing import check_writable

    if cfg.run is None:
        raise InputError("nothing to export", expected="run=<run folder>")
    run = Run.find(cfg.run)
    out = Path(cfg.out).expanduser() if cfg.out else None
    check_writable(out or run.path, "choose another out=")
    experiment = opened(run, cfg.checkpoint, list(cfg.allowed_targets), "cpu")
    path, facts = export(
        run,
        experiment,
        cfg.format,
        out,
        opset=cfg.opset,
        dynamic=cfg.dynamic,
        precision=cfg.precision,
    )
    console = Console(markup=False)
    line = f"{path.stat().st_size / 2**20:.1f} MiB"
    if facts.get("largest_difference") is not None:
        line += f"; outputs differ by at most {facts['largest_difference']:.1e} of the largest"
    console.print(line, highlight=False)
    console.print(f"written  {path} and model.json", highlight=False, soft_wrap=True, markup=False)
