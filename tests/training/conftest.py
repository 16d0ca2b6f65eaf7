"""A data set small enough to train on in seconds: coloured squares on grey, in darknet's format."""

import cv2
import numpy as np
import pytest

from deeprob.config import compose

CLASSES = ("red", "green", "blue")


@pytest.fixture
def squares(tmp_path):
    """Write 3 x 24 training and 3 x 12 validation frames of one square each; return the folder."""
    root = tmp_path / "squares"
    random = np.random.default_rng(0)
    for split, count in (("train", 24), ("val", 12)):
        folder = root / split
        folder.mkdir(parents=True)
        for class_id in range(len(CLASSES)):
            for number in range(count):
                image = random.integers(90, 130, (40, 40, 3), dtype=np.uint8)
                x, y = random.integers(4, 20, 2)
                image[y : y + 16, x : x + 16, class_id] = 220
                name = folder / f"{class_id}-{number:02d}"
                cv2.imwrite(f"{name}.png", image[..., ::-1])
                box = f"{class_id} {(x + 8) / 40} {(y + 8) / 40} {16 / 40} {16 / 40}\n"
                name.with_suffix(".txt").write_text(box)
    (root / "obj.names").write_text("\n".join(CLASSES))
    return root


@pytest.fixture
def squares_config(squares, tmp_path):
    """Compose a training on the squares; further overrides as arguments."""

    def make(*overrides):
        return compose(
            "train",
            [
                "name=squares",
                "data=darknet",
                f"data.root={squares}",
                f"paths.cache_dir={tmp_path / 'cache'}",
                f"paths.runs_dir={tmp_path / 'runs'}",
                "data.view.size=16",
                "data.batch_size=16",
                "data.augmentation.translate=0.1",
                "data.augmentation.noise=0.02",
                "model.blocks=[1,1]",
                "model.width=8",
                "model.dropout=0.2",
                "optim.optimizer.lr=0.05",
                "evaluation.split=val",
                "trainer.max_epochs=3",
                "trainer.threads=1",
                "trainer.accelerator=cpu",
                "trainer.log_every=1",
                *overrides,
            ],
        )

    return make
