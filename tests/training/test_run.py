"""Whole trainings, small ones: the curve, the folder, resuming, failing."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from deeprob.errors import InputError
from deeprob.runs import Run
from deeprob.training.experiment import load, read_config
from deeprob.training.finite import NonFiniteError
from deeprob.training.run import train_run
from deeprob.training.train import count_flops


def new_run(tmp_path, name):
    path = tmp_path / "runs" / "squares" / name
    path.mkdir(parents=True)
    return Run(path)


def weights(run):
    return torch.load(run.checkpoint("last"), weights_only=True)["state_dict"]


def losses(run):
    return [row["train/loss_step"] for row in run.read_metrics() if "train/loss_step" in row]


def test_a_training_learns_and_leaves_everything_in_its_folder(tmp_path, squares_config):
    run = new_run(tmp_path, "a")
    torch.set_num_threads(2)
    train_run(squares_config("trainer.max_epochs=8", "trainer.threads=1"), run, ["name=squares"])
    experiment = load(run, "last")
    val = experiment.data.split("val")
    found = np.concatenate([p for _, p in experiment.predict(val, progress=False)])
    assert (found.argmax(1) == val.labels.numpy()).mean() > 0.9
    assert run.overrides.read_text() == "name=squares\n"
    environment = json.loads(run.environment.read_text())
    assert environment["packages"]["torch"].startswith("2.")
    assert environment["threads"] == 1
    facts = json.loads(run.training.read_text())
    assert facts["epochs"] == 8
    assert facts["steps"] == 8 * (72 // 16)
    assert facts["parameters"] == sum(p.numel() for p in experiment.model.parameters())
    assert facts["train_seconds"] > 0
    rows = run.read_metrics()
    assert sum("val/top1_accuracy" in row for row in rows) == 8
    assert len(losses(run)) == facts["steps"]


def test_twenty_steps_follow_the_golden_curve(tmp_path, squares_config):
    """The losses of twenty steps, as recorded once; a change of any gradient or batch shows here."""
    run = new_run(tmp_path, "golden")
    train_run(squares_config("trainer.max_epochs=5"), run, [])
    golden = json.loads(Path(__file__).with_name("golden.json").read_text())
    np.testing.assert_allclose(losses(run), golden["losses"], rtol=2e-4, atol=2e-5)


def test_our_layers_and_torchs_train_alike(tmp_path, squares_config):
    curves = []
    for backend in ("deeprob", "torch"):
        run = new_run(tmp_path, backend)
        train_run(
            squares_config(f"model.backend={backend}", "model.dropout=0", "trainer.max_epochs=2"), run, []
        )
        curves.append(losses(run))
    np.testing.assert_allclose(curves[0], curves[1], rtol=5e-3, atol=5e-4)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path, squares_config):
    runs = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        runs.append(new_run(tmp_path, name))
        train_run(squares_config(f"seed={seed}", "trainer.max_epochs=1"), runs[-1], [])
    a, b, c = map(weights, runs)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["model.fc.weight"], c["model.fc.weight"])


KILLED = """
import os, signal, sys
from omegaconf import OmegaConf
from lightning.pytorch import Callback
from deeprob.runs import Run
from deeprob.training import run as training, train as loop
from pathlib import Path

class Kill(Callback):
    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == int(sys.argv[3]):
            os.kill(os.getpid(), getattr(signal, sys.argv[4]))

make = loop.make_trainer
def make_deadly(*arguments):
    trainer = make(*arguments)
    trainer.callbacks.append(Kill())
    return trainer
