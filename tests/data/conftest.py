"""Small data sets written by hand, and a source made of arrays."""

import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from deeprob.data.bop import BopSource
from deeprob.data.coco import CocoSource
from deeprob.data.darknet import DarknetSource
from deeprob.data.folder import FolderSource
from deeprob.data.frame import Frame, Instance
from deeprob.data.kitti import KittiSource
from deeprob.data.props import PropsClassificationSource, PropsDetectionSource
from deeprob.data.props_pose import PropsPoseSource
from deeprob.data.reading import Frames
from deeprob.data.source import FileSource
from deeprob.data.voc import VocSource
from deeprob.errors import InputError
from deeprob.geometry.rotation import axis_angle_to_matrix
from deeprob.geometry.transform import invert_transform, make_transform


def write_image(path: Path, width: int = 40, height: int = 30, seed: int = 0) -> np.ndarray:
    """A smooth picture, written in the format of the suffix; returns it as RGB."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded, buffer = cv2.imencode(path.suffix, image)
    assert encoded
    path.write_bytes(buffer.tobytes())
    return image[..., ::-1]


@pytest.fixture
def darknet_root(tmp_path: Path) -> Path:
    """Two classes; two training sessions of two frames each and one for validation."""
    root = tmp_path / "robots"
    build_darknet(root)
    return root


class ArraySource:
    """Frames made of noise; each has one instance of class (index mod 3), five frames to a group."""

    name, real = "arrays", True
    classes = ("a", "b", "c")
    splits: tuple[str, ...] = ("train",)

    def __init__(self, num_frames: int = 20, splits: tuple[str, ...] = ("train",)) -> None:
        self.num_frames, self.splits = num_frames, splits

    def frames(self, split: str) -> Frames[int]:
        if split not in self.splits:
            raise InputError(f"no split {split!r}")
        return Frames(range(self.num_frames), self._frame)

    def _frame(self, index: int) -> Frame:
        image = np.random.default_rng(index).integers(0, 256, (12, 12, 3), dtype=np.uint8)
        box = np.array([-0.5, -0.5, 11.5, 11.5])
        return Frame(image, (Instance(index % 3, box),), self.name, f"frame {index}", f"group {index // 5}")


@pytest.fixture
def array_source() -> Callable[..., ArraySource]:
    return ArraySource


@pytest.fixture
def draw() -> Callable[..., np.ndarray]:
    return write_image


@dataclass(frozen=True)
class Reader:
    """A small data set of one format: how it is written, and how it is opened."""

    name: str
    build: Callable[[Path], object]
    open: Callable[..., FileSource]
    split: str
    num_frames: int


def build_darknet(root: Path) -> None:
    for number, session in enumerate(["2019a/r1", "2019a/r2", "2024b/r1"]):
        for frame in range(2):
            image = root / session / f"frame_{frame}.jpg"
            write_image(image, seed=10 * number + frame)
            image.with_suffix(".txt").write_text("0 0.5 0.5 0.5 0.5\n1 0.25 0.5 0.5 1.0\n")
    (root / "obj.names").write_text("ball\nrobot\n")


def build_folder(root: Path) -> None:
    for number in range(6):
        write_image(root / "train" / ["cat", "dög house"][number % 2] / f"{number}.png", seed=number)


def write_plane(path: Path, plane: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", plane)[1].tobytes())


def two_masks() -> tuple[np.ndarray, np.ndarray]:
    """Silhouettes of two objects in 40 x 30 pixels; the second lies partly behind the first."""
    front, behind = np.zeros((30, 40), bool), np.zeros((30, 40), bool)
    front[5:20, 10:22] = True
    behind[8:25, 18:30] = True
    return front, behind


POSES = [
    make_transform(axis_angle_to_matrix([1, 2, 3], 0.7), [0.1, -0.05, 0.8]),
    make_transform(axis_angle_to_matrix([0, 1, 0], -1.1), [-0.1, 0.02, 1.1]),
]
BOP_K = [50.0, 0.0, 19.5, 0.0, 50.0, 14.5, 0.0, 0.0, 1.0]


def build_bop(root: Path, num_scenes: int = 2) -> None:
    """Two objects, 1 and 5; two images a scene."""
    (root / "models").mkdir(parents=True)
    info = {
        "diameter": 100.0,
        "min_x": -50,
        "min_y": -50,
        "min_z": -50,
        "size_x": 100,
        "size_y": 100,
        "size_z": 100,
    }
    (root / "models/models_info.json").write_text(json.dumps({"1": info, "5": info}))
    front, behind = two_masks()
    for scene in range(num_scenes):
        folder = root / "train_pbr" / f"{scene:06d}"
        camera, gt, gt_info = {}, {}, {}
        for image in range(2):
            write_image(folder / "rgb" / f"{image:06d}.jpg", seed=10 * scene + image)
            write_plane(folder / "depth" / f"{image:06d}.png", np.full((30, 40), 8000, np.uint16))
            for index, (amodal, visible) in enumerate([(front, front), (behind, behind & ~front)]):
                write_plane(folder / "mask" / f"{image:06d}_{index:06d}.png", amodal.astype(np.uint8) * 255)
                write_plane(
                    folder / "mask_visib" / f"{image:06d}_{index:06d}.png", visible.astype(np.uint8) * 255
                )
            camera[str(image)] = {"cam_K": BOP_K, "depth_scale": 0.1}
            gt[str(image)] = [
                {
                    "cam_R_m2c": T[:3, :3].ravel().tolist(),
                    "cam_t_m2c": (1000 * T[:3, 3]).tolist(),
                    "obj_id": obj_id,
                }
                for T, obj_id in zip(POSES, (5, 1), strict=True)
            ]
            fraction = float((behind & ~front).sum() / behind.sum())
            gt_info[str(image)] = [
                {"bbox_visib": [10, 5, 11, 14], "bbox_obj": [10, 5, 11, 14], "visib_fract": 1.0},
                {"bbox_visib": [18, 8, 11, 16], "bbox_obj": [18, 8, 11, 16], "visib_fract": fraction},
            ]
        for name, content in (("camera", camera), ("gt", gt), ("gt_info", gt_info)):
            (folder / f"scene_{name}.json").write_text(json.dumps(content))


def build_coco(root: Path) -> None:
    images, annotations = [], []
    for number in range(4):
        name = f"bild {number}ä.png"
        write_image(root / "images" / name, seed=number)
        images.append({"id": 10 + number, "file_name": name, "width": 40, "height": 30})
        annotations += [
            {
                "id": 2 * number,
                "image_id": 10 + number,
                "category_id": 7,
                "bbox": [10, 5, 12, 15],
                "segmentation": [[10, 5, 22, 5, 22, 20, 10, 20]],
            },
            {
                "id": 2 * number + 1,
                "image_id": 10 + number,
                "category_id": 3,
                "bbox": [0, 0, 2, 30],
                "segmentation": {"size": [30, 40], "counts": [0, 60, 1140]},
            },
        ]
    categories = [{"id": 7, "name": "robot"}, {"id": 3, "name": "ball"}]
    (root / "train.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )


def build_props_classification(root: Path) -> None:
    """Three instances of three crops; the mug is held out."""
    root.mkdir(parents=True)
    (root / "meta.pkl").write_bytes(pickle.dumps({"test_split": ["mug_2"]}))
    for stem, label in (("mug_1", 8), ("mug_2", 8), ("sugar_box_1", 2)):
        data = np.random.default_rng(label).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
        (root / f"{stem}.pkl").write_bytes(pickle.dumps({"data": data, "labels": [label] * 3}, protocol=2))


def build_props_detection(root: Path) -> None:
    for split in ("train", "val"):
        entries = []
        for number in range(3):
            path = f"PROPS-Detection/{split}_{number}.png"
            write_image(root / path, seed=number)
            entries.append(
                [
                    path,
                    [{"name": "mug", "xyxy": [10, 5, 22, 20]}, {"name": "sugar_box", "xyxy": [0, 0, 5, 5]}],
                ]
            )
        (root / f"{split}.json").write_text(json.dumps(entries))


def build_props_pose(root: Path) -> None:
    front, behind = two_masks()
    for split in ("train", "val"):
        gt, info = {}, {}
        for number in range(3):
            write_image(root / split / f"rgb/{number:06d}.png", seed=number)
            write_plane(root / split / f"depth/{number:06d}.png", np.full((30, 40), 9000, np.uint16))
            for index, mask in enumerate((front, behind & ~front)):
                write_plane(
                    root / split / f"mask_visib/{number:06d}_{index:06d}.png", mask.astype(np.uint8) * 255
                )
            inverses = [invert_transform(T) for T in POSES]
            gt[str(number)] = [
                {"cam_R_m2c": T[:3, :3].ravel().tolist(), "cam_t_m2c": T[:3, 3].tolist(), "obj_id": obj_id}
                for T, obj_id in zip(inverses, (14, 3), strict=True)
            ]
            info[str(number)] = [{"bbox_visib": [10, 5, 11, 14]}, {"bbox_visib": [18, 8, 11, 16]}]
        (root / split / f"{split}_gt.json").write_text(json.dumps(gt))
        (root / split / f"{split}_gt_info.json").write_text(json.dumps(info))


VOC_OBJECT = (
    "<object><name>{}</name><difficult>{}</difficult><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax>"
    "<ymax>{}</ymax></bndbox></object>"
)


def voc_annotation(*objects: tuple[object, ...], size: tuple[int, int] = (40, 30)) -> str:
    """The XML of objects (name, difficult, xmin, ymin, xmax, ymax)."""
    said = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    return f"<annotation>{said}{''.join(VOC_OBJECT.format(*values) for values in objects)}</annotation>"


def build_voc(root: Path) -> None:
    """Six images, four of them for training; a robot of columns 10 to 21, rows 5 to 19, and a ball."""
    (root / "ImageSets/Main").mkdir(parents=True)
    (root / "Annotations").mkdir()
    names = [f"2007_{number:06d}" for number in range(6)]
    for number, name in enumerate(names):
        write_image(root / "JPEGImages" / f"{name}.jpg", seed=number)
        text = voc_annotation(("robot", 0, 11, 6, 22, 20), ("ball", 1, 1, 1, 2, 30))
        (root / "Annotations" / f"{name}.xml").write_text(text)
    (root / "ImageSets/Main/train.txt").write_text("\n".join(names[:4]) + "\n")
    (root / "ImageSets/Main/val.txt").write_text("\n".join(names[4:]) + "\n")


KITTI_LINE = "{} 0.00 0 -1.58 {} {} {} {} 1.65 1.67 3.64 -0.65 1.71 46.70 -1.59\n"


def build_kitti(root: Path) -> None:
    (root / "training/label_2").mkdir(parents=True)
    (root / "ImageSets").mkdir()
    for number in range(6):
        write_image(root / "training/image_2" / f"{number:06d}.png", seed=number)
        (root / "training/label_2" / f"{number:06d}.txt").write_text(
            KITTI_LINE.format("Car", "9.50", "4.50", "21.50", "19.50")
            + KITTI_LINE.format("DontCare", "30.00", "0.00", "39.00", "29.00")
        )
    (root / "ImageSets/train.txt").write_text("".join(f"{n:06d}\n" for n in range(4)))
    (root / "ImageSets/val.txt").write_text("".join(f"{n:06d}\n" for n in (4, 5)))


READERS = (
    Reader("darknet", build_darknet, partial(DarknetSource, splits={"train": ["2019*"]}), "train", 4),
    Reader("folder", build_folder, partial(FolderSource, splits={"train": "train"}), "train", 6),
    Reader("bop", build_bop, partial(BopSource, splits={"train": ["train_pbr/*"]}), "train", 4),
    Reader(
        "coco",
        build_coco,
        partial(CocoSource, annotations={"train": "train.json"}, images={"train": "images"}),
        "train",
        4,
    ),
    Reader("voc", build_voc, partial(VocSource, splits={"train": "train"}), "train", 4),
    Reader("kitti", build_kitti, partial(KittiSource, splits={"train": "train"}), "train", 4),
    Reader("props_classification", build_props_classification, PropsClassificationSource, "train", 6),
    Reader("props_detection", build_props_detection, PropsDetectionSource, "train", 3),
    Reader("props_pose", build_props_pose, PropsPoseSource, "train", 3),
)


@pytest.fixture(params=READERS, ids=lambda reader: reader.name)
def reader(request: pytest.FixtureRequest) -> Reader:
    return request.param


@pytest.fixture
def readers() -> dict[str, Reader]:
    return {reader.name: reader for reader in READERS}
