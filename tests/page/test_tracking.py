"""Results for W&B: only for the run that training opened, and everything the report shows of it."""

import sys
from types import SimpleNamespace

import pytest

from deeprob.page.tracking import track


class Recorder:
    """Stands in for wandb: keeps what it is given."""

    def __init__(self, run_id: str) -> None:
        self.logged: dict[str, object] = {}
        self.run = SimpleNamespace(id=run_id, summary={}, log=self.logged.update)

    def Table(self, columns, data):
        return columns, data

    def Html(self, text, inject):
        return text


@pytest.fixture
def wandb(monkeypatch, finished_run):
    recorder = Recorder(f"demo-{finished_run.run_id}")
    monkeypatch.setitem(sys.modules, "wandb", recorder)
    return recorder


def test_metrics_tables_and_figures_are_kept(wandb, finished_run):
    results = finished_run.read_results()
    assert track(finished_run, results, {"roc": '<svg class="x"></svg>', "empty": ""})
    assert wandb.run.summary["test/top1_accuracy"] == results["metrics"]["top1_accuracy"]["value"]
    assert wandb.run.summary["test/top1_accuracy_low"] == results["metrics"]["top1_accuracy"]["ci95"][0]
    columns, rows = wandb.logged["test/per_class"]
    assert columns[:3] == ["class", "n", "precision"]
    assert len(rows) == 4
    assert all(len(row) == len(columns) for row in rows)
    assert len(wandb.logged["test/slices"][1]) == len(results["slices"]["class"])
    assert "figures/roc" in wandb.logged
    assert "figures/empty" not in wandb.logged


def test_another_run_that_is_open_gets_nothing(wandb, finished_run):
    wandb.run.id = "another-run"
    assert not track(finished_run, finished_run.read_results(), {})
    assert wandb.logged == {}


def test_without_wandb_nothing_happens(monkeypatch, finished_run):
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    assert not track(finished_run, finished_run.read_results(), {})
    assert "wandb" not in sys.modules


@pytest.mark.slow
def test_a_training_with_wandb_offline_takes_them_along(squares_config, monkeypatch, tmp_path):
    from pathlib import Path

    from deeprob.cli.train import run_one
    from deeprob.runs import Run

    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    run = Run.create(Path("runs"), "squares", "one")
    cfg = squares_config("logger=wandb", "trainer.max_epochs=1")
    try:
        assert run_one(cfg, run, []) == 0
        import wandb

        assert (
            wandb.run.summary["val/top1_accuracy"] == run.read_results()["metrics"]["top1_accuracy"]["value"]
        )
        media = run.path.glob("wandb/offline-run-*/files/media/**/*")
        assert {path.suffix for path in media if path.is_file()} >= {".html", ".json"}
    finally:
        import wandb

        wandb.finish()
