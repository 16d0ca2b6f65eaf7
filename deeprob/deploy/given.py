"""One frame or cloud of an input."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deeprob.data.frame import Frame
from deeprob.data.readers.points import Cloud


@dataclass(frozen=True)
class Given:
    """One frame or cloud of an input.

    key: its name in files of predictions. item: what was read, None where that failed; why: then the reason.
    stamp_ns: when it was taken, nanoseconds since the recording's own zero; None where that is not known.
    """

    key: str
    item: Frame | Cloud | None
    stamp_ns: int | None = None
    why: str = ""


def frame_of(image: NDArray[np.uint8], source: str, key: str, K: NDArray[np.float64] | None = None) -> Frame:
    """A frame that nobody labelled."""
    return Frame(np.ascontiguousarray(image), (), source, key, key, K)


def without_labels(frame: Frame) -> Frame:
    """The same frame as if nobody had labelled it."""
    return replace(frame, instances=(), crowds=())
