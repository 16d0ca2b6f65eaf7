import pytest
import torch
from lightning.pytorch import Callback

from deeprob.errors import InputError
from deeprob.training.averaging import MovingAverage
from deeprob.training.experiment import load, read_config
from deeprob.training.run import train_run


def test_the_decay_rises_to_its_value():
    average, weights = torch.zeros(1), torch.ones(1)
    callback = MovingAverage(0.9)
    callback._average([average], [weights], torch.tensor(1))
    torch.testing.assert_close(average, torch.tensor([1 - 2 / 11]))
    average.zero_()
    callback._average([average], [weights], torch.tensor(1000))
    torch.testing.assert_close(average, torch.tensor([0.1]))


def test_counters_are_copied():
    counter = torch.tensor(3)
    MovingAverage(0.9)._average([counter], [torch.tensor(7)], torch.tensor(5))
    assert counter == 7


def test_evaluation_takes_the_average_and_the_checkpoint_holds_both(trained, weights):
    plain, averaged = trained("a"), trained("b", "trainer.ema=0.9")
    current = weights(averaged, "current_model_state")
    assert all(torch.equal(value, current[name]) for name, value in weights(plain).items())
    loaded = load(averaged, "last").model.conv1.weight
    assert torch.equal(loaded, weights(averaged)["model.conv1.weight"])
    assert not torch.equal(loaded, current["model.conv1.weight"])
    val = [[r["val/loss"] for r in run.read_metrics() if "val/loss" in r] for run in (plain, averaged)]
    assert val[0] != val[1]


class Stop(Callback):
    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == 6:  # in mid-epoch
            raise RuntimeError("stopped")


def test_a_run_cut_off_ends_with_the_same_weights_and_average(trained, new_run, squares_config, weights):
    whole, cut = trained("whole", "trainer.ema=0.9"), new_run("cut")
    with pytest.raises(RuntimeError, match="stopped"):
        train_run(squares_config("trainer.ema=0.9"), cut, [], watchers=[Stop()])
    train_run(read_config(cut), cut, [])
    for entry in ("state_dict", "current_model_state", "averaging_state"):
        a, b = weights(whole, entry), weights(cut, entry)
        assert not [name for name in a if not torch.equal(a[name], b[name])]


def test_a_decay_of_one_is_refused(trained):
    with pytest.raises(InputError, match=r"trainer\.ema is 1.0; expected from 0 to below 1"):
        trained("a", "trainer.ema=1.0")
