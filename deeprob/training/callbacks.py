"""What happens around the steps: checkpoints written whole, random state kept, one line an epoch in logs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer

from deeprob.writing import atomic_file


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it: a kill or a full disk leaves the old one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        with atomic_file(Path(path), "wb") as file:
            torch.save(checkpoint, file)


class RandomState(Callback):
    """Keeps torch's random state in the checkpoint, so that a resumed run drops out the same units.

    Of several processes each draws numbers of its own, and the checkpoint holds the state of each.
    """

    def __init__(self) -> None:
        self._trainer: Trainer | None = None
        self._restored: dict[str, torch.Tensor] | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._trainer = trainer

    def state_dict(self) -> dict[str, Any]:
        """The states, uint8 (processes, bytes), by device."""
        assert self._trainer is not None
        states = {"cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            states["cuda"] = torch.cuda.get_rng_state()
        strategy = self._trainer.strategy
        gathered = {name: strategy.all_gather(s.to(strategy.root_device)) for name, s in states.items()}
        return {name: state.reshape(self._trainer.world_size, -1).cpu() for name, state in gathered.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._restored = state_dict

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        restored, self._restored = self._restored, None
        if restored is None or trainer.global_rank >= len(restored["cpu"]):
            if trainer.global_rank > 0:  # all start with the same state, for the same weights
                torch.manual_seed(torch.initial_seed() + trainer.global_rank)
            return
        # Copies: torch reads a state from where its storage begins, and crashes on a view further in.
        torch.set_rng_state(restored["cpu"][trainer.global_rank].clone())
        if "cuda" in restored and torch.cuda.is_available():
            torch.cuda.set_rng_state(restored["cuda"][trainer.global_rank].clone())


class Cost(Callback):
    """Adds up the seconds and samples spent in training steps, over interruptions too."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.samples = 0
        self._since: float | None = None

    def state_dict(self) -> dict[str, Any]:
        self._stop()
        state = {"seconds": self.seconds, "samples": self.samples}
        self._since = time.monotonic()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seconds, self.samples = state_dict["seconds"], state_dict["samples"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._since = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.samples += len(batch.indices) * trainer.world_size

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._since is not None:
            self.seconds += time.monotonic() - self._since
        self._since = None


class EpochLines(Callback):
    """One line an epoch, where no terminal is there to draw a progress bar on."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        metrics = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
        shown = "  ".join(f"{name} {value:.4f}" for name, value in sorted(metrics.items()))
        print(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  {shown}", flush=True)
