"""Time training steps of whole models against torch.nn: one process's rows, as JSON.

    python benchmarks/models.py rows.json [budget_seconds] [model,model] [compiled]

The models are those of deeprob.models: with torch.nn's layers, the reference; with ours; and "blocks", ours
fused to the blocks that keep less (fused=True). Gradients are compared first.
"""

import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from measure import (
    DEVICE,
    GPU,
    THREADS,
    gemm_peak_gflops,
    peak_bytes,
    ratio,
    saved_bytes,
    seconds_interleaved,
)
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from deeprob import layers
from deeprob.models.detection.contract import Targets
from deeprob.models.detection.fcos import FCOS
from deeprob.models.resnet import ResNet
from deeprob.models.segmentation.unet import UNet
from deeprob.models.vit import ViT


def resnet18(**options: Any) -> nn.Module:
    """ResNet-18 for 32 px pictures of ten classes."""
    return ResNet(10, stem="small", zero_init=False, **options)


def small_resnet(**options: Any) -> nn.Module:
    """Three blocks of width 32 for 32 px pictures, about what the experiments train on a CPU."""
    return ResNet(10, stem="small", blocks=[1, 1, 1], width=32, zero_init=False, **options)


def vit(**options: Any) -> nn.Module:
    """A small vision transformer: 64 tokens of 4 x 4 pixels, width 192, four blocks of three heads."""
    return ViT(10, dim=192, heads=3, pool="mean", **options)


def fcos_resnet18(**options: Any) -> nn.Module:
    """FCOS on ResNet-18 with a feature pyramid of five levels, as configs/model/fcos_resnet18.yaml has it."""
    levels = {"strides": (8, 16, 32, 64, 128), "width": 128, "neck_norm": False}
    head = {"head_convs": 2, "head_norm": "group", "share_heads": True, "kernel": 3}
    return FCOS(10, backbone="resnet18", **levels, **head, **options)


def unet(**options: Any) -> nn.Module:
    """A U-Net of 0.86 M parameters for label maps of eleven classes, as configs/model/unet.yaml has it."""
    return UNet(11, **options)


