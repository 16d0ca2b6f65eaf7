"""Data as Lightning's trainer takes it: the one place where it meets PerceptionData."""

from __future__ import annotations

from lightning.pytorch import LightningDataModule

from deeprob.data.batches.datamodule import PerceptionData
from deeprob.data.batches.loader import BatchLoader


class LightningData(LightningDataModule):
    """Batches of `data` for a trainer, which tells it of epochs and processes."""

    def __init__(self, data: PerceptionData) -> None:
        super().__init__()
        self.data = data

    def prepare_data(self) -> None:
        self.data.prepare_data()

    def train_dataloader(self) -> BatchLoader:
        self.data.trainer = self.trainer
        return self.data.train_dataloader()

    def val_dataloader(self) -> BatchLoader:
        self.data.trainer = self.trainer
        return self.data.val_dataloader()
