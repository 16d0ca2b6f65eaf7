"""The measurements of gpu.py: each takes what to measure and the size, and returns rows of a table."""

from __future__ import annotations

import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from layers import arrange, layouts, step
from measure import DEVICE, finish, seconds_interleaved
from torch import Tensor
from training import loader

from deeprob.config import compose
from deeprob.layers import contract
from deeprob.layers.catalogue import LAYERS, Draw, Layer, Sample, drawn_on
from deeprob.runs import Run
from deeprob.schema.training import TrainerSettings
from deeprob.targets import build
from deeprob.tasks.classification.task import Classification
from deeprob.training.callbacks import Cost
from deeprob.training.loggers import JsonlLogger
from deeprob.training.parts import Parts
from deeprob.training.trainer import make_trainer

LARGE = 5e-4  # seconds of a step of one layer from which kernels count more than their launches
PRECISIONS = {"bf16": torch.bfloat16, "tf32": torch.float32}

# name: overrides of the model's config, input shape at full size, and in miniature
MODELS: dict[str, tuple[list[str], tuple[int, ...], tuple[int, ...]]] = {
    "ResNet-50": (["model=resnet50"], (128, 3, 224, 224), (2, 3, 64, 64)),
    "ViT-S": (["model=vit_small"], (128, 3, 224, 224), (2, 3, 32, 32)),
    "robocup": (["model=resnet_robocup"], (256, 3, 32, 32), (8, 3, 32, 32)),
    "PointNet": (["model=pointnet"], (32, 1024, 3), (4, 64, 3)),
    "FCOS-ResNet-50": (["model=fcos_resnet50"], (16, 3, 512, 512), (1, 3, 64, 64)),
}
VARIANTS = {"torch": "torch", "ours": "deeprob"}


def models(what: str, size: str, compiled: bool) -> list[dict[str, Any]]:
    """Training steps of one model in one precision: seconds and peak memory of ours and of torch.nn's."""
    name, _, precision = what.partition(":")
    overrides, full, small = MODELS[name]
    shape = full if size == "full" else small
    torch.manual_seed(0)
    x = torch.randn(*shape, device=DEVICE)
    channels_last = torch.channels_last if x.dim() == 4 else torch.contiguous_format
    x = x.contiguous(memory_format=channels_last)
    steps, state = {}, None
    for variant, backend in VARIANTS.items():
        model = make(overrides, backend, shape).to(DEVICE, memory_format=channels_last)
        state = state or {k: v.clone() for k, v in model.state_dict().items()}
        model.load_state_dict(state)
        if compiled:
            model.compile(dynamic=False)
        steps[variant] = training_step(model, x, PRECISIONS[precision])
    memory = {variant: peak_memory(step) for variant, step in steps.items()}
    times = seconds_interleaved(steps, 30, 12.0 if size == "full" else 1.0)
    median = {variant: statistics.median(found) for variant, found in times.items()}
    return [
        {
            "model": name,
            "precision": precision,
            "batch": shape[0],
            "ours_ms": 1e3 * median["ours"],
            "torch_ms": 1e3 * median["torch"],
            "ratio": median["ours"] / median["torch"],
            "steps_per_second": 1 / median["ours"],
            "ours_gib": memory["ours"],
            "torch_gib": memory["torch"],
        }
    ]


def make(overrides: list[str], backend: str, shape: tuple[int, ...]) -> torch.nn.Module:
    """A model of a config, with one backend, without what only ours has (fused=True)."""
    size = [f"data.view.size={shape[-1]}"] if len(shape) == 4 else []
    cfg = compose("train", ["experiment=quickstart", *overrides, f"model.backend={backend}", *size])
    skipped = ("pretrained", "freeze", "compile")
    arguments = {key: value for key, value in cfg.model.items() if key not in skipped}
    if backend == "torch" and "fused" in arguments:
        arguments["fused"] = False
    model: torch.nn.Module = build(arguments, cfg.allowed_targets, num_classes=10)
    return model


