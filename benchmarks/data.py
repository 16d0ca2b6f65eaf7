"""Time augmented batches against the usual per-sample pipeline: one process's rows, as JSON and as a table.

    python benchmarks/data.py [out=runs/benchmark] [budget=20]

The pipeline it is compared with is what torchvision's transforms do to a PIL image, call by call (torchvision
itself is not needed): RandomHorizontalFlip, RandomAffine, ColorJitter, ToTensor, Normalize, in a map-style
dataset that torch's DataLoader collates. Both do the same kinds of change, on one thread, timed by the
process's own clock, which stands still while another process has the core.
"""

import json
import math
import os
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import parse, seconds_interleaved
from PIL import Image, ImageEnhance
from torch.utils.data import DataLoader, Dataset

from deeprob.data.batches.loader import BatchLoader
from deeprob.data.settings import Augmentation
from deeprob.tasks.classification.view import CropCollate, CropSamples

MEAN, STD = (0.4, 0.4, 0.4), (0.25, 0.25, 0.25)
STANDARD = Augmentation(
    flip=0.5,
    translate=0.1,
    zoom=0.15,
    aspect=0.15,
    rotate=0.2,
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    hue=0.2,
)


def main() -> None:
    """Measure every row, print the table and write data.json and data.md."""
    options = parse({"out": "runs/benchmark", "budget": "20"})
    out, budget = Path(options["out"]), float(options["budget"])
    torch.set_num_threads(1)
    rows = [throughput(32, 256, 2048, budget), throughput(128, 64, 256, budget)]
    rows += [epoch_start(60_000), workers(128, 64, 1024)]
    table = ["| what | ours | compared with | ratio | goal |", "|---|---|---|---|---|"]
    for row in rows:
        table.append(f"| {row['what']} | {row['ours']} | {row['against']} | {row['ratio']} | {row['goal']} |")
    text = "\n".join(table)
    print(text)
    out.mkdir(parents=True, exist_ok=True)
    load = f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    about = (
        f"torch {torch.__version__}, {torch.get_num_threads()} thread, {load}, {time.strftime('%Y-%m-%d')}"
    )
    (out / "data.json").write_text(json.dumps({"schema": 1, "about": about, "rows": rows}, indent=1) + "\n")
    (out / "data.md").write_text(
        f"# data: augmented batches\n\n{about}; `python benchmarks/data.py`\n\n{text}\n"
    )


def throughput(size: int, batch_size: int, count: int, budget: float) -> dict[str, Any]:
    """Images a second on one core into augmented batches, ours and per sample, in turn."""
    split = noise(count, size)
    ours = BatchLoader(split, batch_size, CropCollate(MEAN, STD, STANDARD), shuffle=True)
    theirs = DataLoader(PerSample(split), batch_size, shuffle=True)
    steps = {"ours": lambda: exhaust(ours), "theirs": lambda: exhaust(theirs)}
    times = {k: statistics.median(v) for k, v in seconds_interleaved(steps, 15, budget).items()}
    return {
        "what": f"augmented {size} x {size} images a second and core, batches of {batch_size}",
        "ours": f"{count / times['ours']:.0f}",
        "against": f"PIL, per sample: {count / times['theirs']:.0f}",
        "ratio": round(times["theirs"] / times["ours"], 1),
        "goal": ">= 20" if size == 32 else ">= 5",
    }


def epoch_start(count: int) -> dict[str, Any]:
    """Seconds from asking for an epoch over `count` small images to its first batch."""
    split = noise(count, 32)
    seconds = []
    for _ in range(7):
        loader = BatchLoader(split, 256, CropCollate(MEAN, STD, STANDARD), shuffle=True)
        begin = time.perf_counter()
        next(iter(loader))
        seconds.append(time.perf_counter() - begin)
    return {
        "what": f"first batch of an epoch of {count} images, seconds",
        "ours": f"{statistics.median(seconds):.3f}",
        "against": "",
        "ratio": "",
        "goal": "< 1",
    }


