import dataclasses

import pytest

from deeprob.errors import InputError
from deeprob.sim.settings import CameraSettings, LookSettings, SceneSettings, SimSettings, check_settings


def test_the_defaults_are_valid():
    check_settings(SimSettings())


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        (SimSettings(scene=SceneSettings(objects=[3, 1])), "sim.scene.objects"),
        (SimSettings(scene=SceneSettings(objects=[0, 2])), "sim.scene.objects"),
        (SimSettings(scene=SceneSettings(scale=[0.0, 1.0])), "sim.scene.scale"),
        (SimSettings(scene=SceneSettings(spread=float("nan"))), "sim.scene.spread"),
        (SimSettings(camera=CameraSettings(width=0)), "sim.camera.width"),
        (SimSettings(camera=CameraSettings(K=[100.0, 100.0])), "sim.camera.K"),
        (SimSettings(camera=CameraSettings(K=[0.0, 100.0, 5.0, 5.0])), "camera.K"),
        (SimSettings(camera=CameraSettings(near=0.0)), "sim.camera.near"),
        (SimSettings(look=LookSettings(noise=[1.0])), "sim.look.noise"),
        (SimSettings(look=LookSettings(blur=[0.0, float("inf")])), "sim.look.blur"),
        (SimSettings(views=0), "sim.views"),
        (SimSettings(min_visible=1.5), "sim.min_visible"),
    ],
)
def test_an_impossible_value_names_its_field(settings, field):
    with pytest.raises(InputError) as caught:
        check_settings(settings)
    assert str(caught.value).startswith(field)


def test_the_settings_are_a_valid_hydra_schema():
    from omegaconf import OmegaConf

    merged = OmegaConf.merge(OmegaConf.structured(SimSettings), {"seed": 3, "look": {"noise": [0, 1]}})
    settings = OmegaConf.to_object(merged)
    assert settings == dataclasses.replace(SimSettings(), seed=3, look=LookSettings(noise=[0.0, 1.0]))