loop.make_trainer = make_deadly
training.train_run(OmegaConf.load(sys.argv[1]), Run(Path(sys.argv[2])), [])
"""


@pytest.mark.parametrize("end", ["SIGKILL", pytest.param("SIGINT", marks=pytest.mark.slow)])
def test_a_run_cut_off_in_mid_epoch_ends_with_the_weights_of_an_uninterrupted_one(
    tmp_path, squares_config, end
):
    cfg = squares_config("trainer.max_epochs=4")
    whole, cut = new_run(tmp_path, "whole"), new_run(tmp_path, "cut")
    train_run(cfg, whole, [])
    OmegaConf.save(cfg, tmp_path / "cfg.yaml", resolve=True)
    command = [sys.executable, "-c", KILLED, str(tmp_path / "cfg.yaml"), str(cut.path), "10", end]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0, done.stderr
    assert cut.checkpoint("last").is_file()
    train_run(read_config(cut), cut, [])
    assert losses(cut) == losses(whole)
    a, b = weights(whole), weights(cut)
    assert not [name for name in a if not torch.equal(a[name], b[name])]
    assert [r for r in whole.read_metrics() if "val/loss" in r] == [
        r for r in cut.read_metrics() if "val/loss" in r
    ]


def test_a_run_cut_off_before_its_first_checkpoint_begins_its_record_anew(tmp_path, squares_config):
    run = new_run(tmp_path, "a")
    run.metrics.write_text('{"step": 0, "train/loss_step": 9.0}\n{"step": 1, "train/loss_step": 9.0}\n')
    train_run(squares_config("trainer.max_epochs=1"), run, [])
    rows = [row for row in run.read_metrics() if "train/loss_step" in row]
    assert [row["step"] for row in rows] == [0, 1, 2, 3]
    assert all(row["train/loss_step"] < 9.0 for row in rows)


def test_a_run_that_is_finished_stays_as_it_is(tmp_path, squares_config):
    run = new_run(tmp_path, "a")
    train_run(squares_config("trainer.max_epochs=1"), run, [])
    before = weights(run), run.metrics.read_text()
    train_run(read_config(run), run, [])
    assert all(torch.equal(before[0][name], tensor) for name, tensor in weights(run).items())
    assert run.metrics.read_text() == before[1]


def test_training_stops_early_when_the_metric_stands_still(tmp_path, squares_config):
    run = new_run(tmp_path, "a")
    train_run(
        squares_config("trainer.max_epochs=30", "trainer.patience=1", "optim.optimizer.lr=0.0"), run, []
    )
    facts = json.loads(run.training.read_text())
    assert facts["epochs"] < 5
    assert facts["stopped_early"]


def test_a_loss_that_is_not_finite_names_step_and_layer_and_keeps_the_last_checkpoint(
    tmp_path, squares_config, monkeypatch
):
    from deeprob.training import experiment

    make = experiment.make_model

    def make_broken(cfg, data):
        model = make(cfg, data)

        def overflow(module, inputs, output):
            return output * math.inf if module.training and overflow.calls > 6 else count(output)

        def count(output):
            overflow.calls += 1
            return output

        overflow.calls = 0
        model.layer2[0].conv1.register_forward_hook(overflow)
        return model

    monkeypatch.setattr(experiment, "make_model", make_broken)
    run = new_run(tmp_path, "a")
    with pytest.raises(NonFiniteError, match=r"step \d+: the output of layer layer2\.0\.conv1 \(Conv2d\)"):
        train_run(squares_config("trainer.max_epochs=6"), run, [])
    assert all(torch.isfinite(t).all() for t in weights(run).values() if t.is_floating_point())


def test_a_learning_rate_far_too_high_stops_the_run(tmp_path, squares_config):
    run = new_run(tmp_path, "a")
    cfg = squares_config("optim.optimizer.lr=1e20", "model.norm=false", "trainer.max_epochs=6")
    with pytest.raises(NonFiniteError, match=r"^step \d+: the (output|gradient|loss)"):
        train_run(cfg, run, [])


@pytest.mark.parametrize("optim", ["adamw", "adamw_one_cycle", "sgd_cosine"])
@pytest.mark.parametrize("objective", ["cross_entropy", "hinge"])
def test_every_optimiser_lowers_every_objective(tmp_path, squares_config, optim, objective):
    run = new_run(tmp_path, "a")
    train_run(squares_config(f"optim={optim}", f"objective={objective}", "optim.optimizer.lr=0.01"), run, [])
    curve = losses(run)
    assert np.mean(curve[-4:]) < np.mean(curve[:4])


@pytest.mark.parametrize(
    ("logger", "file"),
    [("csv", "csv/version_0/metrics.csv"), ("tensorboard", "tensorboard"), ("wandb", "wandb")],
)
def test_another_logger_writes_beside_our_own(tmp_path, squares_config, logger, file, monkeypatch):
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "wandb-cache"))
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "wandb-data"))
    run = new_run(tmp_path, "a")
    train_run(squares_config(f"logger={logger}", "trainer.max_epochs=1"), run, [])
    assert (run.path / file).exists()
    assert losses(run)


def test_wandb_is_offline_unless_asked(squares_config):
    assert squares_config("logger=wandb").logger.offline is True


def test_a_checkpoint_that_is_missing_lists_those_there_are(tmp_path, squares_config):
    run = new_run(tmp_path, "a")
    train_run(squares_config("trainer.max_epochs=1"), run, [])
    run.checkpoint("best").unlink()
    with pytest.raises(InputError, match="no checkpoint 'best'; expected one of: last"):
        load(run, "best")


def test_a_broken_checkpoint_is_named(tmp_path, squares_config):
    run = new_run(tmp_path, "a")
    train_run(squares_config("trainer.max_epochs=1"), run, [])
    whole = run.checkpoint("last").read_bytes()
    run.checkpoint("last").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"last\.ckpt: checkpoint cannot be read"):
        load(run, "last")


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path, squares_config):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "evil"),))

    run = new_run(tmp_path, "a")
    train_run(squares_config("trainer.max_epochs=1"), run, [])
    torch.save({"state_dict": Evil()}, run.checkpoint("last"))
    with pytest.raises(InputError, match="cannot be read"):
        load(run, "last")
    assert not (tmp_path / "evil").exists()


def test_a_config_that_was_broken_by_hand_is_named(tmp_path):
    run = new_run(tmp_path, "a")
    run.config.write_text("data: [unclosed")
    with pytest.raises(InputError, match=r"config\.yaml: not a readable config"):
        read_config(run)


def test_flops_count_a_multiply_add_as_two():
    model = torch.nn.Linear(10, 7)
    assert count_flops(model, torch.zeros(1, 10)) == 2 * 10 * 7


def test_flops_of_a_large_linear_layer_are_counted_whatever_engine_runs_it():
    from deeprob.layers import Linear

    assert count_flops(Linear(1024, 512), torch.zeros(16, 1024)) == 2 * 16 * 1024 * 512


def test_the_log_file_holds_what_the_terminal_does_not_show(tmp_path, squares_config, capsys):
    run = new_run(tmp_path, "a")
    train_run(squares_config("trainer.max_epochs=1"), run, [])
    assert "Trainer.fit" in run.log.read_text() or "GPU available" in run.log.read_text()
    assert "GPU available" not in capsys.readouterr().err


def test_the_second_training_in_one_folder_says_so_and_stops(tmp_path, squares_config):
    run = new_run(tmp_path, "a")
    with run.locked(), pytest.raises(InputError, match="another process is training in this folder"):
        train_run(squares_config(), run, [])
