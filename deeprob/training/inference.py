"""A trained network made ready for predictions alone."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from deeprob.data.batches.augment import normalise
from deeprob.errors import InputError
from deeprob.models.folding import fold_norms, is_foldable
from deeprob.training.experiment import Experiment
from deeprob.training.parts import memory_format_of


def for_inference(experiment: Experiment) -> Experiment:
    """The same experiment, its predictor the network with its batch norms folded.

    It is left as it is where the view does not describe the network's inputs, or the network takes more than
    is described, such as further channels; and where folding fails, which a line on standard error says.
    """
    if not is_foldable(experiment.model):
        return experiment
    try:
        example = inputs_like(experiment, 1)
        layout = memory_format_of(experiment.cfg.trainer) if example.dim() == 4 else torch.contiguous_format
        example = example.to(experiment.device).contiguous(memory_format=layout)
        folded = fold_norms(experiment.model, example)
    except (InputError, ValueError):  # as a network refuses inputs
        return experiment
    except RuntimeError as error:
        why = str(error).partition("\n")[0]
        print(f"warning: the batch norms stay, predictions take longer ({why})", file=sys.stderr)
        return experiment
    return replace(experiment, predictor=folded)


def inputs_like(experiment: Experiment, batch: int) -> Tensor:
    """Random inputs of the network, normalised. Raises InputError where the view does not describe them."""
    data = experiment.data
    example = example_of(data.view.described(), batch)
    return normalise(example, data.mean, data.std) if data.mean else example


def example_of(described: dict[str, Any], batch: int) -> Tensor:
    """Random images uint8 (N, H, W, 3), or points (N, P, 3), of what a view describes."""
    generator = torch.Generator().manual_seed(0)
    if "points" in described:
        return 0.05 * torch.randn(batch, described["points"], 3, generator=generator)
    shape = batch, described["height"], described["width"], 3
    return torch.randint(256, shape, generator=generator, dtype=torch.uint8)
