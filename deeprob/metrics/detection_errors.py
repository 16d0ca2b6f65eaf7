"""What is wrong with detections, and what each kind of error costs.

A detection that finds no object at an IoU of 0.5 is, by the objects that it overlaps, the first of

    localisation     IoU from 0.1 to 0.5 with one of its class
    classification   IoU of 0.5 or more with one of another class
    duplicate        IoU of 0.5 or more with one of its class, which a surer detection has found
    background       IoU of at most 0.1 with any object
    both             what is left: IoU from 0.1 to 0.5 with one of another class

and an object that neither is found nor the one that an error of localisation or classification means is

    missed

An error's cost is the AP50 gained where this kind alone is put right: the class or the place corrected (of
several that mean one object the highest-scoring; the others, and those whose object is found, go), the
detection taken away, the missed object no longer asked for.

Source: Bolya et al., TIDE: a general toolbox for identifying object detection errors, ECCV 2020.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deeprob.metrics.detection import Ranked
from deeprob.metrics.detection_matches import Floats, Integers, Matches
from deeprob.metrics.detection_resampling import curves

KINDS = ("classification", "localisation", "both", "duplicate", "background", "missed")
CLASSIFICATION, LOCALISATION, BOTH, DUPLICATE, BACKGROUND, MISSED = range(len(KINDS))
FOREGROUND_IOU, BACKGROUND_IOU = 0.5, 0.1


def kinds_of(matches: Matches) -> Integers:
    """The error of each detection, a number in KINDS, int64 (D,); -1 for one that finds an object."""
    same, other = matches.same, matches.other
    return np.select(
        [
            matches.hit,
            (same >= BACKGROUND_IOU) & (same < FOREGROUND_IOU),
            other >= FOREGROUND_IOU,
            same >= FOREGROUND_IOU,
            np.maximum(same, other) <= BACKGROUND_IOU,
        ],
        [-1, LOCALISATION, CLASSIFICATION, DUPLICATE, BACKGROUND],
        BOTH,
    ).astype(np.int64)


def missed(matches: Matches, kinds: Integers) -> NDArray[np.bool_]:
    """Which objects are missed, bool (G,)."""
    meant = np.zeros(len(matches.object_scores), bool)
    meant[matches.same_object[kinds == LOCALISATION]] = True
    meant[matches.other_object[kinds == CLASSIFICATION]] = True
    return np.asarray(np.isneginf(matches.object_scores) & ~meant)


def costs(matches: Matches, num_classes: int, weights: Floats) -> tuple[Floats, Floats]:
    """AP50 (B,) and what each kind of error costs of it (B, 6); each image counted weights (B, I) times."""
    kinds = kinds_of(matches)
    positives = np.zeros((num_classes, matches.num_images))
    np.add.at(positives, (matches.object_classes, matches.object_images), 1)
    everything: NDArray[np.bool_] = np.ones(len(kinds), bool)
    now = _ap50(matches, everything, matches.hit, matches.classes, positives, weights)
    gained = []
    for kind in range(len(KINDS)):
        kept, hit, classes, asked = everything, matches.hit, matches.classes, positives
        if kind in (CLASSIFICATION, LOCALISATION):
            kept, hit, classes = _corrected(matches, kinds, kind)
        elif kind == MISSED:
            asked = positives.copy()
            gone = missed(matches, kinds)
            np.add.at(asked, (matches.object_classes[gone], matches.object_images[gone]), -1)
        else:
            kept = kinds != kind
        gained.append(_ap50(matches, kept, hit, classes, asked, weights) - now)
    return now, np.stack(gained, axis=-1)


def _corrected(
    matches: Matches, kinds: Integers, kind: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], Integers]:
    """Put a kind of error right: which detections are kept, which find an object, and their classes."""
    kept, hit, classes = kinds != kind, matches.hit.copy(), matches.classes.copy()
    wrong = np.flatnonzero(kinds == kind)  # the best score first
    meant = (matches.same_object if kind == LOCALISATION else matches.other_object)[wrong]
    objects, first = np.unique(meant, return_index=True)
    free = np.isneginf(matches.object_scores[objects])
    fixed = wrong[first[free]]
    kept[fixed] = hit[fixed] = True
    classes[fixed] = matches.object_classes[objects[free]]
    return kept, hit, classes


def _ap50(
    matches: Matches,
    kept: NDArray[np.bool_],
    hit: NDArray[np.bool_],
    classes: Integers,
    positives: Floats,
    weights: Floats,
) -> Floats:
    """Mean over the classes that have objects, (B,)."""
    found = []
    for c, of_class in enumerate(positives):
        if not of_class.any():
            continue
        rows = np.flatnonzero(kept & (classes == c))
        which = hit[rows][None]
        ranked = Ranked(matches.scores[rows], matches.images[rows], which, ~which, of_class)
        found.append(curves([(ranked, weights)], weights)[0][:, 0])
    if not found:
        return np.full(len(weights), np.nan)
    ap = np.stack(found)
    known = np.isfinite(ap)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, ap, 0).sum(axis=0) / known.sum(axis=0))
