"""Learning-rate schedules as pure functions: progress of training in [0, 1] -> factor on the base rate."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Constant:
    """The base rate throughout."""

    def __call__(self, progress: float) -> float:
        return 1.0


@dataclass(frozen=True)
class Cosine:
    """Linear warm-up from zero, then half a cosine down to `final` (Loshchilov and Hutter, SGDR, 2017).

    warmup: fraction of the training spent rising. final: factor at the end.
    """

    warmup: float = 0.05
    final: float = 0.0

    def __call__(self, progress: float) -> float:
        if progress < self.warmup:
            return progress / self.warmup
        fall = (progress - self.warmup) / max(1.0 - self.warmup, 1e-12)
        return self.final + (1.0 - self.final) * 0.5 * (1.0 + math.cos(math.pi * min(fall, 1.0)))


@dataclass(frozen=True)
class OneCycle:
    """Up by half a cosine from `start` to 1, down by half a cosine to `final` (Smith and Topin, 2018).

    peak: fraction of the training after which the rate is highest.
    """

    peak: float = 0.3
    start: float = 0.04
    final: float = 1e-4

    def __call__(self, progress: float) -> float:
        if progress < self.peak:
            low, way = self.start, progress / self.peak
        else:
            low, way = self.final, 1.0 - (progress - self.peak) / max(1.0 - self.peak, 1e-12)
        return low + (1.0 - low) * 0.5 * (1.0 - math.cos(math.pi * min(max(way, 0.0), 1.0)))
