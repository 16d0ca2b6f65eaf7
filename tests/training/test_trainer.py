"""How a step is made: batches added up, half precision, compiled."""

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback

from deeprob.errors import InputError
from deeprob.training.experiment import load, read_config
from deeprob.training.finite import NonFiniteError
from deeprob.training.run import train_run


class StopAt(Callback):
    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            raise RuntimeError("stopped")


PLAIN = ["data.augmentation.translate=0", "data.augmentation.noise=0", "model.dropout=0", "model.norm=false"]


def test_two_batches_added_up_are_a_step_of_the_double_batch(trained, weights):
    whole = trained("a", *PLAIN, "data.batch_size=24")
    parts = trained("b", *PLAIN, "data.batch_size=12", "trainer.accumulate=2")
    assert weights(whole, "global_step") == weights(parts, "global_step") == 9
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(parts)[name], value, rtol=1e-4, atol=1e-5)


def test_half_precision_learns_like_single_precision(trained, losses):
    single, half = trained("a"), trained("b", "trainer.precision=bf16-mixed")
    assert losses(half) != losses(single)
    np.testing.assert_allclose(losses(half), losses(single), rtol=0.1, atol=0.05)


def test_a_half_precision_run_resumes_with_the_same_weights(trained, new_run, squares_config, weights):
    cfg = squares_config("trainer.precision=bf16-mixed")
    whole, cut = trained("a", "trainer.precision=bf16-mixed"), new_run("b")
    with pytest.raises(RuntimeError, match="stopped"):
        train_run(cfg, cut, [], watchers=[StopAt(6)])
    train_run(read_config(cut), cut, [])
    assert not [name for name, value in weights(whole).items() if not torch.equal(value, weights(cut)[name])]
    assert load(cut, "last").model.conv1.weight.dtype == torch.float32


@pytest.mark.slow
def test_a_compiled_model_trains_alike_under_the_same_names(trained, weights, losses):
    eager, compiled = trained("a", "model.dropout=0"), trained("b", "model.dropout=0", "model.compile=true")
    assert list(weights(compiled)) == list(weights(eager))
    np.testing.assert_allclose(losses(compiled), losses(eager), rtol=1e-3, atol=1e-4)
    experiment = load(compiled, "last")
    found = experiment.predict(experiment.data.split("val"), progress=False)
    assert sum(len(predictions) for _, predictions in found) == 36


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("trainer.accumulate=0", "trainer.accumulate is 0; expected 1 or more"),
        ("trainer.max_epochs=0", "trainer.max_epochs is 0; expected 1 or more"),
        ("trainer.max_epochs=-1", "trainer.max_epochs is -1; expected 1 or more"),
        ("trainer.val_every=0", "trainer.val_every is 0; expected 1 or more"),
        ("trainer.accelerator=true", "trainer.accelerator is True; expected auto cpu gpu cuda mps tpu"),
        ("trainer.devices=0", "trainer.devices is 0; expected 1 or more"),
        ("trainer.num_nodes=0", "trainer.num_nodes is 0; expected 1 or more"),
        ("trainer.gradient_clip_val=-1", "trainer.gradient_clip_val is -1.0; expected 0 or more"),
        ("trainer.patience=-1", "trainer.patience is -1; expected 0 or more"),
        ("trainer.threads=-1", "trainer.threads is -1; expected 0 or more"),
        ("trainer.precision=bf8", "trainer.precision is bf8; expected 32-true bf16-mixed"),
        ("optim.backbone_lr_factor=0", "optim.backbone_lr_factor is 0.0; expected more than 0"),
    ],
)
def test_nonsense_is_one_line(trained, override, said):
    with pytest.raises(InputError, match=said.replace(".", r"\.")):
        trained("a", override)


def test_epochs_without_a_validation_change_no_weight_and_are_saved(trained, weights):
    each, second = (
        trained("a", "trainer.max_epochs=2"),
        trained("b", "trainer.max_epochs=2", "trainer.val_every=3"),
    )
    validated = [[r["epoch"] for r in run.read_metrics() if "val/loss" in r] for run in (each, second)]
    assert validated == [[0, 1], [1]]
    for name, value in weights(each).items():
        assert torch.equal(weights(second)[name], value)
    assert weights(second, "epoch") == 1


@pytest.mark.slow
def test_a_compiled_model_is_watched_and_its_first_infinity_is_named(trained, monkeypatch):
    watched = trained("a", "model.compile=true", "callbacks=gradient_flow", "callbacks.gradient_flow.every=3")
    rows = (watched.path / "gradient_flow.jsonl").read_text().splitlines()
    assert len(rows) == 4
    assert '"conv1"' in rows[0]
    with pytest.raises(NonFiniteError, match=r"the (output|gradient) of "):
        trained("b", "model.compile=true", "optim.optimizer.lr=1e20", "model.norm=false")


@pytest.mark.slow
def test_compiled_models_take_batches_of_several_sizes(trained):
    for size in (8, 12):
        trained(f"batch-{size}", "model.compile=true", f"data.batch_size={size}", "data.eval_batch_size=10")
