"""A run opened to be judged: on its own splits, and on other data of its classes."""

import json
import shutil

import pytest

from deeprob.cli import main
from deeprob.config import compose
from deeprob.errors import InputError
from deeprob.evaluation.evaluate import evaluate_run
from deeprob.evaluation.opened import open_run
from deeprob.evaluation.report import write_report
from deeprob.runs import Run
from deeprob.training.run import train_run


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("kept") / "runs" / "squares" / "one"


@pytest.fixture
def run(kept, squares_config, squares):
    """A run of one epoch, trained for the first test alone; its data lie where this test's do."""
    if not kept.is_dir():
        kept.mkdir(parents=True)
        overrides = (
            "trainer.max_epochs=1",
            "evaluation.bootstrap_samples=50",
            "evaluation.baselines=[majority]",
        )
        train_run(squares_config(*overrides), Run(kept), [])
    config = Run(kept).config
    before = json.loads(json.dumps(config.read_text()))
    root = next(line for line in before.splitlines() if line.strip().startswith("root:")).split(": ")[1]
    config.write_text(before.replace(root, str(squares)))
    return Run(kept)


@pytest.fixture
def elsewhere(squares, tmp_path):
    """Another data set of the same classes in another order; returns overrides that name it to a function."""
    root = tmp_path / "elsewhere"
    shutil.copytree(squares, root)
    (root / "obj.names").write_text("green\nred\nblue")
    for path in root.glob("*/*.txt"):
        class_id, _, box = path.read_text().partition(" ")
        path.write_text(f"{[1, 0, 2][int(class_id)]} {box}")

    def compose_data(*overrides):
        command = ["run=x", "data=darknet", f"data.root={root}", f"paths.cache_dir={tmp_path / 'cache'}"]
        return compose("evaluate", [*command, *overrides]).data

    return compose_data


def test_a_run_is_opened_as_its_config_says(run):
    opened = open_run(run)
    assert (opened.name, opened.checkpoint) == ("val", "best")
    assert len(opened.samples) == 36
    assert open_run(run, "train", "last").checkpoint == "last"


def test_a_run_finds_its_data_where_they_lie_now(run, squares, tmp_path, monkeypatch, capsys):
    before = evaluate_run(run, progress=False)["metrics"]
    config = run.config.read_text()
    run.config.write_text(
        config.replace(str(squares), "/gone/squares").replace("cache_dir: /", "cache_dir: /proc/")
    )
    moved = tmp_path / "another disk" / "squares"
    shutil.copytree(squares, moved)
    assert main(["evaluate", f"run={run.path}"]) == 2
    assert "/gone/squares: no such folder; set data.root" in capsys.readouterr().err
    here = ["evaluate", f"run={run.path}", f"data.root={moved}"]
    assert main(here) == 2
    assert (
        "no folder can be made here (No such file or directory); set paths.cache_dir"
        in capsys.readouterr().err
    )
    assert main([*here, f"paths.cache_dir={tmp_path / 'cache'}"]) == 0
    assert run.read_results()["metrics"] == before
    run.config.write_text(config)


def test_other_data_count_their_classes_as_the_run_does(run, elsewhere):
    own, other = open_run(run), open_run(run, other=elsewhere())
    assert other.name == "elsewhere-val"
    assert other.samples.labels.tolist() == own.samples.labels.tolist()
    assert other.samples.images.shape == own.samples.images.shape


def test_the_same_pictures_elsewhere_give_the_same_numbers_side_by_side(run, elsewhere):
    own = evaluate_run(run, progress=False)
    other = evaluate_run(run, progress=False, other=elsewhere())
    assert other["metrics"]["top1_accuracy"]["value"] == own["metrics"]["top1_accuracy"]["value"]
    assert run.results("elsewhere-val").is_file()
    assert run.read_results()["data"]["source"] == "squares"
    page = write_report(run).read_text(encoding="utf-8")
    assert "On other data" in page
    assert "elsewhere, real" in page


def test_a_class_that_the_model_does_not_know_is_named(run, elsewhere):
    with pytest.raises(
        InputError, match=r"does not know: violet; expected red, green, blue; .*data\.label_map"
    ):
        open_run(run, other=elsewhere("+data.label_map={blue: violet}"))


def test_classes_can_be_renamed_to_the_runs(run, elsewhere, tmp_path):
    names = tmp_path / "elsewhere" / "obj.names"
    names.write_text(names.read_text().replace("blue", "azure"))
    opened = open_run(run, other=elsewhere("+data.label_map={azure: blue}"))
    assert opened.samples.labels.tolist() == open_run(run).samples.labels.tolist()


def test_other_data_are_judged_where_the_runs_own_are_gone(run, elsewhere, squares):
    beside = evaluate_run(run, progress=False, other=elsewhere())
    assert set(beside["baselines"]) == {"majority"}
    shutil.move(squares, squares.with_name("moved"))
    alone = evaluate_run(run, progress=False, other=elsewhere())
    assert alone["metrics"] == beside["metrics"]
    assert alone["baselines"] == {}
    assert f"{squares}: no such folder" in alone["notes"][0]
    with pytest.raises(InputError, match="no such folder"):
        evaluate_run(run, progress=False)
    with pytest.raises(InputError, match="nowhere"):  # the data that were asked for come first
        evaluate_run(run, progress=False, other=elsewhere("data.root=/nowhere"))
    shutil.move(squares.with_name("moved"), squares)


def test_a_folder_that_cannot_be_written_is_told_before_the_work(run, capsys, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # as it is for all but root
    for command in (
        ["evaluate", f"run={run.path}"],
        ["report", f"run={run.path}"],
        ["train", f"run={run.path}"],
        ["export", f"run={run.path}"],
        ["predict", f"run={run.path}", "input=pictures"],
    ):
        assert main(command) == 2
        assert f"deeprob {command[0]}: {run.path}: nothing can be written here; " in capsys.readouterr().err


def test_settings_of_predictions_are_refused_with_a_run(run, capsys):
    for setting in ("unit=frame", "out=x", "against=random", "bootstrap_samples=10"):
        assert main(["evaluate", f"run={run.path}", setting]) == 2
        assert f"{setting.partition('=')[0]} with a run" in capsys.readouterr().err
