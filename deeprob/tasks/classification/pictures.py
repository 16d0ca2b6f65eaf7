"""Pictures of classified samples and of weights, for a page."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deeprob.page.pictures import data_uri
from deeprob.tasks.classification.learned import template_names
from deeprob.tasks.classification.predictions import Predictions

LINE = 24  # pixels below a picture for its name


def samples_of(predictions: Predictions) -> list[dict[str, Any]]:
    """The samples that evaluation chose to show, as the template takes them."""
    shown = []
    for index, picture in zip(predictions.shown, predictions.thumbnails, strict=True):
        label, predicted = int(predictions.labels[index]), int(predictions.predicted[index])
        shown.append(
            {
                "image": data_uri(picture),
                "key": predictions.keys[index],
                "label": predictions.classes[label],
                "predicted": predictions.classes[predicted],
                "confidence": float(predictions.probabilities[index, predicted]),
                "of_label": float(predictions.probabilities[index, label]),
            }
        )
    return shown


def templates_of(predictions: Predictions) -> list[dict[str, str]]:
    """The model's weights as pictures, as the template takes them."""
    names = template_names(len(predictions.templates), predictions.classes)
    pairs = zip(predictions.templates, names, strict=True) if len(predictions.templates) else ()
    return [{"image": data_uri(picture), "name": name} for picture, name in pairs]


def template_sheet(predictions: Predictions, across: int = 5, side: int = 128) -> NDArray[np.uint8]:
    """All templates on one sheet, their names below: RGB uint8 (rows (side + LINE), across side, 3)."""
    names = template_names(len(predictions.templates), predictions.classes)
    rows = -(-len(names) // across)
    sheet = np.full((rows * (side + LINE), across * side, 3), 255, np.uint8)
    for number, (picture, name) in enumerate(zip(predictions.templates, names, strict=True)):
        top, left = number // across * (side + LINE), number % across * side
        enlarged = cv2.resize(picture, (side - 4, side - 4), interpolation=cv2.INTER_NEAREST)
        sheet[top : top + side - 4, left : left + side - 4] = enlarged
        place = (left + 2, top + side + LINE - 10)
        (width, _), _ = cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, 0.42, 1)
        scale = 0.42 * min(1.0, (side - 6) / width)  # a long name stays below its own picture
        cv2.putText(sheet, name, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (28, 32, 36), 1, cv2.LINE_AA)
    return sheet
