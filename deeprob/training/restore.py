"""A run folder back to its config, its data and its trained model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.progress import Progress
from torch import nn

from deeprob.config import SCHEMA_ONLY
from deeprob.config_errors import flatten
from deeprob.config_files import read_written
from deeprob.data.batches import AnyBatch
from deeprob.data.datamodule import PerceptionData
from deeprob.data.loader import BatchLoader
from deeprob.errors import InputError
from deeprob.runs import Run
from deeprob.schema.models import NetworkSettings
from deeprob.schema.typed import typed
from deeprob.training.trainer import arrange, device_of, make_data, make_model, memory_format_of
from deeprob.training.weights import read_tensors


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
        return np.concatenate([logits for _, logits in self.outputs(loader, description, progress)])

    def outputs(
        self, loader: BatchLoader, description: str, progress: bool = True
    ) -> Iterator[tuple[AnyBatch, NDArray[np.float32]]]:
        """Each batch of a loader with its logits, float32 (B, C) or (B, C, P)."""
        self.model.eval()
        with Progress(transient=True, disable=not progress) as bar:
            for batch in bar.track(loader, total=len(loader), description=description):
                inputs = batch[0].to(self.device)
                if inputs.dim() == 4:  # images
                    inputs = inputs.contiguous(memory_format=memory_format_of(self.cfg))
                with torch.inference_mode():
                    logits = self.model(inputs).float().cpu().numpy()
                yield batch, logits


def load(run: Run, checkpoint: str, allowed: list[str] | None = None) -> Experiment:
    """The model and data of a run folder. checkpoint: `best` or `last`.

    Raises InputError where the folder lacks the checkpoint, or its weights do not fit its config.
    """
    cfg = read_config(run)
    cfg.allowed_targets = sorted({*cfg.allowed_targets, *(allowed or [])})
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
    device = device_of(cfg)
    return Experiment(cfg, data, arrange(model.to(device), cfg).eval(), device)


def read_config(run: Run) -> DictConfig:
    """config.yaml of a run folder; no key can be added. Raises InputError where it is not readable YAML."""
    cfg = read_written(run.config)
    if not all(isinstance(cfg.get(key), DictConfig) for key in ("data", "model")):
        raise InputError("not the config of a training", where=run.config, expected="keys data, model, ...")
    try:
        cfg = typed(cfg)  # with the defaults of what was added since the run's version
        OmegaConf.set_struct(cfg.model, False)
        cfg.model = OmegaConf.merge(asdict(NetworkSettings()), cfg.model)  # also of one that has no schema
        OmegaConf.set_struct(cfg.model, True)
    except OmegaConfBaseException as error:
        raise InputError(str(error).splitlines()[0], where=run.config) from error
    missing = [key for key, value in flatten(cfg).items() if value == "???"]
    if missing:
        raise InputError(f"{', '.join(missing[:3])} missing", where=run.config)
    cfg.allowed_targets = [SCHEMA_ONLY]  # a file must not let in its own code
    return cfg


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content, tensors and plain containers only: one that would run code is refused."""
    content = read_tensors(path)
    if not isinstance(content, dict) or not {"state_dict", "global_step"} <= content.keys():
        raise InputError("checkpoint cannot be read (it lacks state_dict or global_step)", where=path)
    weights, step = content["state_dict"], content["global_step"]
    named = isinstance(weights, dict) and all(isinstance(name, str) for name in weights)
    if not named or not all(isinstance(t, torch.Tensor) for t in weights.values()):
        raise InputError("its state_dict is none", where=path, expected="names and tensors")
    if not isinstance(step, int) or isinstance(step, bool) or step < 0:
        raise InputError(f"its global_step is {step!r:.60}", where=path, expected="a whole number, 0 or more")
    return cast("dict[str, Any]", content)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint file and the training steps behind it."""

    path: Path
    step: int


def newest_checkpoint(run: Run) -> Checkpoint | None:
    """The checkpoint of the most steps: the last epoch's, or a requeue's; None at the start of a run.

    Raises InputError where one cannot be read.
    """
    last = run.checkpoint("last")
    there = [path for path in (*run.requeue_checkpoints, last) if path.is_file()]
    found = [Checkpoint(path, int(read_checkpoint(path)["global_step"])) for path in there]
    return max(found, key=lambda checkpoint: (checkpoint.step, checkpoint.path == last), default=None)
