"""Slices of a data set: quantities cut at their quartiles."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

NUM_BINS = 4  # quarters of the samples
LEAST = 10  # samples of a slice: with fewer its score says little


def quarters(values: NDArray[np.floating]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Cut what is known of values (N,) at its quartiles: each part's name, and which samples are in it."""
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return
    edges = np.unique(np.quantile(known, np.linspace(0, 1, NUM_BINS + 1)))
    for i in range(len(edges) - 1):
        last = i == len(edges) - 2
        inside = (values >= edges[i]) & ((values <= edges[i + 1]) if last else (values < edges[i + 1]))
        yield f"{edges[i]:.3g} to {edges[i + 1]:.3g}", inside
