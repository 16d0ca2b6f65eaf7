"""A file of poses refined into another one, and what a page shows of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from deeprob import layers
from deeprob.data.frame import Frame
from deeprob.data.predictions.bop_csv import PoseEstimate, write_results
from deeprob.data.predictions.files import read_poses
from deeprob.data.source import Source
from deeprob.errors import InputError
from deeprob.models.pose.by_render import losses_of_points
from deeprob.models.pose.colour_mask import silhouette
from deeprob.models.pose.seen import seen_on
from deeprob.page import drawing
from deeprob.page.overlays import ESTIMATED, NUM_WORST, RIGHT, SIDE, TRUE, Image, outlines
from deeprob.page.pictures import data_uri
from deeprob.progress import Status, quiet
from deeprob.tasks.base import Block
from deeprob.tasks.pose.refine import Outcome, PoseRefiner

ARROW, LEAST = 28, 0.1  # pixels of the longest arrow; shorter ones than this part of it are not drawn
QUARTILES = (0.25, 0.5, 0.75)


@dataclass
class RefinedFile:
    """What became of a file's estimates: their number, why some were kept, and what is shown of them.

    has_truth: whether the data set says where the objects are. shown: what the gallery of a page takes.
    """

    total: int
    sides: tuple[int, ...]
    kept: Counter[str] = field(default_factory=Counter)
    used: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    histories: list[list[float]] = field(default_factory=list)
    shown: list[dict[str, str]] = field(default_factory=list)
    has_truth: bool = False

    def notes(self) -> list[str]:
        """What was done, in sentences."""
        kept = "".join(f", {count:,} {why}" for why, count in self.kept.most_common())
        lines = [
            f"{self.total - self.kept.total():,} of {self.total:,} estimates refined, "
            f"{self.kept.total():,} kept as they were{kept and ':' + kept[1:]}."
        ]
        if self.used:
            terms = ", ".join(f"{term} ({count:,})" for term, count in self.used.items())
            lines.append(f"Compared with the frames' {terms}; {np.median(self.seconds):.2f} s each (median).")
        if self.used["mask"]:
            lines.append("The masks are the data set's labels: a robot has those of its own segmentation.")
        if self.used and set(self.used) == {"rgb"}:
            lines.append("Colours alone bring poses nearer that are far off; near ones may lose by them.")
        return lines

    def block(self) -> Block:
        """The loss over the steps, and starts and ends on their pictures."""
        context = {"drawing": self._curve(), "shown": self.shown, "total": self.total}
        return Block("refined", "Before and after", "refined", context)

    def _curve(self) -> tuple[str, str]:
        """The loss as a part of the start's: SVG and caption."""
        whole = [np.array(h) / h[0] for h in self.histories if np.isfinite(h).all() and h[0] > 0]
        if not whole:
            return "", ""
        longest = max(map(len, whole))
        shares = np.array([np.pad(h, (0, longest - len(h)), mode="edge") for h in whole])
        low, middle, high = np.quantile(shares, QUARTILES, axis=0)
        figure, axes = drawing.new_figure()
        steps = np.arange(len(middle))
        axes.fill_between(steps, low, high, color=drawing.SERIES[0], alpha=0.2, linewidth=0)
        axes.plot(steps, middle, color=drawing.SERIES[0], linewidth=1.6)
        axes.set(xlim=(0, len(steps) - 1), xlabel="step", ylabel="loss over the start's", ylim=(0, None))
        told = f"The loss over that of the start ends at {middle[-1]:.3f} in the median of {len(shares):,}."
        parts = ", then ".join(f"{side} x {side}" for side in self.sides)
        caption = f"{told} Pictures of {parts} pixels; the band holds half of the estimates."
        return drawing.to_svg(figure, "refined", told), caption


