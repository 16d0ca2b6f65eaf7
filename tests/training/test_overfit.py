import pytest

from deeprob.config import compose, options
from deeprob.data.loader import BatchLoader
from deeprob.errors import InputError
from deeprob.schema import LEAVES
from deeprob.schema.models import NetworkSettings
from deeprob.training.overfit import NotLearnedError, few_images
from deeprob.training.run import train
from deeprob.training.trainer import make_data


def networks():
    """The options of `model` that are trained step by step."""
    for name in options("model"):
        target = compose("train", ["name=any", f"model={name}"]).model._target_
        if issubclass(LEAVES.get(target, object), NetworkSettings):
            yield name


def test_fifty_images_are_learned_by_heart_and_said_so(trained, capsys):
    run = trained("a", "trainer.overfit=50")
    assert "overfit  50 of 50 training images right after " in capsys.readouterr().out
    accuracies = [row["val/top1_accuracy"] for row in run.read_metrics() if "val/top1_accuracy" in row]
    assert accuracies[-1] == 1.0
    assert all(accuracy < 1.0 for accuracy in accuracies[:-1])


def test_a_network_that_does_not_learn_says_how_far_it_came(trained, monkeypatch):
    monkeypatch.setattr("deeprob.training.overfit.STEPS", 20)
    with pytest.raises(NotLearnedError, match=r"overfit  \d+ of 50 training images .* after 20 steps \(\d"):
        trained("a", "trainer.overfit=50", "optim.optimizer.lr=0")


def test_the_images_are_the_same_few_without_augmentation(squares_config):
    data = make_data(squares_config("trainer.overfit=10"))
    loaders = few_images(data, 10, seed=3)
    train, val = loaders["train_dataloaders"], loaders["val_dataloaders"]
    assert isinstance(train, BatchLoader)
    seen = {tuple(image.flatten().tolist()) for batch in train for image in batch.images}
    shown = {tuple(image.flatten().tolist()) for batch in val for image in batch.images}
    assert seen == shown
    assert len(shown) == 10
    assert len(train) >= 10


def test_several_processes_are_refused(trained):
    with pytest.raises(InputError, match=r"trainer\.overfit is for one process"):
        trained("a", "trainer.overfit=50", "trainer.devices=2")


@pytest.mark.slow
@pytest.mark.parametrize("model", list(networks()))
def test_every_network_learns_a_handful_by_heart(squares_overrides, new_run, capsys, model):
    kept = [o for o in squares_overrides if not o.startswith(("model.", "optim.", "data.view"))]
    more = [f"model={model}", "data.view.size=32", "optim=adamw", "trainer.overfit=50", "data.batch_size=25"]
    train(compose("train", [*kept, *more]), new_run(model), [])
    assert "overfit  50 of 50" in capsys.readouterr().out
