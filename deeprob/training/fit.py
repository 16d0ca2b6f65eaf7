"""Models that learn without a gradient, and networks that lend others their features."""

from __future__ import annotations

import time
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from deeprob.runs import Run
from deeprob.training.memory import peak_memory
from deeprob.training.parts import Parts, device_of
from deeprob.writing import atomic_file, write_json


@runtime_checkable
class Fitted(Protocol):
    """A model that looks at the training set once; what it keeps is in its state dict."""

    def fit(self, batches: Any, groups: Tensor) -> None:
        """batches: of the training split, in order, as they are; groups: int64 (N,), its recordings."""

    def flops_per_sample(self) -> int:
        """Of one prediction."""


def fit_classical(parts: Parts, run: Run) -> None:
    """Fit a model without a gradient; write its checkpoints `best` and `last`, and training.json."""
    model, data, device = parts.model, parts.data, device_of(parts.trainer)
    assert isinstance(model, Fitted)
    model.to(device)
    train = data.labelled_samples
    samples = len(train)
    begin = time.monotonic()
    model.fit(data.loader_of(train), train.groups)
    seconds = time.monotonic() - begin
    weights = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for name in ("best", "last"):  # nothing to choose between: an evaluation may ask for either
        with atomic_file(run.checkpoint(name), "wb") as file:
            torch.save({"state_dict": weights, "epoch": 0, "global_step": 0}, file)
    facts: dict[str, Any] = {
        "epochs": 1,
        "steps": 0,
        "stopped_early": False,
        "train_seconds": seconds,
        "samples_per_second": samples / seconds if seconds else None,
        "parameters": sum(p.numel() for p in model.parameters()),
        "flops_per_sample": model.flops_per_sample(),
        "device": str(device),
    }
    found = getattr(model, "cross_validation", None)
    if found is not None:
        facts["cross_validation"] = {"k": list(found.candidates), "accuracy": found.accuracy.tolist()}
    write_json(run.training, {**facts, "peak_memory_bytes": peak_memory()})
