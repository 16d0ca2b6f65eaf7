"""Pictures of samples and weights inside the page that shows them."""

from __future__ import annotations

import base64
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deeprob.errors import InputError
from deeprob.evaluation.learned import template_names
from deeprob.evaluation.predictions import Predictions


def samples_of(predictions: Predictions) -> list[dict[str, Any]]:
    """The samples that evaluation chose to show, as the template takes them."""
    shown = []
    for index, picture in zip(predictions.shown, predictions.thumbnails, strict=True):
        label, predicted = int(predictions.labels[index]), int(predictions.predicted[index])
        shown.append(
            {
                "image": _data_uri(picture),
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
    return [{"image": _data_uri(picture), "name": name} for picture, name in pairs]


def _data_uri(picture: NDArray[np.uint8]) -> str:
    """An RGB image uint8 (h, w, 3) as a PNG inside its own address."""
    ok, encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not ok:
        raise InputError(f"a thumbnail of shape {picture.shape} cannot be encoded", where="predictions")
    return "data:image/png;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")
