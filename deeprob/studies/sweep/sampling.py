"""What a study tries next, and which trials it gives up early."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deeprob.errors import InputError

if TYPE_CHECKING:
    import optuna

PRUNERS = ("median", "halving", "none")


def sampler_of(name: str, seed: int, number: int) -> optuna.samplers.BaseSampler:
    """A sampler seeded by the trial's number: a sweep that was interrupted goes on as if it was not."""
    import optuna

    seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    if name == "tpe":
        return optuna.samplers.TPESampler(seed=seed, constant_liar=True)
    return optuna.samplers.RandomSampler(seed=seed)


def pruner_of(name: str, warmup: int) -> optuna.pruners.BasePruner:
    """What ends a trial early: `median`, `halving` or `none`, after so many epochs. Raises InputError."""
    import optuna

    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=warmup)
    if name == "halving":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=max(warmup, 1))
    if name == "none":
        return optuna.pruners.NopPruner()
    raise InputError(f"no pruner {name!r}", where="sweep.pruner", expected=", ".join(PRUNERS))