def training_step(model: torch.nn.Module, x: Tensor, dtype: torch.dtype) -> Callable[[], None]:
    """Forward, a loss of all outputs, backward and an optimiser's step."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(DEVICE, dtype=torch.bfloat16, enabled=dtype is torch.bfloat16):
            outputs = model(x)
        loss = sum(y.float().square().mean() for y in tensors(outputs))
        loss.backward()
        optimizer.step()

    return step


def tensors(outputs: Any) -> Iterator[Tensor]:
    """All tensors of nested outputs that have a gradient."""
    if isinstance(outputs, Tensor):
        if outputs.requires_grad:
            yield outputs
    elif isinstance(outputs, dict):
        yield from (t for value in outputs.values() for t in tensors(value))
    elif isinstance(outputs, (tuple, list)):
        yield from (t for value in outputs for t in tensors(value))


def peak_memory(step: Callable[[], None]) -> float | None:
    """GiB that a step holds at most; None where there is no GPU."""
    step()  # compiles, and makes the optimiser's state
    if DEVICE != "cuda":
        return None
    torch.cuda.reset_peak_memory_stats()
    step()
    finish()
    return torch.cuda.max_memory_allocated() / 2**30


def of_name(name: str) -> list[Layer]:
    """The layers of the catalogue that have a name."""
    return [layer for layer in LAYERS if layer.name == name]


def gradcheck(name: str, size: str) -> list[dict[str, Any]]:
    """Every check of a layer on the device. Raises AssertionError that names what fails."""
    left_out = ("compile", "gradgradcheck") if size == "small" else ()
    count, failed = 0, []
    with drawn_on(DEVICE):
        for layer in of_name(name):
            for check in contract.CHECKS:
                if check.name in left_out or not check.samples(layer):
                    continue
                count += 1
                try:
                    contract.verify(layer, check)
                except Exception as error:  # whatever is raised under a check fails it
                    failed.append(f"{check.name} ({' '.join(str(error).split())[:160]})")
    if failed:
        raise AssertionError(f"{len(failed)} of {count} checks fail: " + "; ".join(failed))
    return [{"layer": name, "checks": count}]


def single(name: str, size: str) -> list[dict[str, Any]]:
    """A layer's bench samples, the batch grown until torch's kernels take half a millisecond."""
    rows = []
    with drawn_on(DEVICE):
        for layer in of_name(name):
            for sample in [sample for sample in layer.samples if sample.size == "bench"]:
                for layout in layouts(layer, sample):
                    rows.append({"layer": name, "shape": sample.name, "layout": layout})
                    rows[-1] |= grown(layer, sample, layout, (1, 4, 16, 64) if size == "full" else (1,))
    return sorted(rows, key=lambda row: -row["ratio"])


def grown(layer: Layer, sample: Sample, layout: str, factors: tuple[int, ...]) -> dict[str, Any]:
    """Time a layer on batches grown by each factor in turn, until torch's kernels take half a millisecond."""
    given = [arrange(x, layout) for x in sample.inputs(Draw(dtype=torch.float32))]
    found: dict[str, Any] = {}
    for factor in factors:
        inputs = larger_batch(layer, sample, given, factor)
        wanted = [x for x in inputs if x is not None and x.requires_grad]
        steps = {}
        for which, function in (("ours", layer.call), ("torch", layer.reference)):
            y = function(*inputs, **sample.options)
            upstream = (
                torch.randn_like(y) if isinstance(y, Tensor) else [torch.randn_like(part) for part in y]
            )
            steps[which] = step(function, sample, inputs, wanted, upstream)
        times = seconds_interleaved(steps, 30, 0.5)
        ours, torchs = (statistics.median(times[which]) for which in ("ours", "torch"))
        found = {
            "batch_times": factor,
            "ours_ms": 1e3 * ours,
            "torch_ms": 1e3 * torchs,
            "ratio": ours / torchs,
        }
        if torchs > LARGE:
            break
    return found


