"""The first check of a new network: it must learn a handful of images by heart.

A network that cannot has a bug in its wiring, its loss or its learning rate.
"""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import DictConfig

from deeprob.data.batches.datamodule import PerceptionData
from deeprob.data.batches.loader import BatchLoader
from deeprob.errors import InputError

STEPS = 1000  # at most
STEPS_AN_EPOCH = 10  # between two looks at the accuracy


def overfit_config(cfg: DictConfig) -> DictConfig:
    """The config with nothing that keeps a network from learning by heart, and STEPS steps at most.

    Raises InputError for several processes: a handful of images needs one.
    """
    if cfg.trainer.devices * cfg.trainer.num_nodes > 1:
        raise InputError("trainer.overfit is for one process", fix="set trainer.devices=1")
    cfg = cfg.copy()
    cfg.trainer.max_epochs = STEPS // STEPS_AN_EPOCH
    cfg.trainer.patience, cfg.trainer.ema = 0, 0.0
    cfg.trainer.monitor, cfg.trainer.mode = "val/top1_accuracy", "max"
    return cfg


def few_images(data: PerceptionData, count: int, seed: int) -> dict[str, Any]:
    """Loaders, as Trainer.fit takes them, of `count` training images drawn by `seed`, without augmentation.

    They come as often in an epoch as fills its steps. Validation is on the same images.
    """
    whole = data.split("train")
    chosen = torch.randperm(len(whole), generator=torch.Generator().manual_seed(seed))[:count]
    wanted = max(STEPS_AN_EPOCH * data.batch_size, len(chosen))
    train = BatchLoader(
        whole.take(chosen.repeat(-(-wanted // len(chosen)))[:wanted]),
        data.batch_size,
        data.view.collate(data.mean, data.std),
        shuffle=True,
        drop_last=True,
        seed=seed,
    )
    return {"train_dataloaders": train, "val_dataloaders": data.loader_of(whole.take(chosen))}


class ByHeart(Callback):
    """Stops the training when every image is answered right, outside training mode."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.accuracy = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"accuracy": self.accuracy}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.accuracy = state_dict["accuracy"]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.accuracy = max(self.accuracy, float(trainer.callback_metrics["val/top1_accuracy"]))
        trainer.should_stop = trainer.should_stop or self.accuracy == 1.0

    def verdict(self, steps: int) -> str:
        """One line. Raises NotLearnedError where some images were not."""
        learned = round(self.accuracy * self.count)
        line = f"overfit  {learned} of {self.count} training images right after {steps} steps"
        if self.accuracy < 1.0:
            raise NotLearnedError(f"{line} ({100 * self.accuracy:.1f} %)")
        return line


class NotLearnedError(RuntimeError):
    """A network did not learn a handful of images by heart."""