def refine_file(
    path: Path, source: Source, split: str, refiner: PoseRefiner, out: Path, status: Status = quiet
) -> RefinedFile:
    """Refine each pose of a BOP CSV about a split, and write all in the same order to `out`.

    Raises InputError that names the file and the line for what does not fit the data set.
    """
    estimates, predicted = read_poses(path, source, split)  # every line is checked before one is refined
    names = predicted.names
    if not estimates:
        raise InputError("no poses", where=path)
    lines: dict[Hashable, list[int]] = {}
    for line, estimate in enumerate(estimates):
        lines.setdefault((estimate.scene_id, estimate.im_id), []).append(line)
    chosen = set(np.linspace(0, len(estimates) - 1, min(NUM_WORST, len(estimates))).astype(int).tolist())
    found = RefinedFile(len(estimates), refiner.sides)
    frames = source.frames(split)
    first = True
    with status("refining", len(estimates)) as advance:
        for index, name in names.of_frames.items():
            if name not in lines:
                continue
            frame = frames[index]
            if first:
                refiner.check(frame)
                first = False
            found.has_truth |= any(i.T_cam_obj is not None for i in frame.instances)
            taken = 0.0
            for line in lines[name]:
                estimate = estimates[line]
                class_id = names.class_id(estimate.obj_id, str(path))
                outcome = refiner.one(frame, class_id, estimate.T_cam_obj)
                taken += outcome.seconds
                found.seconds.append(outcome.seconds)
                if outcome.kept:
                    found.kept[outcome.kept] += 1
                if len(outcome.history):
                    found.histories.append(list(outcome.history))
                if line in chosen:
                    found.shown.append(_shown(frame, class_id, estimate, outcome, source))
                estimates[line] = replace(estimate, T_cam_obj=outcome.T)
                advance()
            for line in lines[name]:
                before = estimates[line].seconds
                estimates[line] = replace(estimates[line], seconds=before + taken if before >= 0 else -1.0)
    found.used = refiner.used
    write_results(out, estimates)
    return found


def _shown(
    frame: Frame, class_id: int, estimate: PoseEstimate, outcome: Outcome, source: Source
) -> dict[str, str]:
    """A picture of the start, the end and the truth, and beside it which way the start is drawn."""
    name, start = source.classes[class_id], estimate.T_cam_obj
    said = outcome.kept or "refined"
    if outcome.history:
        said += f", loss {outcome.history[0]:.3g} to {min(outcome.history):.3g}"
        image = _pictures(frame, class_id, start, outcome)
    else:
        side = SIDE / max(frame.image.shape[:2])
        image = np.asarray(cv2.resize(frame.image, None, fx=side, fy=side, interpolation=cv2.INTER_AREA))
    alt = f"{name} in {frame.key}, {said}"
    return {"image": data_uri(image, ".jpg"), "said": said, "of": name, "key": frame.key, "alt": alt}


def _pictures(frame: Frame, class_id: int, start: Any, outcome: Outcome) -> Image:
    """Outlines, and the descent of the start's vertices on the picture, side by side: (SIDE, 2 SIDE, 3)."""
    drawn = outcome.drawn
    assert frame.K is not None
    (square,) = seen_on((SIDE,), start, frame.K, drawn, rgb=frame.image)
    assert square.rgb is not None
    canvas = (255 * square.rgb.nan_to_num()).round().byte().numpy()
    truths = [i.T_cam_obj for i in frame.instances if i.class_id == class_id and i.T_cam_obj is not None]
    nearest = sorted(truths, key=lambda T: float(np.linalg.norm(T[:3, 3] - start[:3, 3])))[:1]
    poses = [*((T, TRUE) for T in nearest), (start, ESTIMATED), (outcome.T, RIGHT)]
    seen = [silhouette(T, square, drawn) for T, _ in poses]
    left = outlines(canvas, seen, [colour for _, colour in poses])
    return np.concatenate([left, _descent(canvas, start, outcome)], 1)


def _descent(canvas: Image, start: Any, outcome: Outcome) -> Image:
    """Arrows against the gradient of the finest picture's loss by the places of the start's vertices."""
    drawn, seen = outcome.drawn, outcome.seen[-1]
    place = torch.from_numpy(start).float()
    place[:3, 3] += place[:3, :3] @ drawn.middle
    points = layers.project(drawn.vertices, place[None], seen.K).detach().requires_grad_()
    (slope,) = torch.autograd.grad(losses_of_points(points, seen, drawn).sum(), points)
    move = -slope[0, :, :2].numpy()
    length = np.linalg.norm(move, axis=1)
    scale = len(canvas) / seen.size[0]
    at = (points[0, :, :2].detach().numpy() + 0.5) * scale - 0.5
    drawing = np.ascontiguousarray(canvas // 2 + 96)
    for v in np.flatnonzero(length > max(LEAST * length.max(), 1e-12)):
        tip = at[v] + ARROW * move[v] / length.max()
        ends = [tuple(np.round(p).astype(int).tolist()) for p in (at[v], tip)]
        cv2.arrowedLine(drawing, ends[0], ends[1], ESTIMATED, 1, cv2.LINE_AA, tipLength=0.3)
    return drawing
