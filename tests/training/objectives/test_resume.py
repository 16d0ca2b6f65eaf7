"""Trainings with a teacher, a projector or unlabelled samples go on as if they had not been cut off."""

import pytest
import torch
from lightning.pytorch import Callback

from deeprob.runs import Run
from deeprob.training.run import train_run

CHOSEN = {
    "fixmatch": ["data.labelled=0.2", "objective.threshold=0.4", "objective.align=true"],
    "mean_teacher": ["data.labelled=0.2", "objective.ramp=6", "trainer.ema=0.9"],
    "simclr": ["data/view=representation", "data.view.size=16"],
}


class Cut(Callback):
    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == 6:
            raise KeyboardInterrupt


@pytest.mark.parametrize("objective", CHOSEN)
def test_a_run_cut_off_ends_with_the_weights_of_an_uninterrupted_one(tmp_path, squares_config, objective):
    cfg = squares_config(f"objective={objective}", *CHOSEN[objective], "optim=adamw", "model.width=4")
    runs = [Run(tmp_path / "runs" / "squares" / name) for name in ("whole", "cut")]
    for run in runs:
        run.path.mkdir(parents=True)
    train_run(cfg, runs[0], [])
    with pytest.raises(KeyboardInterrupt):
        train_run(cfg, runs[1], [], [Cut()])
    train_run(cfg, runs[1], [])
    whole, cut = (torch.load(run.checkpoint("last"), weights_only=True)["state_dict"] for run in runs)
    assert any(name.startswith("objective.") for name in whole)
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_unlabelled_samples_of_another_data_set(tmp_path, squares, squares_config, capsys):
    other = f'data.unlabelled=["data=darknet","data.root={squares}"]'
    run = Run(tmp_path / "runs" / "squares" / "two")
    run.path.mkdir(parents=True)
    cfg = squares_config("objective=fixmatch", other, "objective.threshold=0", "trainer.max_epochs=1")
    train_run(cfg, run, [])
    assert "pseudo-labels  share 1.000  precision 0." in capsys.readouterr().out
    (row,) = (row for row in run.read_metrics() if "train/pseudo_share" in row)
    assert row["train/pseudo_share"] == 1
