import numpy as np
import pytest

from deeprob.config import compose, options
from deeprob.data.batches.loader import BatchLoader
from deeprob.errors import InputError
from deeprob.schema import LEAVES
from deeprob.schema.models import NetworkSettings
from deeprob.training.overfit import NotOverfitError, few_images
from deeprob.training.run import train_run
from deeprob.training.sources import make_data


def networks():
    """The options of `model` that are trained step by step."""
    for name in sorted(set(options("model")) - {"own"}):  # own: a model from outside
        target = compose("train", ["name=any", f"model={name}"]).model._target_
        # These tasks have tests of their own: tasks/detection, tasks/pose and models/segmentation.
        if any(f".{task}." in target for task in ("detection", "pose", "segmentation")):
            continue
        if issubclass(LEAVES.get(target, object), NetworkSettings):
            yield name


def test_fifty_images_are_overfit_and_said_so(trained, capsys):
    run = trained("a", "trainer.overfit=50")
    assert "overfit  top1_accuracy 1.0000 on 50 training samples after " in capsys.readouterr().out
    accuracies = [row["val/top1_accuracy"] for row in run.read_metrics() if "val/top1_accuracy" in row]
    assert accuracies[-1] == 1.0
    assert all(accuracy < 1.0 for accuracy in accuracies[:-1])


def test_a_network_that_does_not_learn_says_how_far_it_came(trained, monkeypatch):
    monkeypatch.setattr("deeprob.training.overfit.STEPS", 20)
    with pytest.raises(
        NotOverfitError, match=r"overfit  top1_accuracy 0\.\d+ on 50 training samples after 20 steps"
    ):
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


@pytest.fixture
def clouds(tmp_path):
    """Write three shapes of 200 points each; return the overrides of their data."""
    draw = np.random.default_rng(0)
    directions = draw.standard_normal((200, 3))
    shapes = {
        "ball": directions / np.linalg.norm(directions, axis=1, keepdims=True),
        "box": draw.uniform(-1, 1, (200, 3)),
        "rod": draw.uniform(-1, 1, (200, 3)) * [0.1, 0.1, 1],
    }
    for name, points in shapes.items():
        (tmp_path / "clouds").mkdir(exist_ok=True)
        np.savetxt(tmp_path / "clouds" / f"{name}.xyz", points)
    return ["data=points", f"data.root={tmp_path / 'clouds'}", "data.view.num_points=64"]


# The wiring is what a handful of images proves; at their published widths these three take minutes.
NARROW = {"resnet18": "model.width=16", "resnet34": "model.width=16", "resnet50": "model.width=16"}


@pytest.mark.slow
@pytest.mark.parametrize("model", [m for m in networks() if m != "pointnet_parts"])  # pointnet, other labels
def test_every_network_overfits_a_handful(squares_overrides, new_run, capsys, clouds, model):
    kept = [o for o in squares_overrides if not o.startswith(("model.", "optim.", "data."))]
    images = [o for o in squares_overrides if o.startswith("data.root")]
    data = clouds if model == "pointnet" else [*images, "data.view.size=32"]
    more = [f"model={model}", "optim=adamw", "trainer.overfit=50", "data.batch_size=25"]
    more += [NARROW[model]] if model in NARROW else []
    train_run(compose("train", [*kept, *data, *more]), new_run(model), [])
    assert "overfit  top1_accuracy 1.0000 on 50" in capsys.readouterr().out
