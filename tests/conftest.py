import gc
import os
import shutil
import signal

# Tests run side by side, a process a core: before torch is imported, here and in what a test starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path

# A shell that starts them in the background ignores SIGINT, and what they start would, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import cv2
import numpy as np
import pytest

from deeprob.config import composed_with

pytest_plugins = ["fixtures.data", "fixtures.runs", "fixtures.tasks"]

gc.disable()  # until all tests are imported: a fifth of the time that it takes


def pytest_collection_finish():
    """Let the collector of cycles pass over what the tests have imported, a million objects that all stay."""
    gc.enable()
    gc.collect()
    gc.freeze()


@pytest.fixture
def data_dir() -> Path:
    """The folder of the real data sets; the test is skipped, saying so, where there is none."""
    path = os.environ.get("DEEPROB_DATA")
    if not path:
        pytest.skip("DEEPROB_DATA is not set: no real data here")
    folder = Path(path)
    if not folder.is_dir():
        pytest.skip(f"DEEPROB_DATA={path} is not a folder")
    return folder


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    """Every test runs in an empty folder of its own, outside any scheduler's job."""
    monkeypatch.chdir(tmp_path)
    for name in ("DEEPROB_RUN_ID", "SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)


CLASSES = ("red", "green", "blue")


@pytest.fixture(scope="session")
def shared_squares(tmp_path_factory):
    """The folder of 3 x 24 training and 3 x 12 validation frames of one square each, to be read only."""
    root = tmp_path_factory.mktemp("data") / "squares"
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
def squares(shared_squares, tmp_path):
    """The squares in a folder of the test's own, which it may change; return the folder."""
    return Path(shutil.copytree(shared_squares, tmp_path / "squares"))


@pytest.fixture
def squares_config(squares_places):
    """Compose a training on the squares; further overrides as arguments."""
    return lambda *overrides: composed_with("train", SQUARES, [*squares_places, *overrides])


@pytest.fixture
def squares_overrides(squares_places):
    """The overrides that make a training on the squares of a few seconds."""
    return [*SQUARES, *squares_places]


@pytest.fixture
def squares_places(request, shared_squares, tmp_path):
    """Where a training on the squares reads and writes: shared, but with squares of the test's own."""
    own = "squares" in request.fixturenames
    root = request.getfixturevalue("squares") if own else shared_squares
    cache = (tmp_path if own else shared_squares.parent) / "cache"
    return [f"data.root={root}", f"paths.cache_dir={cache}", f"paths.runs_dir={tmp_path / 'runs'}"]


SQUARES = [
    "name=squares",
    "data=darknet",
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
]
