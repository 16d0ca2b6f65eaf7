"""The layer contract: every promise that a hand-written gradient has to keep.

The contract test and `deeprob gradcheck` run these checks over the catalogue.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import isnan, nan

import torch

from ..catalogue import Layer, Sample
from . import _checks as checks
from ._checks import only_hand_written_gradients
from ._measure import Case, ContractError
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
    Check("float64", lambda case: checks.matches_torch(case, torch.float64), ("tiny", "real", "kink")),
    Check("float32", lambda case: checks.matches_torch(case, torch.float32), ("tiny", "real", "kink")),
    Check("bfloat16", lambda case: checks.matches_torch(case, torch.bfloat16)),
    Check("gradcheck", checks.first_derivative),
    Check("gradgradcheck", checks.second_derivative),
    Check("forward_mode", checks.forward_mode),
    Check("transforms", checks.transforms),
    Check("compile", checks.compiles, first_only=True),
    Check("autocast", checks.autocasts),
    Check("layouts", checks.memory_layouts, ("tiny", "real", "kink")),
    Check("upstream", checks.upstream_is_respected),
    Check("needs_input_grad", checks.every_subset_of_gradients, ("tiny",)),
    Check("empty_batch", checks.empty_batch, ("tiny",)),
    Check("fast_path", checks.fast_path),
    Check("hand_written", checks.no_vendor_gradient),
]


def verify(layer: Layer, check: Check) -> float:
    """Run one check over the layer's samples: the largest error, nan where the check only says yes or no.

    Raises ContractError, naming the sample.
    """
    errors = []
    for sample in check.samples(layer):
        try:
            errors.append(check.run((layer, sample)))
        except Exception as mistake:
            raise ContractError(f"{layer.name}, {sample.name}, {check.name}: {mistake}") from mistake
    return max((e for e in errors if not isnan(e)), default=nan)


__all__ = [
    "CHECKS",
    "Check",
    "ContractError",
    "module_matches_torch",
    "only_hand_written_gradients",
    "rejects_bad_input",
    "verify",
]