def labelled(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """32 pictures of 32 px and their classes."""
    return torch.randn(32, 3, 32, 32, generator=generator), torch.randint(10, (32,), generator=generator)


def mapped(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Eight pictures of 320 x 240 px and their label maps, as experiment=tabletop_segmentation has them."""
    x = torch.randn(8, 3, 240, 320, generator=generator)
    return x, torch.randint(11, (8, 240, 320), generator=generator)


def boxed(generator: torch.Generator) -> tuple[Tensor, Targets]:
    """Eight pictures of 320 px with ten boxes each, of sides from 16 to 200 px."""
    x = torch.randn(8, 3, 320, 320, generator=generator)
    middles = 320 * torch.rand(8, 10, 2, generator=generator)
    sides = 16 * (200 / 16) ** torch.rand(8, 10, 2, generator=generator)
    boxes = torch.cat([middles - sides / 2, middles + sides / 2], 2).clamp(0, 319).to(DEVICE)
    labels = torch.randint(10, (8, 10), generator=generator).to(DEVICE)
    return x, Targets(list(boxes), list(labels), [torch.zeros(0, 4, device=DEVICE)] * 8)


def cross_entropy(model: nn.Module, x: Tensor, target: Tensor, of_torch: bool) -> Tensor:
    """The loss of a classification network, or of a segmenter."""
    loss: Tensor = (F if of_torch else layers).cross_entropy(model(x), target.to(DEVICE))
    return loss


def detection_loss(model: Any, x: Tensor, target: Targets, of_torch: bool) -> Tensor:
    """The sum of a detector's losses, which are ours whatever its network is made of."""
    return sum(model.losses(model(x), target).values(), torch.zeros((), device=DEVICE))


MODELS = {
    "ResNet-18, 32 px": (resnet18, labelled, cross_entropy),
    "small ResNet, 32 px": (small_resnet, labelled, cross_entropy),
    "ViT, 64 tokens": (vit, labelled, cross_entropy),
    "FCOS-ResNet-18-FPN, 320 px": (fcos_resnet18, boxed, detection_loss),
    "U-Net, 320 x 240 px": (unet, mapped, cross_entropy),
}
VARIANTS = {"torch": {"backend": "torch"}, "layers": {}, "blocks": {"fused": True}}


def main() -> None:
    """Measure every model in every variant and layout, and write the rows."""
    out, budget = Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
    chosen = sys.argv[3].split(",") if len(sys.argv) > 3 and sys.argv[3] else list(MODELS)
    compiled = os.environ.get("DEEPROB_BENCHMARK_COMPILED") == "1"
    torch.set_num_threads(THREADS)
    torch.backends.cudnn.allow_tf32 = False  # on a GPU, too, float32 is to mean float32
    rows: list[dict[str, Any]] = []
    peak = gemm_peak_gflops()
    for name in MODELS:
        if any(name.lower().startswith(c.lower()) for c in chosen):
            for layout in ("NCHW", "channels_last"):
                rows += measure(name, layout, budget * 8, peak, compiled)
    out.write_text(json.dumps({"gpu": GPU, "gemm_peak_gflops": peak, "rows": rows}))


def measure(name: str, layout: str, budget: float, peak: float, compiled: bool) -> list[dict[str, Any]]:
    """Compare the variants of one model: forward, loss and backward of a batch."""
    torch.compiler.reset()  # the limit on recompilations counts what other models, variants and layouts took
    fmt = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    torch.manual_seed(0)
    make, batch, loss_of = MODELS[name]
    x, target = batch(torch.Generator().manual_seed(0))
    x = x.to(DEVICE).contiguous(memory_format=fmt)
    models = {}
    for variant, options in VARIANTS.items():
        models[variant] = make(**options).to(DEVICE, memory_format=fmt)
        models[variant].load_state_dict(models["torch"].state_dict())
    losses = {v: (lambda m=m, v=v: loss_of(m, x, target, v == "torch")) for v, m in models.items()}
    gradients = {v: flat_gradient(models[v], losses[v]) for v in models}
    for variant, gradient in gradients.items():
        # A few of millions of rectifier inputs lie so near zero that rounding decides their gate.
        distance = float((gradient - gradients["torch"]).norm() / gradients["torch"].norm())
        assert distance < 2e-2, f"{name}, {variant}: gradients differ by {distance:.1e}"
    saved = {v: saved_bytes(losses[v], models[v].parameters()) for v in models}
    peaks = {v: peak_bytes(lambda v=v: losses[v]().backward()) for v in models}

    def step(variant: str, loss: Any) -> Any:
        def run() -> None:
            models[variant].zero_grad()
            loss().backward()

        return run

    steps = {v: step(v, losses[v]) for v in models}
    with FlopCounterMode(display=False) as counter:
        steps["torch"]()
    if compiled:
        for v in models:
            steps[f"{v} compiled"] = step(v, torch.compile(losses[v], fullgraph=True))
    times = seconds_interleaved(steps, 40, budget)
    rows = []
    for variant in [v for v in steps if v != "torch"]:
        against = (
            "torch compiled" if variant.endswith("compiled") and variant != "torch compiled" else "torch"
        )
        eager = variant.removesuffix(" compiled")
        seconds = statistics.median(times[variant])
        print(f"{name} {layout} {variant} / {against} {ratio(times, variant, against):.2f}", flush=True)
        rows.append(
            {
                "layer": name,
                "shape": f"{variant} / {against}",
                "layout": layout,
                "seconds": seconds,
                "torch_seconds": statistics.median(times[against]),
                "time_ratio": ratio(times, variant, against),
                "saved_bytes": saved[eager],
                "torch_saved_bytes": saved["torch"],
                "peak_bytes": peaks[eager],
                "torch_peak_bytes": peaks["torch"],
                "gemm_share": counter.get_total_flops() / seconds / 1e9 / peak,
            }
        )
    return rows


def flat_gradient(model: nn.Module, loss: Any) -> Tensor:
    """Return the gradients of all parameters, in one row."""
    model.zero_grad()
    loss().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()])  # type: ignore[union-attr]


if __name__ == "__main__":
    main()