def larger_batch(
    layer: Layer, sample: Sample, inputs: list[Tensor | None], factor: int
) -> list[Tensor | None]:
    """The inputs with `factor` times the batch.

    Of the first alone, or, where that fits no other, of all that have as many rows, such as a loss's targets.
    """
    x = inputs[0]
    assert x is not None

    def repeated(which: Callable[[int, Tensor], bool]) -> list[Tensor | None]:
        made = [
            t.repeat(factor, *[1] * (t.dim() - 1)) if t is not None and which(i, t) else t
            for i, t in enumerate(inputs)
        ]
        return [
            t.detach().requires_grad_(t.is_floating_point() and i not in layer.constants)
            if t is not None
            else t
            for i, t in enumerate(made)
        ]

    first_alone = repeated(lambda i, t: i == 0)
    try:
        layer.reference(*first_alone, **sample.options)
    except Exception:  # shapes that do not fit: torch has many words for it
        return repeated(lambda i, t: t.dim() > 0 and len(t) == len(x))
    return first_alone


class Watch(pl.Callback):
    """Counts what makes a step wait for the device, over the steps after the first few."""

    def __init__(self) -> None:
        self.waits, self.times, self.busy = 0, list[float](), list[int]()

    def on_train_batch_end(self, *_: Any) -> None:
        self.times.append(time.perf_counter())
        if DEVICE == "cuda" and len(self.times) % 5 == 0:
            self.busy.append(torch.cuda.utilization())


def end_to_end(what: str, size: str) -> list[dict[str, Any]]:
    """The robocup experiment's network on crops of noise, through the trainer of `deeprob train`."""
    overrides = ["model=resnet_robocup", "data.batch_size=64", "trainer.precision=bf16-mixed"]
    cfg = compose("train", ["experiment=quickstart", *overrides])
    watch = Watch()
    settings = TrainerSettings(
        max_epochs=20 if size == "full" else 1,
        precision=cfg.trainer.precision,
        channels_last=True,
        accelerator="gpu" if DEVICE == "cuda" else "cpu",
    )
    arguments = {
        key: value for key, value in cfg.model.items() if key not in ("pretrained", "freeze", "compile")
    }
    parts = Parts(
        None,  # type: ignore[arg-type]  # batches come from a loader of noise
        Classification,  # type: ignore[arg-type]  # its class knows the headline
        build(arguments, num_classes=10),
        objective=build(cfg.objective),
        optimizer=partial(torch.optim.SGD, lr=1e-3),
        trainer=settings,
    )
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = Run(Path(folder))
        trainer = make_trainer(parts, run, JsonlLogger(run), Cost())
        trainer.callbacks = [watch, *(c for c in trainer.callbacks if not hasattr(c, "best_model_path"))]
        if DEVICE == "cuda":
            torch.cuda.set_sync_debug_mode("warn")
        trainer.fit(parts.module(), train_dataloaders=loader(cfg))
        if DEVICE == "cuda":
            torch.cuda.set_sync_debug_mode("default")
    waits = sum("synchroniz" in str(warning.message) for warning in caught)
    steps = len(watch.times)
    row = {
        "images_per_second": 64 * (steps - 5) / (watch.times[-1] - watch.times[4]),
        "steps": steps,
        "waits_per_step": waits / steps if DEVICE == "cuda" else None,
        "gpu_busy_percent": statistics.mean(watch.busy) if watch.busy else None,
    }
    return [row]


MEASURES: dict[str, Callable[[str, str], list[dict[str, Any]]]] = {
    "eager": partial(models, compiled=False),
    "compiled": partial(models, compiled=True),
    "gradcheck": gradcheck,
    "layers": single,
    "training": end_to_end,
}
