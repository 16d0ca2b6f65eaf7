import dataclasses

import cv2
import numpy as np
import pytest

from deeprob.errors import InputError
from deeprob.geometry.camera import project_points
from deeprob.geometry.raster import NOBODY
from deeprob.geometry.transform import invert_transform, transform_points
from deeprob.sim.generator import Generator
from deeprob.sim.look import draw_look
from deeprob.sim.render import to_frame
from deeprob.sim.settings import LookSettings

from .conftest import small


def amodal(view, i):
    return view.cover >> np.uint32(i) & 1 == 1


def test_visible_pixels_lie_inside_the_silhouette(views):
    for scene, view in views:
        for i in range(len(scene.models)):
            assert amodal(view, i)[view.owner == i].all()


def test_counts_and_boxes_agree_with_the_masks(views):
    for scene, view in views:
        for i in range(len(scene.models)):
            for mask, row in ((view.owner == i, view.visible[i]), (amodal(view, i), view.amodal[i])):
                assert row[0] == mask.sum()
                if row[0]:
                    y, x = np.nonzero(mask)
                    assert row[1:].tolist() == [x.min(), y.min(), x.max(), y.max()]


def test_an_object_alone_inside_the_picture_is_wholly_visible(views):
    found = 0
    for scene, view in views:
        for i in range(len(scene.models)):
            if (view.owner == i)[amodal(view, i)].all() and view.whole[i, 0] == view.amodal[i, 0] > 0:
                assert view.visible_fraction[i] == 1
                found += 1
    assert found


def test_projected_vertices_span_the_silhouette(generator, views):
    for scene, view in views:
        T_cam_world = invert_transform(view.T_world_cam)
        for i, model in enumerate(scene.models):
            if view.whole[i, 0] != view.amodal[i, 0] or not view.whole[i, 0]:
                continue
            points = scene.scale[i] * generator.objects[model].mesh.vertices
            pixels = project_points(view.K, transform_points(T_cam_world @ scene.T_world_obj[i], points))
            left, top, right, bottom = view.amodal[i, 1:]  # a slender tip may pass between pixel centres
            assert (pixels.min(axis=0) > [left - 3, top - 3]).all()
            assert (pixels.max(axis=0) < [right + 3, bottom + 3]).all()


def test_depth_of_the_table_is_the_plane_z_0(views):
    _, view = views[0]
    v, u = np.nonzero((view.owner == NOBODY) & (view.depth_m > 0))
    rays = np.stack([u, v, np.ones_like(u)], axis=1) @ np.linalg.inv(view.K).T
    points = transform_points(view.T_world_cam, rays * view.depth_m[v, u, None])
    np.testing.assert_allclose(points[:, 2], 0, atol=1e-6)


def test_what_is_hardly_visible_is_no_target_but_a_region(views):
    for scene, view in views:
        frame = to_frame(view, scene, source="sim", key="k", min_visible=0.9)
        assert all(instance.visible_fraction >= 0.9 for instance in frame.instances)
        assert len(frame.instances) == (view.visible_fraction >= 0.9).sum()
        hidden = (view.visible[:, 0] > 0) & (view.visible_fraction < 0.9)
        assert [i.class_id for i in frame.crowds] == scene.models[: len(hidden)][hidden].tolist()


def test_boxes_enclose_the_visible_pixels_to_their_outer_edges(views):
    scene, view = views[0]
    for instance in to_frame(view, scene, source="sim", key="k", min_visible=0.1).instances:
        y, x = np.nonzero(instance.mask)
        assert instance.box_xyxy.tolist() == [x.min() - 0.5, y.min() - 0.5, x.max() + 0.5, y.max() + 0.5]


def test_a_view_is_the_same_whatever_was_rendered_before(generator):
    scene = generator.scene("train", 0)
    first = generator.view(scene, "train", 0, 1)
    generator.view(generator.scene("train", 2), "train", 2, 0)
    np.testing.assert_array_equal(generator.view(scene, "train", 0, 1).image, first.image)


def test_shadows_darken_the_table_and_nothing_else():
    plain = LookSettings(
        noise=[0, 0], blur=[0, 0], specular=[0, 0], shadow_strength=[0.9, 0.9], light_elevation=[40, 40]
    )
    lit, shaded = (
        Generator(small(look=dataclasses.replace(plain, shadows=shadows))) for shadows in (False, True)
    )
    scene = lit.scene("train", 0)
    a, b = (generator.view(scene, "train", 0, 0) for generator in (lit, shaded))
    table = (a.owner == NOBODY) & (a.depth_m > 0)
    darker = (b.image.astype(int) - a.image).sum(axis=2)
    assert (darker <= 0).all()
    assert (darker[table] < -20).mean() > 0.02
    assert (darker[(a.owner == NOBODY) & (a.depth_m == 0)] == 0).all()


