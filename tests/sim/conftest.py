import pytest

from deeprob.sim.generator import Generator
from deeprob.sim.settings import CameraSettings, ObjectSettings, SceneSettings, SimSettings


def small(**changes):
    """Settings of a data set that renders in a moment: three light objects, 64 x 48 pixels."""
    values = {
        "train_scenes": 3,
        "val_scenes": 1,
        "test_scenes": 1,
        "views": 2,
        "objects": ObjectSettings(names=["domino", "cone", "mug"]),
        "scene": SceneSettings(objects=[2, 4]),
        "camera": CameraSettings(width=64, height=48),
    }
    return SimSettings(**{**values, **changes})


@pytest.fixture(scope="session")
def generator():
    """One small generator for all tests that only look."""
    return Generator(small())


@pytest.fixture(scope="session")
def views(generator):
    """A few views with their scenes."""
    return [pair for index in range(4) for pair in generator.views("train", index)]
