"""What a trained run sees: classes, boxes, label maps or poses in pictures, a video, a bag or a camera.

usage: deeprob predict run=<run folder> input=<image | folder | pattern | video | bag | camera number>
[draw=true]
       deeprob predict run=<run folder> input=drive.mp4 every=5 min_score=0.4 'classes=[ball]'
       deeprob predict run=<run folder> input=recording.mcap topic=/camera/image_raw
       deeprob predict run=<run folder> data=<data set> split=val
       deeprob predict run=<pose run> input=my_frames boxes=boxes.json refine=true
       deeprob predict run=<classifier> input=my_frames detector=<run folder of a detector>
       deeprob predict run=<classifier> input=my_frames boxes=boxes.json

Writes predictions.json (boxes, COCO), predictions.csv (poses, BOP; classes) or predictions/ (label maps), and
frames.jsonl with the stamp of every frame; with draw=true, pictures or a video. The same command goes on
where it was interrupted. `deeprob evaluate predictions=<out>/predictions.json data=<data set>` scores what it
wrote.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main(arguments: list[str]) -> int:
    """Run the verb. Returns the exit code; raises InputError and KeyboardInterrupt."""
    from deeprob.config import hydra_main

    hydra_main("predict", predict, arguments)
    return 0


def predict(cfg: DictConfig) -> None:
    """Predict what `cfg` asks for, and print what came of it."""
    from rich.console import Console

    from deeprob.deploy.predict import predict_input

    facts, folder = predict_input(cfg)
    console = Console(markup=False)
    line = f"{facts['frames']:,} frames, {facts['predictions']:,} predictions"
    if facts["skipped"]:
        line += f", {facts['skipped']:,} frames skipped"
    if facts["images_per_second"]:
        line += f", {facts['images_per_second']:.1f} images/s"
    console.print(line, highlight=False)
    for remark in facts["remarks"]:
        console.print(remark, highlight=False, soft_wrap=True)
    for reason in facts["first_reasons"][:3]:
        console.print(f"skipped  {reason}", highlight=False, soft_wrap=True, markup=False)
    console.print(f"written  {folder / facts['file']}", highlight=False, soft_wrap=True, markup=False)
