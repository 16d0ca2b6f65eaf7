"""ROC and precision-recall drawings of a run's predictions."""

import dataclasses
import re

import numpy as np

from deeprob.tasks.classification.curves import ranking_curves


def test_every_class_is_told_with_its_area(make_predictions):
    predictions = make_predictions()
    drawings = ranking_curves(predictions)
    assert set(drawings) == {"roc", "precision_recall"}
    for drawing, area in ((drawings["roc"], "AUC"), (drawings["precision_recall"], "AP")):
        label = re.search(r'aria-label="([^"]*)"', drawing)[1]
        assert area in label
        assert len(re.findall(r"\d\.\d{4}", label)) == len(predictions.classes)


def test_a_class_without_samples_has_no_curve(make_predictions):
    predictions = make_predictions()
    labels = np.where(predictions.labels == 1, 0, predictions.labels)
    drawing = ranking_curves(dataclasses.replace(predictions, labels=labels))["roc"]
    assert "cracker box" not in drawing
    assert "banana" in drawing


def test_one_class_alone_cannot_be_ranked(make_predictions):
    predictions = make_predictions()
    assert ranking_curves(dataclasses.replace(predictions, labels=np.zeros_like(predictions.labels))) == {}
