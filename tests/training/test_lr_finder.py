import json

import numpy as np
import pytest

from deeprob.errors import InputError
from deeprob.training.experiment import read_config
from deeprob.training.lr_finder import DIVERGED, steepest
from deeprob.training.run import train_run


def test_the_steepest_fall_is_found():
    rates = np.logspace(-6, 0, 60)
    losses = 2 - 1.5 / (1 + np.exp(-4 * (np.log10(rates) + 3)))  # falls fastest at 1e-3
    losses[50:] = 9
    assert steepest(rates, losses) == pytest.approx(1e-3, rel=0.3)


def test_a_loss_that_never_falls_is_said():
    with pytest.raises(InputError, match="falls at no learning rate"):
        steepest(np.logspace(-6, 0, 60), np.linspace(1, 2, 60))
    with pytest.raises(InputError, match="falls at no learning rate"):
        steepest(np.array([]), np.array([]))


def test_the_rate_grows_until_the_loss_diverges_and_a_plot_is_written(trained, capsys):
    run = trained("a", "trainer.lr_finder=60")
    found = json.loads((run.path / "lr_finder.json").read_text())
    rates, losses = np.array(found["lr"]), np.array(found["loss"])
    np.testing.assert_allclose(rates[1:] / rates[:-1], rates[1] / rates[0])
    assert rates[0] == pytest.approx(1e-7)
    assert len(rates) == 60 or losses[-1] > DIVERGED * losses.min()
    assert rates[0] < found["suggestion"] < rates[-1]
    assert (run.plots / "lr_finder.png").read_bytes().startswith(b"\x89PNG")
    assert f"optim.optimizer.lr={found['suggestion']:.3g}" in capsys.readouterr().out


def test_a_training_after_it_starts_from_the_beginning(trained, weights):
    plain, run = trained("a"), trained("b", "trainer.lr_finder=20")
    assert not run.checkpoint("last").exists()
    cfg = read_config(run)
    cfg.trainer.lr_finder = 0
    train_run(cfg, run, [])
    assert all((value == weights(run)[name]).all() for name, value in weights(plain).items())


def test_every_group_keeps_its_share_of_the_rate(trained):
    run = trained("a", "trainer.lr_finder=20", "optim.backbone_lr_factor=0.1", "trainer.accumulate=2")
    assert len(json.loads((run.path / "lr_finder.json").read_text())["lr"]) == 20
