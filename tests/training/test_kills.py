"""A training that is killed at random moments, and given again each time, ends as if nothing had been."""

import pytest
import torch
from omegaconf import OmegaConf

from deeprob.training.run import train_run
from tests.fixtures.kills import killed_and_given_again

SCRIPT = """
import sys
from pathlib import Path
from omegaconf import OmegaConf
from deeprob.runs import Run
from deeprob.training.run import train_run
train_run(OmegaConf.load(sys.argv[1]), Run(Path(sys.argv[2])), [])
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0])
def test_a_training_killed_at_random_ends_with_the_same_weights(
    tmp_path, trained, new_run, squares_config, weights, losses, seed
):
    cfg = squares_config("trainer.max_epochs=8", f"seed={seed}")
    whole, cut = new_run("whole"), new_run("cut")
    train_run(cfg, whole, [])
    OmegaConf.save(cfg, tmp_path / "cfg.yaml", resolve=True)
    (tmp_path / "train.py").write_text(SCRIPT)
    command = [str(tmp_path / "train.py"), str(tmp_path / "cfg.yaml"), str(cut.path)]
    epochs = lambda: sum("val/loss" in row for row in cut.read_metrics())  # noqa: E731
    struck = killed_and_given_again(command, epochs, kills=2, longest=0.5, seed=seed)
    assert struck >= 1  # else nothing was tried
    a, b = weights(whole), weights(cut)
    assert [name for name in a if not torch.equal(a[name], b[name])] == []
    assert losses(cut) == losses(whole)
