"""Hydra's own launcher for grids: `hydra/launcher=submitit_slurm`."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from deeprob.runs import Run

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slurm
@pytest.mark.skipif(not find_spec("submitit"), reason="pip install 'deeprob[submitit]'")
def test_a_grid_runs_as_an_array_and_waits_for_it(slurm, tmp_path, squares_overrides):
    launcher = ["hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=5", "hydra.launcher.mem_gb=null"]
    launcher += ["hydra.launcher.cpus_per_task=1"]
    command = [sys.executable, "-m", "deeprob", "train", "-m", *launcher, *squares_overrides]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([*command, "seed=1,2", "trainer.max_epochs=1"], env=environment, check=True, timeout=240)
    runs = [Run(path.parent) for path in sorted((tmp_path / "runs" / "squares").glob("*/results.json"))]
    assert sorted(run.read_results()["seed"] for run in runs) == [1, 2]
    assert {run.run_id.rpartition("_")[2] for run in runs} == {"0", "1"}  # a requeued task finds its folder
