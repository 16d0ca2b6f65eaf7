"""The page of a sweep: what it shows of a study, without trainings."""

import re
from dataclasses import replace
from types import SimpleNamespace

import optuna
import pytest

from deeprob.config import compose
from deeprob.studies.sweep.report import importance, rich_table, scatter_keys, write_report
from deeprob.studies.sweep.study import Worker
from deeprob.studies.sweep.trial import plan


@pytest.fixture
def planned(tmp_path):
    return plan(compose("sweep", ["sweep=quickstart", "sweep.trials=14", f"paths.runs_dir={tmp_path}"]))


@pytest.fixture
def study(planned):
    """Twelve complete trials whose value follows the width alone, one pruned, one failed."""
    study = planned.study()
    with Worker(planned.folder) as worker:
        for number in range(14):
            trial = study.claim(worker)
            if number == 12:
                study.tell(trial, None, "pruned", epoch=2)
            elif number == 13:
                study.tell(trial, None, "fail", error="<b>out of memory</b>")
            else:
                width = int(trial.params["model.width"])
                study.tell(trial, width / 100 + number / 1e4, "complete", folds=[0.1, 0.3])
    return study


def test_the_key_that_decides_is_the_most_important():
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    alone = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    alone.optimize(lambda t: t.suggest_float("a", 0, 1) ** 2 + 0.01 * t.suggest_float("b", 0, 1), n_trials=80)
    shares = importance(SimpleNamespace(optuna=alone), alone.trials)
    assert list(shares) == ["a", "b"]
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["a"] > 0.8


def test_with_few_trials_nothing_is_said_about_importance(planned, study):
    assert importance(study, study.ended()[:3]) == {}


def test_the_page_shows_every_trial_and_draws_every_key(planned, study):
    page = write_report(planned, study).read_text(encoding="utf-8")
    assert page.count('<th scope="row" class="num"') == 14
    assert page.count('<svg role="img"') == 3 + len(planned.space)
    assert f"{study.best.value:.4f}" in page
    assert "&lt;b&gt;out of memory&lt;/b&gt;" in page
    assert "12 complete, 1 pruned, 1 fail" in page
    assert f"deeprob train experiment={planned.folder / 'quickstart_best.yaml'}" in page
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert {p.name for p in (planned.folder / "plots").iterdir()} >= {"history.svg", "importance.svg"}


def test_only_a_sweep_that_has_a_file_says_how_to_do_it_again(planned, tmp_path):
    own = plan(compose("sweep", ["sweep=quickstart", "sweep.name=mine", f"paths.runs_dir={tmp_path}"]))
    pages = [write_report(p, p.study()).read_text() for p in (planned, own)]
    assert "deeprob sweep sweep=quickstart" in pages[0]
    assert "deeprob sweep sweep=" not in pages[1]


def test_two_keys_of_magnitudes_are_drawn_against_each_other(planned, study):
    write_report(planned, study)
    assert scatter_keys(planned) == ("optim.optimizer.lr", "optim.optimizer.weight_decay")
    drawing = (planned.folder / "plots" / "scatter.svg").read_text(encoding="utf-8")
    best = study.best.params
    said = re.search(r"over optim\.optimizer\.lr and .*; the best, (\S+), at (\S+) and (\S+)\.", drawing)
    expected = (study.best.value, best["optim.optimizer.lr"], best["optim.optimizer.weight_decay"])
    assert [float(text) for text in said.groups()] == pytest.approx(expected, rel=6e-3)
    dots = re.search(r'<g id="[^"]*PathCollection_1">(.*?)</g>\s*</g>', drawing, re.S)[1]
    assert len(re.findall("<use ", dots)) == 12
    colours = re.findall(r"<use [^>]*fill: (#\w+)", dots)
    assert len(set(colours)) == 2  # one for each width, which the values follow


def test_without_two_such_keys_there_is_no_such_drawing(planned):
    kept = {key: of for key, of in planned.space.items() if key != "optim.optimizer.weight_decay"}
    assert scatter_keys(replace(planned, space=kept)) is None


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1200])
def test_a_browser_draws_the_page_without_a_word(planned, study, browse, width):
    look = browse(write_report(planned, study), width)
    assert look.console == []
    assert look.overflow <= 0


def test_a_study_without_a_success_still_has_a_page(planned):
    page = write_report(planned, planned.study()).read_text(encoding="utf-8")
    assert "No trial has been completed" in page


def test_the_terminal_shows_the_best_first(planned, study):
    table = rich_table(study, planned)
    assert next(iter(table.columns[0].cells)) == str(study.best.number)
