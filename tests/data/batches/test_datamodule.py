from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from deeprob.data.batches.augment import Augmentation
from deeprob.data.batches.datamodule import PerceptionData
from deeprob.data.batches.images import channel_statistics
from deeprob.data.readers.darknet import DarknetSource
from deeprob.errors import InputError
from deeprob.tasks.classification.view import ClassificationView
from deeprob.training.lightning_data import LightningData

VIEW = ClassificationView(size=8)


def data(source, **options) -> PerceptionData:
    return PerceptionData(source, VIEW, batch_size=4, progress=False, **options)


class Recorder(LightningModule):
    """Learns one number from each batch and notes every batch it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[int, list[int], float]] = []

    def training_step(self, batch, batch_idx: int) -> torch.Tensor:
        self.seen.append((self.current_epoch, batch.indices.tolist(), float(batch.images.sum())))
        return (self.weight - batch.images.mean()) ** 2

    def validation_step(self, batch, batch_idx: int) -> None:
        self.log("val_mean", batch.images.mean(), batch_size=len(batch.labels))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class SaveAt(Callback):
    """Saves after a given number of steps, or at the end of validation."""

    def __init__(self, path: Path, step: int, hook: str) -> None:
        self.path, self.step, self.hook = path, step, hook

    def on_train_batch_end(self, trainer, *_) -> None:
        if self.hook == "batch" and trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)

    def on_validation_end(self, trainer, *_) -> None:
        if self.hook == "validation" and trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)

    def on_train_epoch_end(self, trainer, *_) -> None:
        if self.hook == "epoch" and trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


def fit(source, *callbacks: Callback, checkpoint: Path | None = None, num_workers: int = 0) -> Recorder:
    module = Recorder()
    trainer = Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
    )
    augmentation = Augmentation(flip=0.5, noise=0.2)
    dm = data(source, augmentation=augmentation, val_fraction=0.25, num_workers=num_workers)
    trainer.fit(module, LightningData(dm), ckpt_path=checkpoint, weights_only=True if checkpoint else None)
    return module


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("hook", "step"),
    [("batch", 1), ("batch", 4), ("batch", 6), ("validation", 3), ("validation", 6), ("epoch", 6)],
)
def test_trainer_resumes_with_the_very_next_batch(array_source, tmp_path: Path, hook: str, step: int) -> None:
    checkpoint = tmp_path / "here.ckpt"
    whole = fit(array_source(), SaveAt(checkpoint, step, hook))
    assert len(whole.seen) == 9  # 15 of 20 samples, in batches of 4, without the last: 3 steps an epoch
    resumed = fit(array_source(), checkpoint=checkpoint)
    assert resumed.seen == whole.seen[step:]
    assert torch.equal(resumed.weight, whole.weight)


@pytest.mark.filterwarnings("ignore")
def test_trainer_sees_the_same_batches_with_workers(array_source) -> None:
    assert fit(array_source()).seen == fit(array_source(), num_workers=1).seen


def test_sizes_classes_and_normalisation_come_from_the_source(darknet_root: Path) -> None:
    source = DarknetSource(darknet_root, {"train": ["2019*"], "val": ["2024*"]})
    dm = data(source)
    assert dm.sizes == {"train": 8, "val": 4}
    assert (dm.classes, dm.source_name, dm.real) == (("ball", "robot"), "robots", True)
    pixels = dm.split("train").images.double() / 255
    assert dm.mean == pytest.approx(pixels.mean((0, 1, 2)).tolist())
    assert dm.std == pytest.approx(pixels.std((0, 1, 2), correction=0).tolist())


def test_every_split_is_normalised_by_the_training_split(darknet_root: Path) -> None:
    dm = data(DarknetSource(darknet_root, {"train": ["2019*"], "val": ["2024*"]}))
    assert dm.val_dataloader().batches.collate.mean == dm.train_dataloader().batches.collate.mean == dm.mean


def test_given_mean_and_std_are_used_without_a_training_split(darknet_root: Path) -> None:
    dm = data(DarknetSource(darknet_root, {"val": ["2024*"]}), mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 3.0))
    assert dm.loader("val").batches.collate.mean == (0.1, 0.2, 0.3)


def test_validation_by_fraction_takes_whole_groups(array_source) -> None:
    dm = data(array_source(), val_fraction=0.25)
    assert dm.splits == ("train", "val")
    assert dm.sizes == {"train": 15, "val": 5}
    train, val = dm.split("train"), dm.split("val")
    assert not set(train.groups.tolist()) & set(val.groups.tolist())
    assert not set(train.keys) & set(val.keys)


def test_fraction_is_refused_where_the_source_has_its_own_validation(array_source) -> None:
    with pytest.raises(InputError, match="has its own split 'val'"):
        data(array_source(splits=("train", "val")), val_fraction=0.1)


def test_unknown_split_says_what_there_is_and_how_to_get_validation(array_source) -> None:
    with pytest.raises(InputError, match=r"no split 'val'; expected train; set data\.val_fraction"):
        data(array_source()).val_dataloader()


def test_source_that_makes_its_data_is_asked_once_before_reading(array_source) -> None:
    source = array_source()
    calls: list[bool] = []
    source.prepare = calls.append
    dm = data(source)
    dm.prepare_data()
    dm.split("train")
    dm.prepare_data()
    assert calls == [False]


def test_constant_channel_is_safe_to_divide_by() -> None:
    mean, std = channel_statistics(torch.full((3, 2, 2, 3), 51, dtype=torch.uint8))
    assert mean == pytest.approx((0.2, 0.2, 0.2))
    assert std == (1.0, 1.0, 1.0)


def test_folds_take_turns_as_validation(array_source) -> None:
    seen: list[str] = []
    for fold in range(4):
        dm = data(array_source(), num_folds=4, fold=fold)
        assert dm.sizes == {"train": 15, "val": 5}
        assert not set(dm.split("train").keys) & set(dm.split("val").keys)
        seen += dm.split("val").keys
    assert len(set(seen)) == 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_folds": 4, "fold": 4}, "data.fold is 4"),
        ({"num_folds": 2, "val_fraction": 0.1}, "are both set"),
    ],
)
def test_impossible_folds_are_refused(array_source, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        data(array_source(), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "data.batch_size is 0; expected 1 or more"),
        ({"eval_batch_size": -1}, "data.eval_batch_size is -1"),
        ({"num_workers": -2}, "data.workers is -2; expected 0 or more"),
        ({"num_folds": -3}, "data.num_folds is -3"),
        ({"val_fraction": 1.0}, "data.val_fraction is 1; expected 0 to under 1"),
        ({"val_fraction": -0.1}, "data.val_fraction is -0.1"),
        ({"memory_budget_gb": float("nan")}, "data.memory_budget_gb is nan"),
    ],
)
def test_impossible_numbers_are_refused_before_anything_is_read(array_source, options, message) -> None:
    with pytest.raises(InputError, match=message):
        PerceptionData(array_source(), VIEW, progress=False, **options)
