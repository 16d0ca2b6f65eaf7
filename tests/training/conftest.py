import pytest
import torch

from deeprob.runs import Run
from deeprob.training.run import train_run


@pytest.fixture
def new_run(tmp_path):
    """Make an empty run folder of a name."""

    def make(name):
        path = tmp_path / "runs" / "squares" / name
        path.mkdir(parents=True)
        return Run(path)

    return make


@pytest.fixture
def trained(new_run, squares_config):
    """Train on the squares: name of the run and overrides -> the run."""

    def run(name, *overrides):
        made = new_run(name)
        train_run(squares_config(*overrides), made, [])
        return made

    return run


@pytest.fixture
def weights():
    """Give a run's last weights, or another entry of its last checkpoint."""
    return lambda run, entry="state_dict": torch.load(run.checkpoint("last"), weights_only=True)[entry]


@pytest.fixture
def losses():
    """Give the losses of a run's steps."""
    return lambda run: [row["train/loss_step"] for row in run.read_metrics() if "train/loss_step" in row]
