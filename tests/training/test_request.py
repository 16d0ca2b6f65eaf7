"""Which folder a training takes: resumed is only what is the same request."""

import json
import os

import pytest

from deeprob.cli import main
from deeprob.errors import InputError
from deeprob.runs import Run
from deeprob.training.overfit import overfit_config
from deeprob.training.request import differences, run_of
from deeprob.training.run import write_request


@pytest.fixture
def take(squares_config):
    """Take a folder as a training does: overrides -> its name; the request is written in it."""

    def made(*overrides, several=False):
        cfg = squares_config(*overrides)
        run = run_of(cfg, list(overrides), several)
        write_request(cfg, run, list(overrides))
        return run.path.name

    return made


def test_trainings_of_one_allocation_get_a_folder_each(take, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "4242")
    assert [take(f"seed={seed}") for seed in (0, 1, 2)] == ["4242", "4242-2", "4242-3"]


def test_the_same_request_finds_its_own_folder_among_others(take, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "4242")
    first = [take(f"seed={seed}") for seed in (0, 1, 2)]
    assert [take(f"seed={seed}") for seed in (2, 1, 0)] == first[::-1]


def test_where_files_lie_and_who_logs_is_no_other_request(take, tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPROB_RUN_ID", "mine")
    here = [f"paths.data_dir={tmp_path}/node1", "data.root=${paths.data_dir}/squares"]
    there = [f"paths.data_dir={tmp_path}/node2", "data.root=${paths.data_dir}/squares"]
    assert take(*here) == "mine"
    assert take(*there, "logger=csv", "paths.cache_dir=elsewhere") == "mine"


def test_an_id_given_by_hand_is_not_shared(take, tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPROB_RUN_ID", "mine")
    take("seed=0", "logger=csv")
    before = (tmp_path / "runs/squares/mine/config.yaml").read_text()
    with pytest.raises(
        InputError, match=r"mine is the folder of another training \(model.width, seed differ\)"
    ):
        take("seed=1", "model.width=12")
    assert os.listdir(tmp_path / "runs/squares") == ["mine"]
    assert (tmp_path / "runs/squares/mine/config.yaml").read_text() == before


def test_an_id_given_by_hand_leads_nowhere_else(squares_config, tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPROB_RUN_ID", "../../elsewhere")
    with pytest.raises(InputError, match=r"DEEPROB_RUN_ID='\.\./\.\./elsewhere' names a folder elsewhere"):
        run_of(squares_config(), [])
    assert not (tmp_path.parent / "elsewhere").exists()


def test_the_trainings_of_a_multirun_share_an_id_given_by_hand(take, monkeypatch):
    monkeypatch.setenv("DEEPROB_RUN_ID", "mine")
    first = [take(f"seed={seed}", several=True) for seed in (0, 1)]
    assert first == ["mine", "mine-2"]
    assert [take(f"seed={seed}", several=True) for seed in (0, 1)] == first


def test_a_key_that_one_of_two_requests_lacks_is_a_difference(take, squares_config, tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPROB_RUN_ID", "mine")
    take()
    run = Run(tmp_path / "runs/squares/mine")
    assert differences(squares_config(), run) == []
    assert differences(squares_config("callbacks=gradient_flow"), run) != []


def test_a_requeued_command_goes_on_though_it_resolves_to_something_else(take, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("NODE_DIR", "/node1")
    command = ["data.root=${oc.env:NODE_DIR}/squares", "seed=3"]
    assert take(*command) == "7"
    monkeypatch.setenv("NODE_DIR", "/node2")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert take(*command) == "7"
    assert take(*command[:1], "seed=4") == "7-2"  # the job's next command is another training


def test_a_folder_without_a_request_is_taken(take, tmp_path, monkeypatch):
    """A study makes the folder, for what the process prints, before the training takes it."""
    monkeypatch.setenv("DEEPROB_RUN_ID", "mine")
    (tmp_path / "runs/squares/mine").mkdir(parents=True)
    (tmp_path / "runs/squares/mine/output.txt").write_text("")
    assert take("seed=0") == "mine"


def test_without_a_given_id_the_same_request_is_a_new_run(take):
    assert len({take("seed=0"), take("seed=0")}) == 2


def test_a_multirun_under_a_given_id_trains_every_seed(squares_overrides, tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPROB_RUN_ID", "42")
    overrides = [*squares_overrides, "trainer.max_epochs=1", "evaluation.baselines=[]", "-m", "seed=0,1"]
    assert main(["train", *overrides]) == 0
    results = {
        path.parent.name: json.loads(path.read_text())
        for path in tmp_path.glob("runs/squares/*/results.json")
    }
    assert {name: result["seed"] for name, result in results.items()} == {"42": 0, "42-2": 1}


def test_a_training_by_heart_finds_its_folder_again(squares_config, monkeypatch):
    monkeypatch.setenv("DEEPROB_RUN_ID", "mine")
    cfg = overfit_config(squares_config("trainer.overfit=4"))
    first = run_of(cfg, [])
    write_request(overfit_config(cfg), first, [])
    assert run_of(cfg, []) == first
