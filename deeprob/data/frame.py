"""The contract of every data source: one picture of a scene with what is known about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Instance:
    """One object in a frame. Every label but the class may be missing.

    class_id: index into the source's `classes`.
    box_xyxy: float64 (4,), left, top, right, bottom in pixels; the pixel i covers [i - 0.5, i + 0.5]. Around
        what is visible, unless the source's box_convention is "amodal".
    mask: bool (H, W), the visible pixels.
    amodal_mask: bool (H, W), all pixels, also those behind other objects.
    T_cam_obj: float64 (4, 4), maps object points to OpenCV camera axes (x right, y down, z forward), metres.
    visible_fraction: visible pixels over all pixels of the object's silhouette, 0..1.
    area: the object's size in pixels as the annotation says it; see `size_in_pixels`.
    """

    class_id: int
    box_xyxy: NDArray[np.float64]
    mask: NDArray[np.bool_] | None = None
    amodal_mask: NDArray[np.bool_] | None = None
    T_cam_obj: NDArray[np.float64] | None = None
    visible_fraction: float | None = None
    area: float | None = None

    @property
    def size_in_pixels(self) -> float:
        """The annotation's area; the mask's pixels where it says none, the box's where there is no mask."""
        if self.area is not None:
            return self.area
        if self.mask is not None:
            return float(np.count_nonzero(self.mask))
        return float(np.prod(self.box_xyxy[2:] - self.box_xyxy[:2]))


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture, real or simulated; code downstream never asks which.

    image: uint8 (H, W, 3), RGB.
    K: float64 (3, 3), intrinsics; an integer coordinate is a pixel's centre. None where it is not known.
    depth_m: float32 (H, W), metres along the optical axis, 0 = no reading.
    source, key: the data set, and the file or seed inside it that this frame came from.
    group: the independent unit it belongs to (a recording session, a scene); frames of one group never
        lie on both sides of a split.
    crowds: regions of objects that nobody counted one by one, or that are hardly visible. They are no target
        of training, and what is detected in them is neither right nor wrong.
    """

    image: NDArray[np.uint8]
    instances: tuple[Instance, ...]
    source: str
    key: str
    group: str
    K: NDArray[np.float64] | None = None
    depth_m: NDArray[np.float32] | None = None
    crowds: tuple[Instance, ...] = ()
