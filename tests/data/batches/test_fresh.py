import numpy as np
import pytest
import torch

from deeprob.data.batches.datamodule import PerceptionData
from deeprob.data.frame import Frame, Instance
from deeprob.data.settings import Augmentation
from deeprob.data.source import Source
from deeprob.errors import InputError
from deeprob.tasks.classification.view import ClassificationView


class Dice(Source):
    """Frames of up to three squares of noise, dark or bright, thrown anew at each visit."""

    name, real, classes, splits = "dice", False, ("dark", "bright"), ("train", "val")
    streams = ("train",)

    def frames(self, split):
        return [self.visit(split, index, 0) for index in range(12)]

    def visit(self, split, index, number):
        rng = np.random.default_rng([index, number])
        image = np.zeros((16, 48, 3), np.uint8)
        instances = []
        for k in range(rng.integers(0, 4)):
            label = int(rng.integers(2))
            image[:, 16 * k : 16 * k + 16] = rng.integers(0, 100, (16, 16, 3)) + 128 * label
            box = np.array([16 * k - 0.5, -0.5, 16 * k + 15.5, 15.5])
            instances.append(Instance(class_id=label, box_xyxy=box))
        return Frame(
            image=image,
            depth_m=None,
            K=np.eye(3),
            instances=tuple(instances),
            source="dice",
            key=f"{split}/{index}/{number}",
            group=f"{split}/{index}",
        )


@pytest.fixture
def data():
    return PerceptionData(
        Dice(),
        ClassificationView(size=8),
        Augmentation(),
        batch_size=8,
        progress=False,
        mean=(0,) * 3,
        std=(1,) * 3,
    )


def epoch(loader):
    return [(batch.images, batch.labels) for batch in loader]


def test_every_epoch_shows_other_pictures(data):
    loader = data.train_dataloader()
    first, second = (torch.cat([images for images, _ in epoch(loader)]) for _ in range(2))
    assert not set(first.mean((1, 2, 3)).tolist()) & set(second.mean((1, 2, 3)).tolist())


def test_pictures_and_labels_belong_together(data):
    for images, labels in epoch(data.train_dataloader()):
        assert len(images) == len(labels)
        assert ((images.mean((1, 2, 3)) > 0.5).long() == labels).all()


def test_a_batch_has_as_many_frames_as_show_batch_size_samples_on_average(data):
    per_frame = len(data.split("train")) / 12
    assert data.train_dataloader().batches.batch_size == round(8 / per_frame)


def test_the_batches_are_the_same_for_any_number_of_workers(data):
    alone = epoch(data.train_dataloader())
    data.num_workers = 2
    for (a, b), (c, d) in zip(alone, epoch(data.train_dataloader()), strict=True):
        assert torch.equal(a, c)
        assert torch.equal(b, d)


def test_a_resume_in_mid_epoch_goes_on_with_the_next_batch(data):
    whole, loader = epoch(data.train_dataloader()), data.train_dataloader()
    batches = iter(loader)
    next(batches)
    resumed = data.train_dataloader()
    resumed.load_state_dict(loader.state_dict())
    rest = epoch(resumed)
    assert len(rest) == len(whole) - 1
    for (a, _), (b, _) in zip(rest, whole[1:], strict=True):
        assert torch.equal(a, b)


def test_validation_frames_stay_as_they_are(data):
    assert torch.equal(epoch(data.val_dataloader())[0][0], epoch(data.val_dataloader())[0][0])


def test_streamed_frames_have_no_class_to_balance_by(data):
    data.balanced = "class"
    with pytest.raises(InputError, match="no class of its own"):
        next(iter(data.train_dataloader()))
