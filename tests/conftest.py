import os
from pathlib import Path

import pytest


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
