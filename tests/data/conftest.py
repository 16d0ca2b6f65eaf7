"""Small data sets written by hand, and a source made of arrays."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from deeprob.data.frame import Frame, Instance
from deeprob.data.reading import Frames
from deeprob.errors import InputError


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
    for number, session in enumerate(["2019a/r1", "2019a/r2", "2024b/r1"]):
        for frame in range(2):
            image = root / session / f"frame_{frame}.jpg"
            write_image(image, seed=10 * number + frame)
            image.with_suffix(".txt").write_text("0 0.5 0.5 0.5 0.5\n1 0.25 0.5 0.5 1.0\n")
    (root / "obj.names").write_text("ball\nrobot\n")
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
