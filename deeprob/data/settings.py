"""Settings of the data room, without heavy imports, so that Hydra can use them as schema."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace

from deeprob.errors import InputError


class _Settings:
    def closing(self) -> tuple[float, _Settings] | None:
        """From which part of the epochs on (0 to 1) other settings hold, and which; None where these do."""
        return None


@dataclass  # not frozen: OmegaConf would make it read-only, and overrides could not reach it
class Augmentation(_Settings):
    """How far each property of an image may be moved; 0 leaves it as it is.

    flip: probability of a mirror image, left to right.
    translate: largest shift, part of the side; rounded to whole pixels.
    zoom, aspect: the scale, and the ratio of width to height, are log-uniform in [1 / (1 + x), 1 + x].
    rotate: largest angle, radians.
    brightness, contrast, saturation: factors are drawn from [1 - x, 1 + x].
    hue: largest angle around the grey axis, radians.
    blur: largest standard deviation of a Gaussian blur, pixels.
    noise: largest standard deviation of Gaussian noise, where 1 is the range from black to white.
    cutout: side of a square at a random place that is set to the mean colour, part of the side.
    mixup, cutmix: parameter of the Beta distribution of how much of an image, or of its area, is kept where
        it is mixed with another of the batch, labels alike (batches.augment.mix); classification only.
    """

    flip: float = 0.0
    translate: float = 0.0
    zoom: float = 0.0
    aspect: float = 0.0
    rotate: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    cutout: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        limits = {"flip": 1.0, "translate": 1.0, "cutout": 1.0, "brightness": 1.0, "contrast": 1.0}
        _check(self, limits)


@dataclass
class WindowAugmentation(Augmentation):
    """How far a frame may be moved, and which part of it is shown.

    crop: height and width in pixels of the window that a batch shows of each frame, at a random place; empty
        is the whole frame. The window lies inside the frame where it fits, and `translate` does not count.
    scale: least and largest scale, log-uniform, in place of `zoom`; empty is `zoom`.
    """

    crop: list[int] = field(default_factory=list)
    scale: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crop and (len(self.crop) != 2 or min(self.crop) < 1):
            raise InputError(
                f"augmentation.crop is {list(self.crop)}", expected="[height, width], or [] for whole frames"
            )
        self._check_factors("scale", "zoom")
        if self.scale and self.zoom:
            raise InputError(
                f"augmentation.scale is {list(self.scale)} and augmentation.zoom {self.zoom:g}",
                expected="one of them",
                fix="set data.augmentation.zoom=0",
            )

    def _check_factors(self, name: str, other: str) -> None:
        """Raise InputError unless a setting is a range of factors, or empty, which stands for another."""
        given = getattr(self, name)
        if given and not (len(given) == 2 and 0 < given[0] <= given[1] < math.inf):
            raise InputError(
                f"augmentation.{name} is {list(given)}",
                expected=f"[low, high], both over 0, or [] for {other}",
            )


@dataclass
class DetectionAugmentation(WindowAugmentation):
    """How a frame with boxes is shown, beside WindowAugmentation.

    whole_object: probability that a window holds a random object of its frame whole, if it fits.
    quarter_turns: probability that a frame is turned by 90, 180 or 270 degrees: boxes stay tight, which they
        do not by `rotate`.
    min_visible: an object of whose box a smaller part stays is no object any more, but a region to ignore.
    mosaic: probability that an image is made of windows of four frames that meet at a random point, each with
        its own geometry and colours. Objects keep their size; those of YOLOv4's mosaic (2020) shrink.
    mixup: of frames half of a batch's images are each blended with another of it, at a ratio of this Beta
        distribution, and have the objects of both.
    copy_paste: where there are masks, probability that an image gets some of the objects of another of its
        batch (Ghiasi et al., 2021).
    mosaic_until: part of the epochs with mosaics and mixed images; the last show images as they will be seen.
    multi_scale: least and largest factor on the size of a batch's windows and on the scale of what they
        show, in steps of 32 pixels; empty is 1.
    """

    whole_object: float = 0.5
    quarter_turns: float = 0.0
    min_visible: float = 0.25
    mosaic: float = 0.0
    copy_paste: float = 0.0
    mosaic_until: float = 0.85
    multi_scale: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(
            self,
            dict.fromkeys(
                ("whole_object", "quarter_turns", "min_visible", "mosaic", "copy_paste", "mosaic_until"), 1.0
            ),
        )
        self._check_factors("multi_scale", "1")

    def closing(self) -> tuple[float, DetectionAugmentation] | None:
        mixed = self.mosaic or self.mixup
        return (self.mosaic_until, replace(self, mosaic=0.0, mixup=0.0)) if mixed else None


@dataclass
class PointAugmentation(_Settings):
    """How far a point cloud may be moved, as Augmentation.

    rotate: largest angle, radians; 3.1416 is any angle. axis: the camera's axis to turn about, `optical` (z:
        as if the camera was rolled), `vertical` (y), or `any`, drawn anew for each cloud.
    scale: factor log-uniform in [1 / (1 + x), 1 + x].
    shift: largest offset of the whole cloud along each axis, metres.
    jitter: standard deviation of each point's own offset, metres.
    dropout: largest part of the points that is dropped; copies of another stand in for them.
    """

    rotate: float = 0.0
    axis: str = "optical"
    scale: float = 0.0
    shift: float = 0.0
    jitter: float = 0.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        _check(self, {"dropout": 1.0})
        if self.axis not in AXES:
            raise InputError(f"augmentation.axis is {self.axis!r}", expected=" or ".join(AXES))


AXES = ("optical", "vertical", "any")


def _check(settings: Augmentation | PointAugmentation, limits: dict[str, float]) -> None:
    """Raise InputError for a number that is negative, not finite, or over its limit."""
    for setting in fields(settings):
        value, limit = getattr(settings, setting.name), limits.get(setting.name, math.inf)
        if isinstance(value, str | list):
            continue
        if not (0 <= value <= limit and math.isfinite(value)):
            raise InputError(
                f"augmentation.{setting.name} is {value}",
                expected=f"0 to {limit:g}" if limit < math.inf else "0 or more",
            )
