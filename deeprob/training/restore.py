"""A run folder back to its config, its data and its trained model."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from rich.progress import Progress
from torch import nn

from deeprob.data.datamodule import PerceptionData
from deeprob.data.loader import BatchLoader
from deeprob.errors import InputError
from deeprob.runs import Run
from deeprob.training.trainer import arrange, make_data, make_model, memory_format_of


@dataclass(frozen=True)
class Experiment:
    """A trained model with the data it was trained on, as a run folder describes them."""

    cfg: DictConfig
    data: PerceptionData
    model: nn.Module
    device: torch.device

    def predict(self, split: str, progress: bool = True) -> NDArray[np.float32]:
        """Logits float32 (N, C) of a split, in its order. Raises InputError for an unknown split."""
        return self.predict_batches(self.data.loader(split), f"evaluating {split}", progress)

    def predict_batches(
        self, loader: BatchLoader, description: str, progress: bool = True
    ) -> NDArray[np.float32]:
        """Logits float32 (N, C) of all batches of a loader, in their order."""
        logits = []
        self.model.eval()
        with Progress(transient=True, disable=not progress) as bar, torch.inference_mode():
            for batch in bar.track(loader, total=len(loader), description=description):
                images = batch.images.to(self.device, memory_format=memory_format_of(self.cfg))
                logits.append(self.model(images).float().cpu().numpy())
        return np.concatenate(logits)


def load(run: Run, checkpoint: str, allowed: list[str] | None = None) -> Experiment:
    """The model and data of a run folder. checkpoint: `best` or `last`.

    Raises InputError where the folder lacks the checkpoint, or its weights do not fit its config.
    """
    cfg = read_config(run)
    if allowed:
        cfg.allowed_targets = allowed
    path = run.checkpoint(checkpoint)
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in run.checkpoints.glob("*.ckpt"))) or "none yet"
        raise InputError(f"no checkpoint {checkpoint!r}", where=run.path, expected=f"one of: {there}")
    data = make_data(cfg)
    data.prepare_data()
    data.setup("fit")
    model = make_model(cfg, data)
    weights = {k.removeprefix("model."): v for k, v in read_checkpoint(path)["state_dict"].items()}
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(f"weights do not fit the run's config ({error})", where=path) from error
    device = torch.device("cuda" if _wants_cuda(cfg) else "cpu")
    return Experiment(cfg, data, arrange(model.to(device), cfg).eval(), device)


def read_config(run: Run) -> DictConfig:
    """config.yaml of a run folder; no key can be added. Raises InputError where it is not readable YAML."""
    try:
        cfg = OmegaConf.load(run.config)
    except Exception as error:  # the YAML reader has a family of errors of its own
        raise InputError(f"not a readable config ({error})", where=run.config) from error
    if not isinstance(cfg, DictConfig) or "data" not in cfg or "model" not in cfg:
        raise InputError("not the config of a training", where=run.config, expected="keys data, model, ...")
    cfg.allowed_targets = []  # a file must not let in its own code
    OmegaConf.set_struct(cfg, True)
    return cfg


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content, tensors and plain containers only: one that would run code is refused."""
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
        content["state_dict"], content["global_step"]
    except (RuntimeError, EOFError, KeyError, TypeError, OSError, pickle.UnpicklingError) as error:
        reason = next(
            (line for line in str(error).splitlines() if "GLOBAL" in line), str(error).split("\n")[0]
        )
        raise InputError(f"checkpoint cannot be read ({reason})", where=path) from error
    return cast("dict[str, Any]", content)


def _wants_cuda(cfg: DictConfig) -> bool:
    return torch.cuda.is_available() and cfg.trainer.accelerator in ("auto", "gpu", "cuda")
