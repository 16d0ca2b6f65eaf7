"""The layer contract: every promise that a hand-written gradient has to keep.

The contract test and `deeprob gradcheck` run these checks over the catalogue.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import isnan, nan

import torch

from ..catalogue import Layer, Sample
from . import _checks as promise
from ._checks import only_hand_written_gradients
from ._measure import Case, RefutedError
from ._uses import module_matches_torch, rejects_bad_input


@dataclass(frozen=True)
class Check:
    """One promise of the contract. `run` takes (layer, sample) and returns the largest error."""

    name: str
    run: Callable[[Case], float]
    sizes: tuple[str, ...] = ("tiny", "real")
    first_only: bool = False  # costly: the layer's first sample stands for all

    def samples(self, layer: Layer) -> list[Sample]:
        """List the samples of the layer that it applies to."""
        chosen = [s for s in layer.samples if s.size in self.sizes]
        return chosen[:1] if self.first_only else chosen


CHECKS = [
    Check("float64", lambda case: promise.matches_torch(case, torch.float64), ("tiny", "real", "kink")),
    Check("float32", lambda case: promise.matches_torch(case, torch.float32), ("tiny", "real", "kink")),
    Check("bfloat16", lambda case: promise.matches_torch(case, torch.bfloat16)),
    Check("gradcheck", promise.first_derivative),
    Check("gradgradcheck", promise.second_derivative),
    Check("forward_mode", promise.forward_mode),
    Check("transforms", promise.transforms),
    Check("compile", promise.compiles, first_only=True),
    Check("autocast", promise.autocasts),
    Check("layouts", promise.memory_layouts, ("tiny", "real", "kink")),
    Check("upstream", promise.upstream_is_respected),
    Check("needs_input_grad", promise.every_subset_of_gradients, ("tiny",)),
    Check("empty_batch", promise.empty_batch, ("tiny",)),
    Check("fast_path", promise.fast_path),
    Check("hand_written", promise.no_vendor_gradient),
]


def prove(layer: Layer, check: Check) -> float:
    """Run one check over the layer's samples: the largest error, nan where the check only says yes or no.

    Raises RefutedError, naming the sample.
    """
    errors = []
    for sample in check.samples(layer):
        try:
            errors.append(check.run((layer, sample)))
        except Exception as mistake:
            raise RefutedError(f"{layer.name}, {sample.name}, {check.name}: {mistake}") from mistake
    return max((e for e in errors if not isnan(e)), default=nan)


__all__ = [
    "CHECKS",
    "Check",
    "RefutedError",
    "module_matches_torch",
    "only_hand_written_gradients",
    "prove",
    "rejects_bad_input",
]
