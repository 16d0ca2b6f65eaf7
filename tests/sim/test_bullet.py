import dataclasses

import numpy as np
import pytest

from deeprob.errors import InputError
from deeprob.geometry.raster import NOBODY
from deeprob.sim.bullet import BulletRenderer
from deeprob.sim.generator import Generator
from deeprob.sim.library import Library
from deeprob.sim.look import draw_camera, draw_look
from deeprob.sim.physics import scene_rng
from deeprob.sim.render import Renderer
from deeprob.sim.settings import CameraSettings, ObjectSettings, SceneSettings, SimSettings

WIDTH, HEIGHT, NEAR = 160, 120, 0.1


def compare(settings, scenes):
    """Ours and TinyRenderer's renderings of the same scenes, no table, no shadow, no sensor."""
    generator = Generator(settings)
    library = Library(generator.objects, [0, 0])
    ours, tiny = (
        Renderer(library, WIDTH, HEIGHT, NEAR, settings.look, 0),
        BulletRenderer(library, WIDTH, HEIGHT, NEAR),
    )
    for index in range(scenes):
        scene, rng = generator.scene("train", index), scene_rng(0, "oracle", index)
        K, T_world_cam = draw_camera(settings.camera, scene, np.zeros(len(scene.models)), rng, 0.0)
        look = draw_look(settings.look, len(scene.models), rng)
        look = dataclasses.replace(look, blur=0, noise=0, gain=1, offset=0, shadow_strength=0)
        yield ours.render(scene, K, T_world_cam, look), tiny.render(scene, K, T_world_cam, look)
    tiny.close()
    generator.simulator.close()


def check(pairs):
    owners, covers, depth, color = [], [], [], []
    for a, b in pairs:
        both = (a.owner == b.owner) & (a.owner != NOBODY)
        owners.append((a.owner == b.owner).mean())
        covers.append((a.cover == b.cover).mean())
        depth.append(np.abs(a.depth_m - b.depth_m)[both])
        color.append(np.abs(a.image[both].astype(int) - b.image[both]).mean())
        assert np.abs(a.whole[:, 0] - b.whole[:, 0]).max() <= 2
    assert np.mean(owners) >= 0.9999
    assert np.mean(covers) >= 0.9999
    assert np.percentile(np.concatenate(depth), 99.9) < 1e-5  # metres
    assert np.mean(color) < 10  # grey levels of 255


@pytest.mark.slow
def test_ours_agrees_with_tinyrenderer_on_textured_and_plain_objects():
    names = ["domino", "cone", "mug", "duck"]
    K = [170.0, 160.0, 70.5, 66.2]  # a principal point far from the middle, pixels that are not square
    camera = CameraSettings(width=WIDTH, height=HEIGHT, near=NEAR, K=K)
    check(compare(SimSettings(objects=ObjectSettings(names=names), camera=camera), 2))


@pytest.mark.slow
def test_ours_agrees_with_tinyrenderer_on_all_everyday_objects():
    camera = CameraSettings(width=WIDTH, height=HEIGHT, near=NEAR)
    check(compare(SimSettings(scene=SceneSettings(objects=[8, 8]), camera=camera), 12))


@pytest.mark.slow
def test_egl_agrees_where_it_starts(capfd):
    camera = CameraSettings(width=WIDTH, height=HEIGHT, near=NEAR)
    settings = SimSettings(objects=ObjectSettings(names=["domino", "cone", "mug"]), camera=camera)
    ours = Generator(settings)
    try:
        egl = Generator(dataclasses.replace(settings, renderer="egl"))
    except InputError as error:
        pytest.skip(str(error))
    owners, depth = [], []
    for index in range(3):  # of one kind in several sizes, too
        scene = ours.scene("train", index)
        a, b = (generator.view(scene, "train", index, 0) for generator in (ours, egl))
        both = (a.owner == b.owner) & (a.owner != NOBODY)
        owners += [(a.owner == b.owner).mean(), (a.cover == b.cover).mean()]
        depth.append(np.abs(a.depth_m - b.depth_m)[both])
    assert np.mean(owners) >= 0.9999
    assert np.percentile(np.concatenate(depth), 99.9) < 1e-4  # metres: the driver's depth has fewer bits
    egl.renderer.close()
    assert capfd.readouterr() == ("", "")
