import dataclasses

import numpy as np
import pytest

from deeprob.errors import InputError
from deeprob.geometry.raster import NOBODY
from deeprob.sim.fixtures import find_place
from deeprob.sim.generator import Generator
from deeprob.sim.settings import LookSettings, SceneSettings

from .conftest import small


@pytest.mark.parametrize("arrangement", ["scatter", "stack", "bin", "shelf", "turntable"])
def test_objects_rest_where_the_arrangement_wants_them(arrangement):
    generator = Generator(small(scene=SceneSettings(arrangement=arrangement, objects=[3, 3])))
    place = find_place(arrangement, 0.2, [0.6, 0.6])
    for index in range(3):
        scene = generator.scene("train", index)
        centres = scene.centres[: scene.labelled]
        assert len(centres) == (1 if arrangement == "turntable" else 3)
        assert (np.abs(centres[:, :2]) < place.limit).all()
        assert (centres[:, 2] > min(place.floors)).all()
        generator.view(scene, "train", index, 0)


def test_furniture_and_distractors_are_drawn_and_have_no_label():
    settings = small(scene=SceneSettings(arrangement="bin", objects=[1, 1], distractors=[2, 2]))
    generator = Generator(settings)
    scene = generator.scene("train", 0)
    assert (scene.labelled, scene.loose, len(scene.models)) == (1, 3, 4)
    view = generator.view(scene, "train", 0, 0)
    assert len(view.visible) == 1
    assert set(np.unique(view.owner[view.owner < scene.labelled])) <= {0}
    rays = (
        np.stack([*np.meshgrid(np.arange(64), np.arange(48)), np.ones((48, 64))], axis=-1)
        @ np.linalg.inv(view.K).T
    )
    points = rays * view.depth_m[..., None] @ view.T_world_cam[:3, :3].T + view.T_world_cam[:3, 3]
    above = (view.owner != 0) & (view.depth_m > 0) & (points[..., 2] > 0.02)
    assert above.sum() > 50


def test_no_kind_comes_twice_when_repeats_are_off():
    generator = Generator(small(scene=SceneSettings(objects=[3, 3], repeats=False)))
    for index in range(5):
        assert sorted(generator.scene("train", index).models) == [0, 1, 2]


def test_a_turntable_is_seen_from_all_around():
    generator = Generator(small(views=4, scene=SceneSettings(arrangement="turntable")))
    angles = [np.arctan2(*view.T_world_cam[[1, 0], 3]) for _, view in generator.views("train", 0)]
    np.testing.assert_allclose(np.diff(np.unwrap(angles)), np.pi / 2, atol=0.35)


def test_tables_and_backgrounds_come_from_folders_of_pictures(tmp_path):
    import cv2

    cv2.imwrite(str(tmp_path / "red.png"), np.full((40, 60, 3), (0, 0, 200), np.uint8))
    plain = LookSettings(
        table_textures=str(tmp_path),
        backgrounds=str(tmp_path),
        tint=0,
        light_tint=0,
        noise=[0, 0],
        specular=[0, 0],
    )
    view = next(view for _, view in Generator(small(look=plain)).views("train", 0))
    table = view.image[(view.owner == NOBODY) & (view.depth_m > 0)]
    assert table[:, 0].min() > 20
    assert table[:, 1:].max() < 40


@pytest.mark.parametrize("field", ["table_textures", "backgrounds"])
def test_a_folder_without_pictures_names_its_field(tmp_path, field):
    look = dataclasses.replace(LookSettings(), **{field: str(tmp_path)})
    with pytest.raises(InputError, match=f"no pictures in .*{field}|sim.look.{field}: no pictures"):
        Generator(small(look=look))


def test_tinyrenderer_gives_the_same_labels():
    ours, tiny = (Generator(small(renderer=renderer)) for renderer in ("ours", "tiny"))
    scene = ours.scene("train", 0)
    a, b = (generator.view(scene, "train", 0, 0) for generator in (ours, tiny))
    assert (a.owner == b.owner).mean() > 0.998
    np.testing.assert_allclose(a.visible, b.visible, atol=3)
    np.testing.assert_array_equal(a.K, b.K)
