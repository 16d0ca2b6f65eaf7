import numpy as np

from deeprob.sim.shard import DEPTH_STEP, read_shard, write_shard


def test_a_shard_is_read_back_the_same(tmp_path, views):
    write_shard(tmp_path / "a.npz", views)
    for (scene, view), (scene_again, again) in zip(views, read_shard(tmp_path / "a.npz"), strict=True):
        assert scene_again.key == scene.key
        for name in ("models", "scale", "T_world_obj"):
            np.testing.assert_array_equal(getattr(scene_again, name), getattr(scene, name))
        for name in ("image", "owner", "cover", "visible", "amodal", "whole", "K", "T_world_cam"):
            np.testing.assert_array_equal(getattr(again, name), getattr(view, name))
        np.testing.assert_allclose(again.depth_m, view.depth_m, atol=0.51 * DEPTH_STEP)


def test_equal_views_give_equal_bytes(tmp_path, views):
    for name in ("a.npz", "b.npz"):
        write_shard(tmp_path / name, views)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