def workers(size: int, batch_size: int, count: int, rounds: int = 7) -> dict[str, Any]:
    """Images a second with one and with two worker threads, in turn, by the clock on the wall."""
    split = noise(count, size)
    heavy = replace(STANDARD, blur=0.8, noise=0.05)
    seconds: dict[int, list[float]] = {1: [], 2: []}
    loaders = {
        n: BatchLoader(split, batch_size, CropCollate(MEAN, STD, heavy), shuffle=True, num_workers=n)
        for n in seconds
    }
    for _ in range(rounds):
        for n, loader in loaders.items():
            begin = time.perf_counter()
            exhaust(loader)
            seconds[n].append(time.perf_counter() - begin)
    times = {n: statistics.median(values[1:]) for n, values in seconds.items()}  # the first starts them
    return {
        "what": f"{size} x {size} images a second, with blur and noise too, from two worker threads",
        "ours": f"{count / times[2]:.0f}",
        "against": f"from one: {count / times[1]:.0f}",
        "ratio": round(times[1] / times[2], 2),
        "goal": ">= 1.8",
    }


def noise(count: int, size: int) -> CropSamples:
    """A split of random pictures."""
    images = torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8)
    zeros = torch.zeros(count, dtype=torch.int64)
    return CropSamples(images, zeros, zeros, zeros, ("noise",), tuple(map(str, range(count))))


def exhaust(loader: Any) -> None:
    """Go through an epoch."""
    for _ in loader:
        pass


class PerSample(Dataset[tuple[torch.Tensor, int]]):
    """One image at a time, through PIL, with torchvision's steps and its draws from torch's generator."""

    def __init__(self, split: CropSamples) -> None:
        self.images = split.images.numpy()
        self.labels = split.labels.tolist()
        self.mean, self.std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image = Image.fromarray(self.images[index])
        if torch.rand(1) < STANDARD.flip:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        image = random_affine(image)
        steps = (brightness, contrast, saturation, hue)
        for step in torch.randperm(4).tolist():
            image = steps[step](image)
        array = torch.from_numpy(np.array(image, copy=True))
        tensor = array.permute(2, 0, 1).contiguous().to(torch.float32).div(255)
        return tensor.sub_(self.mean).div_(self.std), self.labels[index]


def uniform(low: float, high: float) -> float:
    """Draw one number."""
    return float(torch.empty(1).uniform_(low, high))


def random_affine(image: Image.Image) -> Image.Image:
    """RandomAffine: rotation, translation, scale and shear, one bilinear transform."""
    size, angle = image.size[0], uniform(-STANDARD.rotate, STANDARD.rotate)
    shift_x, shift_y = (round(uniform(-STANDARD.translate, STANDARD.translate) * size) for _ in range(2))
    zoom = uniform(1 / (1 + STANDARD.zoom), 1 + STANDARD.zoom)
    shear = uniform(-STANDARD.aspect, STANDARD.aspect)
    cos, sin, centre = math.cos(angle) / zoom, math.sin(angle) / zoom, (size - 1) / 2
    a, b, d, e = cos, sin - shear * cos, -sin, cos + shear * sin
    c = centre - a * (centre + shift_x) - b * (centre + shift_y)
    f = centre - d * (centre + shift_x) - e * (centre + shift_y)
    return image.transform(image.size, Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BILINEAR)


def brightness(image: Image.Image) -> Image.Image:
    """ColorJitter's brightness."""
    return ImageEnhance.Brightness(image).enhance(uniform(1 - STANDARD.brightness, 1 + STANDARD.brightness))


def contrast(image: Image.Image) -> Image.Image:
    """ColorJitter's contrast."""
    return ImageEnhance.Contrast(image).enhance(uniform(1 - STANDARD.contrast, 1 + STANDARD.contrast))


def saturation(image: Image.Image) -> Image.Image:
    """ColorJitter's saturation."""
    return ImageEnhance.Color(image).enhance(uniform(1 - STANDARD.saturation, 1 + STANDARD.saturation))


def hue(image: Image.Image) -> Image.Image:
    """ColorJitter's hue: the H channel of HSV, shifted."""
    turns = uniform(-STANDARD.hue, STANDARD.hue) / (2 * math.pi)
    h, s, v = image.convert("HSV").split()
    shifted = np.array(h, dtype=np.uint8)
    shifted += np.int32(turns * 255).astype(np.uint8)
    return Image.merge("HSV", (Image.fromarray(shifted), s, v)).convert("RGB")


if __name__ == "__main__":
    main()
