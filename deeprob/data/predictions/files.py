"""What a file of predictions holds.

    results.csv    poses as the BOP challenge takes them: scene_id,im_id,obj_id,score,R,t,time; millimetres
    results.json   a list of {image_id, category_id, bbox: [x, y, width, height], score}, as COCO takes it; of
                   a BOP data set with scene_id too. With `segmentation` (run lengths or polygons) in every
                   entry, masks are judged.
    a folder       of label images, <key of the frame>.png: 0 is background, i + 1 is class i

Formats: https://bop.felk.cvut.cz/challenges, https://cocodataset.org/#format-results. A box is
counted from the image's corner, of BOP data sets too: width is the number of columns.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprob.data.frame import Frame
from deeprob.data.predictions.bop_csv import PoseEstimate, read_results
from deeprob.data.predictions.names import Names
from deeprob.data.readers.fields import as_list, as_numbers, as_object, field, read_json
from deeprob.data.readers.files import same_size
from deeprob.data.readers.reading import read_plane
from deeprob.errors import InputError
from deeprob.geometry.boxes import from_coco


@dataclass(frozen=True, eq=False)
class Pose:
    """An estimate: class_id, score (higher is surer), T_cam_obj float64 (4, 4), metres."""

    class_id: int
    score: float
    T_cam_obj: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Box:
    """A detection: class_id, score, box_xyxy float64 (4,) as Instance has it; segmentation as in the file."""

    class_id: int
    score: float
    box_xyxy: NDArray[np.float64]
    segmentation: Any = None
    where: str = ""


@dataclass(frozen=True, eq=False)
class Classified:
    """A class: class_id, its probability `score`, probabilities float64 (C,); box_xyxy float64 (4,)."""

    class_id: int
    score: float
    probabilities: NDArray[np.float64]
    box_xyxy: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Predicted:
    """A file; task: pose, detection, instance_segmentation, segmentation; by_image: what it says of each."""

    path: Path
    task: str
    by_image: Mapping[Hashable, Sequence[Any]]
    names: Names

    def of(self, index: int, frame: Frame) -> list[Any]:
        """What the file says about a frame of the split, the best score first."""
        name = self.names.of_frames.get(index, frame.key)
        found = [
            *self.by_image.get(name, ()),
            *(self.by_image.get(frame.key, ()) if name != frame.key else ()),
        ]
        found += () if self.names.of_frames else self.by_image.get(index, ())
        return sorted(found, key=lambda entry: -entry.score)

    def label_map(self, frame: Frame) -> NDArray[np.int64]:
        """The label image of a frame, int64 (H, W). Raises InputError for a missing one or another size."""
        path = self.path / PurePosixPath(frame.key).with_suffix(".png")
        return same_size(read_plane(path), frame.image.shape, path).astype(np.int64)

    def check_all_used(self, keys: set[str]) -> None:
        """Raise InputError for a prediction about a frame that the split does not hold."""
        for name in self.by_image:
            if isinstance(name, str) and name not in keys:
                raise InputError(
                    f"no image {name!r} in this split", where=self.path, expected=f"such as {min(keys)}"
                )
            if isinstance(name, int) and not self.names.of_frames and name not in range(len(keys)):
                raise InputError(
                    f"no image {name} in this split", where=self.path, expected=f"0 to {len(keys) - 1}"
                )


def read_predictions(path: Path, source: Any, split: str) -> Predicted:
    """Read predictions about a split. Raises InputError that names the file, the entry and the field."""
    if path.is_dir():
        return Predicted(path, "segmentation", {}, Names(source, split))
    if path.suffix.lower() == ".csv":
        return read_poses(path, source, split)[1]
    if path.suffix.lower() == ".json":
        return read_boxes(path, Names(source, split))
    raise InputError(
        "not a file of predictions" if path.exists() else "no such file",
        where=path,
        expected="poses.csv (BOP), boxes.json (COCO) or a folder of label images",
    )


def read_poses(path: Path, source: Any, split: str) -> tuple[list[PoseEstimate], Predicted]:
    """The estimates of a BOP CSV in the file's order, and the same as predictions about a split.

    Those are by the image's number; of a data set without numbers, by the place of the frame in its split.
    Raises InputError that names the file, the line and the field.
    """
    estimates = read_results(path)
    if not source.has_models:
        raise InputError(
            "poses need the objects' models, which this data set lacks",
            where=source.name,
            expected="data=bop, data=ycbv or data=props_pose",
        )
    names = Names(source, split)
    found: dict[Hashable, list[Pose]] = {}
    for number, estimate in enumerate(estimates, start=2):
        where = f"{path} line {number}"
        image: Hashable = (estimate.scene_id, estimate.im_id)
        image = names.known(image, where) if names.of_frames else estimate.im_id
        pose = Pose(names.of_object(estimate.obj_id, where), estimate.score, estimate.T_cam_obj)
        found.setdefault(image, []).append(pose)
    return estimates, Predicted(path, "pose", found, names)


def read_boxes(path: Path, names: Names) -> Predicted:
    """Read boxes as COCO takes them. Raises InputError that names the file, the entry and the field."""
    found: dict[Hashable, list[Box]] = {}
    masked: bool | None = None
    for index, value in enumerate(as_list(read_json(path), path, "the file")):
        where = f"{path} entry {index}"
        entry = as_object(value, where, "entry")
        image = names.image(entry, where)
        class_id = names.class_id(field(entry, where, "category_id"), where)
        score = float(as_numbers([field(entry, where, "score")], 1, where, "score")[0])
        segmentation = entry.get("segmentation")
        if masked is not None and masked != (segmentation is not None):
            raise InputError("segmentation in some entries only", where=where, expected="in all, or in none")
        masked = segmentation is not None
        if masked and "bbox" not in entry:
            box = from_coco([0, 0, 0, 0])
        else:
            x, y, width, height = as_numbers(field(entry, where, "bbox"), 4, where, "bbox").tolist()
            if width < 0 or height < 0:
                raise InputError(
                    f"bbox is {width:g} wide, {height:g} high", where=where, expected="0 or more"
                )
            box = from_coco([x, y, width, height])
        found.setdefault(image, []).append(Box(class_id, score, box, segmentation, where))
    return Predicted(path, "instance_segmentation" if masked else "detection", found, names)