@pytest.mark.parametrize("knob", ["noise", "blur"])
def test_a_sensor_knob_can_be_switched_off(knob):
    off = LookSettings(noise=[0, 0], blur=[0, 0])
    on = dataclasses.replace(off, **{knob: [2.0, 2.0]})
    plain, changed = Generator(small(look=off)), Generator(small(look=on))
    scene = plain.scene("train", 0)
    a, b = (generator.view(scene, "train", 0, 0) for generator in (plain, changed))
    assert (a.image != b.image).any()
    np.testing.assert_array_equal(a.owner, b.owner)
    np.testing.assert_array_equal(a.image, plain.view(scene, "train", 0, 0).image)


def test_the_masks_of_a_frame_are_what_the_picture_shows(views):
    for scene, view in views:
        frame = to_frame(view, scene, source="sim", key="k", min_visible=0.0)
        seen = [i for i in range(scene.labelled) if view.visible[i, 0]]
        assert len(seen) == len(frame.instances)
        for i, instance in zip(seen, frame.instances, strict=True):
            np.testing.assert_array_equal(instance.mask, view.owner == i)
            np.testing.assert_array_equal(instance.amodal_mask, amodal(view, i))


def looks(**changes):
    """The same scene and view in a plain look, and in that look with changes."""
    plain = LookSettings(noise=[0, 0], blur=[0, 0], tint=0.0, light_tint=0.0, specular=[0, 0])
    generators = [
        Generator(small(look=dataclasses.replace(plain, recolour=0.0, **more))) for more in ({}, changes)
    ]
    scene = generators[0].scene("train", 0)
    return scene, *(generator.view(scene, "train", 0, 0) for generator in generators)


def test_objects_are_wrapped_in_textures_and_their_labels_stay():
    _, plain, wrapped = looks(retexture=1.0)
    objects = plain.owner != NOBODY
    assert (plain.image != wrapped.image).any(axis=2)[objects].mean() > 0.9
    np.testing.assert_array_equal(plain.image[~objects], wrapped.image[~objects])
    for name in ("owner", "cover", "depth_m", "visible", "amodal", "whole"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(wrapped, name))


def test_objects_are_wrapped_in_the_pictures_of_a_folder(tmp_path):
    cv2.imwrite(str(tmp_path / "blue.png"), np.full((40, 60, 3), (250, 10, 10), np.uint8))  # BGR
    _, _, wrapped = looks(retexture=1.0, object_textures=str(tmp_path), diffuse=[0, 0])
    red, green, blue = wrapped.image[wrapped.owner != NOBODY].astype(int).T
    assert (blue > 4 * red).all()
    assert (blue > 4 * green).all()


def test_only_some_objects_are_wrapped_when_the_probability_is_between():
    settings = LookSettings(retexture=0.5)
    share = np.mean([(draw_look(settings, 8, np.random.default_rng(k)).skin >= 0).mean() for k in range(40)])
    assert share == pytest.approx(0.5, abs=0.1)
    assert (draw_look(LookSettings(), 8, np.random.default_rng(0)).skin == -1).all()


def test_a_folder_of_pictures_lies_on_the_table_and_behind_it(tmp_path):
    cv2.imwrite(str(tmp_path / "green.jpg"), np.full((50, 50, 3), (10, 240, 10), np.uint8))
    folder = str(tmp_path)
    _, _, view = looks(table_textures=folder, backgrounds=folder)
    red, green, blue = view.image[view.owner == NOBODY].astype(int).T
    assert (green > 2 * red).all()
    assert (green > 2 * blue).all()
    with pytest.raises(InputError, match=r"sim.look.object_textures: no pictures in /nowhere"):
        looks(object_textures="/nowhere")


def test_the_texture_keeps_to_its_object_when_the_object_moves():
    scene, before, _ = looks()
    settings = small(look=LookSettings(retexture=1.0, noise=[0, 0], blur=[0, 0], shadows=False))
    generator = Generator(settings)
    K, T_world_cam = before.K, before.T_world_cam
    look = draw_look(settings.look, len(scene.models), np.random.default_rng(1))
    look = dataclasses.replace(look, diffuse=np.zeros(3), specular=0.0, background=0)
    turn = np.eye(4)
    turn[:2, :2] = [[0, -1], [1, 0]]  # camera and objects turn together about the vertical
    turned = dataclasses.replace(
        scene, T_world_obj=turn @ scene.T_world_obj, centres=scene.centres @ turn[:3, :3].T
    )
    a = generator.renderer.render(scene, K, T_world_cam, look)
    b = generator.renderer.render(turned, K, turn @ T_world_cam, look)
    same = (a.owner == b.owner) & (a.owner != NOBODY)
    assert same.sum() > 0.99 * (a.owner != NOBODY).sum()
    assert (np.abs(a.image.astype(int) - b.image)[same].max(axis=1) <= 1).mean() > 0.99
