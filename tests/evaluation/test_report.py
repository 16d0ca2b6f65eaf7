"""The report of a run: one file, everything in it, nothing from the network, readable by machine and eye."""

import html.parser
import itertools
import json
import re
import shutil

import numpy as np
import pytest

from deeprob.errors import InputError
from deeprob.evaluation.report import write_report
from deeprob.evaluation.robustness import path_of

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(html.parser.HTMLParser):
    """Every start tag with its attributes, the text, and the tags that were left open or closed twice."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.unbalanced: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def page(tmp_path_factory, write_run, make_predictions) -> Page:
    """The report of a run like `finished_run`, written once for all that only read it."""
    run = write_run(tmp_path_factory.mktemp("runs") / "demo" / "20260101-120000", make_predictions())
    return Page(write_report(run).read_text(encoding="utf-8"))


def test_every_tag_is_closed_where_it_was_opened(page):
    assert page.unbalanced == []
    assert page.open == []


def test_nothing_is_fetched_from_anywhere(page):
    addresses = [
        a.get(key) for _, a in page.tags for key in ("src", "href", "xlink:href", "srcset") if a.get(key)
    ]
    assert addresses
    assert all(address.startswith(("#", "data:")) for address in addresses)
    assert "@import" not in page.text
    assert "url(http" not in page.text


def test_every_link_inside_the_page_leads_somewhere(page):
    ids = [a["id"] for _, a in page.tags if a.get("id")]
    assert len(ids) == len(set(ids))
    linked = {a["href"][1:] for a in page.all("a") if a["href"].startswith("#")}
    assert linked <= set(ids)


def test_every_metric_links_to_its_definition(page, finished_run):
    linked = {a["href"] for a in page.all("a")}
    assert {f"#def-{name}" for name in finished_run.read_results()["metrics"]} <= linked


def test_pictures_and_figures_are_described(page):
    assert all(a.get("alt") for a in page.all("img"))
    assert all(a.get("role") == "img" and a.get("aria-label") for a in page.all("svg"))


def test_tables_have_scoped_headings_and_a_name(page):
    assert all(a.get("scope") in ("col", "row") for a in page.all("th"))
    assert all(a.get("aria-labelledby") for a in page.all("table"))


def test_headings_do_not_skip_a_level(page):
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_names_from_the_data_are_escaped(finished_run):
    text = write_report(finished_run).read_text(encoding="utf-8")
    assert "<b>odd" not in text
    assert "&lt;b&gt;odd &amp; name&lt;/b&gt;" in text


def test_wrong_samples_stand_before_right_ones(page):
    alts = [a["alt"] for a in page.all("img")]
    wrong = [", taken for" in alt for alt in alts]
    assert wrong == sorted(wrong, reverse=True)
    assert any(wrong)
    assert not all(wrong)


def test_the_numbers_are_those_of_results_json(page, finished_run):
    entry = finished_run.read_results()["metrics"]["top1_accuracy"]
    assert f"{entry['value']:.4f}" in page.text
    assert f"{entry['ci95'][0]:.4f} to {entry['ci95'][1]:.4f}" in page.text
    assert f"right on {100 * entry['value']:.1f} % of 240 samples" in page.text


def test_learning_curves_show_training_and_validation(page):
    labels = [a["aria-label"] for a in page.all("svg")]
    assert any(label.startswith("loss over epochs") and "val ends at 0.45" in label for label in labels)


def test_cost_data_and_commands_are_told(page):
    for text in ("12,345", "2.5 M", "31.5 s", "Example CPU", "deeprob train experiment=demo 'name='", "900"):
        assert text in page.text


def test_a_run_without_curves_environment_or_overrides_still_has_a_report(finished_run):
    for path in (finished_run.metrics, finished_run.environment, finished_run.overrides):
        path.unlink()
    page = Page(write_report(finished_run).read_text(encoding="utf-8"))
    assert page.unbalanced == []
    assert "Learning curves" not in page.text


def test_a_perfect_model_says_so(tmp_path, write_run, make_predictions):
    run = write_run(tmp_path / "perfect", make_predictions(skill=50.0))
    assert "Every answer on this split is right." in write_report(run).read_text(encoding="utf-8")


def test_figures_stand_alone_beside_the_report(finished_run):
    write_report(finished_run)
    for name in ("loss", "reliability", "baselines"):
        drawing = (finished_run.plots / f"{name}.svg").read_text(encoding="utf-8")
        assert drawing.startswith("<svg ")
        assert "var(--" not in drawing


def test_the_same_run_gives_the_same_report(finished_run):
    first = write_report(finished_run).read_bytes()
    assert write_report(finished_run).read_bytes() == first


def test_another_split_can_be_reported(finished_run):
    results = {**finished_run.read_results(), "split": "val"}
    finished_run.results("val").write_text(json.dumps(results))
    shutil.copy((finished_run.path / "predictions_test.npz"), (finished_run.path / "predictions_val.npz"))
    assert "On the validation split" in write_report(finished_run, "val").read_text(encoding="utf-8")


def test_a_run_that_was_not_evaluated_is_told_what_to_do(finished_run):
    finished_run.results().unlink()
    with pytest.raises(InputError, match="the run has no results yet; run: deeprob evaluate run="):
        write_report(finished_run)


def test_missing_predictions_are_one_line(finished_run):
    (finished_run.path / "predictions_test.npz").unlink()
    with pytest.raises(InputError, match="no predictions of this split"):
        write_report(finished_run)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"schema": 2}, "schema 2; expected schema 1"), ({"confusion": ...}, "without confusion")],
)
def test_results_of_another_form_are_refused(finished_run, change, message):
    results = {**finished_run.read_results(), **change}
    finished_run.results().write_text(json.dumps({k: v for k, v in results.items() if v is not ...}))
    with pytest.raises(InputError, match=message):
        write_report(finished_run)


def test_robustness_is_told_where_it_was_measured(finished_run):
    entry = {"value": 0.5, "ci95": [0.4, 0.6], "n": 240}
    found = {
        "metric": "top1_accuracy",
        "clean": {**entry, "value": 0.9},
        "corruptions": {"jpeg": [entry] * 5, "darker": [{**entry, "value": 0.125}] * 5},
        "mean": {**entry, "value": 0.3125},
    }
    path_of(finished_run, "test").write_text(json.dumps(found))
    page = Page(write_report(finished_run).read_text(encoding="utf-8"))
    assert page.unbalanced == []
    assert "0.312" in page.text
    assert any(
        "At the highest severity: jpeg 0.500; darker 0.125" in a["aria-label"] for a in page.all("svg")
    )
    assert (finished_run.plots / "robustness.svg").is_file()


def test_broken_robustness_is_one_line(finished_run):
    path_of(finished_run, "test").write_text("{")
    with pytest.raises(InputError, match=r"robustness_test\.json: broken JSON"):
        write_report(finished_run)


def test_many_classes_are_listed_instead_of_drawn(tmp_path, finished_run):
    results = dict(finished_run.read_results())
    results["confusion"] = np.eye(30, dtype=int).tolist()
    finished_run.results().write_text(json.dumps(results))
    assert "Confusion matrix" not in write_report(finished_run).read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1200])
def test_a_browser_draws_it_without_a_word(finished_run, browse, width):
    look = browse(
        write_report(finished_run),
        width,
        "const button = "
        "document.querySelectorAll('#classes-caption')[0].closest('figure').querySelectorAll('th "
        "button')[1];button.click();const cells = [...button.closest('table').tBodies[0].rows].map((r) => "
        "Number(r.cells[1].dataset.sort));document.body.dataset.sorted = cells.every((c, i) => i === 0 || "
        "cells[i - 1] >= c);",
    )
    assert look.console == []
    assert 'data-sorted="true"' in look.dom
    assert 'aria-sort="descending"' in look.dom
    assert look.overflow <= 0
