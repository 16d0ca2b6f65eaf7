"""Measures that stay affordable with thousands of classes, and a page that says how."""

import json
import re

import pytest
from markupsafe import escape

from deeprob.evaluation.report import write_report
from deeprob.metrics.entries import measured
from deeprob.tasks.classification import measure as measuring
from deeprob.tasks.classification import page
from deeprob.tasks.classification.measure import CLOSED_FORM, measure


@pytest.fixture
def few_allowed(monkeypatch):
    """As with thousands of classes, on four."""
    monkeypatch.setattr(measuring, "MOST_RANKED", 1)
    monkeypatch.setattr(measuring, "MATRIX_CLASSES", 3)
    monkeypatch.setattr(page, "MOST_ROWS", 3)


def test_curves_of_many_classes_get_intervals_in_closed_form(make_predictions, few_allowed):
    predictions = make_predictions()
    found = measure(predictions, samples=50, seed=0)
    assert found.notes == (CLOSED_FORM,)
    for entry in found.per_class.values():
        low, high = entry["roc_auc"]["ci95"]
        assert low < entry["roc_auc"]["value"] < high


def test_of_many_classes_the_errors_stand_for_the_matrix(make_predictions, few_allowed):
    predictions = make_predictions()
    more = measure(predictions, samples=20, seed=0).more
    assert "confusion" not in more
    wrong = predictions.labels != predictions.predicted
    assert sum(pair["n"] for pair in more["confusions"]) == wrong.sum()
    first = more["confusions"][0]
    pairs = zip(predictions.labels[wrong], predictions.predicted[wrong], strict=True)
    named = [(predictions.classes[i], predictions.classes[j]) for i, j in pairs]
    assert first["n"] == max(map(named.count, named)) == named.count((first["label"], first["predicted"]))


def test_a_page_of_many_classes_lists_the_worst_and_says_so(finished_run, make_predictions, few_allowed):
    found = measured(measure(make_predictions(), samples=50, seed=0), samples=50, seed=0)
    results = {k: v for k, v in finished_run.read_results().items() if k != "confusion"}
    finished_run.results().write_text(json.dumps({**results, **found}))
    text = write_report(finished_run).read_text(encoding="utf-8")
    worst = sorted(found["per_class"], key=lambda name: found["per_class"][name]["f1"]["value"])
    table = text[: text.index('id="classes-caption"')].rpartition("<tbody>")[2]
    assert re.findall(r'<th scope="row" data-sort="([^"]*)"', table) == [escape(name) for name in worst[:3]]
    assert "The 3 of 4 classes with the lowest F1; all are in results.json." in text
    assert CLOSED_FORM in text
