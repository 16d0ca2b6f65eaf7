"""Time training steps of whole models against torch.nn: one process's rows, as JSON.

    python benchmarks/models.py rows.json [budget_seconds] [model,model] [compiled]

Each model is written once, over a namespace: torch.nn gives the reference, deeprob.layers the plain
replacement; "blocks" are the same networks out of the blocks that keep less. Gradients are compared first.
"""

import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from measure import gemm_peak_gflops, peak_bytes, ratio, saved_bytes, seconds_interleaved
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from deeprob import layers


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, of ResNet-18."""

    def __init__(self, ns: Any, c_in: int, c_out: int, stride: int, fused: bool) -> None:
        super().__init__()
        self.conv1 = ns.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.bn1, self.bn2 = ns.BatchNorm2d(c_out), ns.BatchNorm2d(c_out)
        self.conv2 = ns.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.relu, self.fused = ns.ReLU(), fused
        change = stride != 1 or c_in != c_out
        self.shortcut = (
            ns.Sequential(ns.Conv2d(c_in, c_out, 1, stride, bias=False), ns.BatchNorm2d(c_out))
            if change
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        z = self.conv1(x)
        if self.fused:
            n = self.bn1
            z = layers.batch_norm_relu_conv2d(
                z,
                n.running_mean,
                n.running_var,
                n.weight,
                n.bias,
                self.conv2.weight,
                self.training,
                padding=1,
            )
        else:
            z = self.conv2(self.relu(self.bn1(z)))
        side = x if self.shortcut is None else self.shortcut(x)
        y = self.bn2(z)
        return layers.add_relu(y, side) if self.fused else self.relu(y + side)


def resnet18(ns: Any, fused: bool = False) -> nn.Module:
    """ResNet-18 for 32 px pictures of ten classes."""
    widths = [
        (64, 64, 1),
        (64, 64, 1),
        (64, 128, 2),
        (128, 128, 1),
        (128, 256, 2),
        (256, 256, 1),
        (256, 512, 2),
        (512, 512, 1),
    ]
    stem = [ns.Conv2d(3, 64, 3, 1, 1, bias=False), ns.BatchNorm2d(64), ns.ReLU()]
    blocks = [BasicBlock(ns, *width, fused) for width in widths]
    return ns.Sequential(*stem, *blocks, ns.AdaptiveAvgPool2d(1), ns.Flatten(), ns.Linear(512, 10))


class Encoder(nn.Module):
    """A pre-norm transformer block of width D and three heads."""

    def __init__(self, ns: Any, width: int, heads: int, fused: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = ns.LayerNorm(width), ns.LayerNorm(width)
        self.qkv, self.out = ns.Linear(width, 3 * width), ns.Linear(width, width)
        self.fc1, self.act, self.fc2 = ns.Linear(width, 4 * width), ns.GELU(), ns.Linear(4 * width, width)
        self.heads, self.ours, self.fused = heads, ns is layers, fused

    def forward(self, x: Tensor) -> Tensor:
        n, t, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(n, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        attend = layers.scaled_dot_product_attention if self.ours else F.scaled_dot_product_attention
        x = x + self.out(attend(q, k, v).transpose(1, 2).reshape(n, t, d))
        if self.fused:
            w, f1, f2 = self.norm2, self.fc1, self.fc2
            return layers.mlp_block(x, w.weight, w.bias, f1.weight, f1.bias, f2.weight, f2.bias)
        return x + self.fc2(self.act(self.fc1(self.norm2(x))))


class ViT(nn.Module):
    """A small vision transformer: 64 tokens of 4 x 4 pixels, width 192, four blocks."""

    def __init__(self, ns: Any, fused: bool = False, width: int = 192) -> None:
        super().__init__()
        self.patches = ns.Conv2d(3, width, 4, 4)
        self.position = nn.Parameter(torch.zeros(1, 64, width))
        self.blocks = ns.Sequential(*(Encoder(ns, width, 3, fused) for _ in range(4)))
        self.norm, self.head = ns.LayerNorm(width), ns.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.position
        return self.head(self.norm(self.blocks(tokens)).mean(1))


MODELS = {"ResNet-18, 32 px": resnet18, "ViT, 64 tokens": ViT}
VARIANTS = {"torch": (nn, False), "layers": (layers, False), "blocks": (layers, True)}


def main() -> None:
    """Measure every model in every variant and layout, and write the rows."""
    out, budget = Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
    chosen = sys.argv[3].split(",") if len(sys.argv) > 3 and sys.argv[3] else list(MODELS)
    compiled = os.environ.get("DEEPROB_BENCHMARK_COMPILED") == "1"
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    peak = gemm_peak_gflops()
    for name, make in MODELS.items():
        if any(name.lower().startswith(c.lower()) for c in chosen):
            for layout in ("NCHW", "channels_last"):
                rows += measure(name, make, layout, budget * 8, peak, compiled)
    out.write_text(json.dumps({"gemm_peak_gflops": peak, "rows": rows}))


def measure(
    name: str, make: Any, layout: str, budget: float, peak: float, compiled: bool
) -> list[dict[str, Any]]:
    """Compare the variants of one model: forward, loss and backward on 32 pictures."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    fmt = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    torch.manual_seed(0)
    x = torch.randn(32, 3, 32, 32, device=device).contiguous(memory_format=fmt)
    target = torch.randint(10, (32,), device=device)
    models = {}
    for variant, (ns, fused) in VARIANTS.items():
        models[variant] = make(ns, fused).to(device, memory_format=fmt)
        models[variant].load_state_dict(models["torch"].state_dict())
    losses = {
        v: (lambda m=m, v=v: (F if v == "torch" else layers).cross_entropy(m(x), target))
        for v, m in models.items()
    }
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
