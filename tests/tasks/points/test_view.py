from pathlib import Path

import numpy as np
import pytest
import torch

from deeprob.data.batches.augment import stream
from deeprob.data.batches.datamodule import PerceptionData
from deeprob.data.batches.materialise import materialise
from deeprob.data.batches.samples import Ragged
from deeprob.data.readers.points import PointsSource, visible_points
from deeprob.data.settings import PointAugmentation
from deeprob.errors import InputError
from deeprob.tasks.classification.view import ClassificationView
from deeprob.tasks.part_segmentation.view import PartsView
from deeprob.tasks.points.clouds import augment_points, shape_distribution, spread
from deeprob.tasks.points.view import PointCollate, PointsView

SPLITS = {name: ["*"] for name in ("train", "val", "test")}
VIEW = PointsView(num_points=32, viewpoints={"train": 6, "val": 3, "test": 3})


def surface(shape: str, count: int = 1000) -> np.ndarray:
    """Points on a ball of 5 cm, or on a brick of 20 x 10 x 4 cm."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(count, 3))
    if shape == "ball":
        return 0.05 * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    directions /= np.abs(directions).max(1, keepdims=True)
    return directions * (0.1, 0.05, 0.02)


@pytest.fixture
def source(tmp_path: Path) -> PointsSource:
    root = tmp_path / "shapes"
    root.mkdir()
    for shape in ("ball", "brick"):
        np.save(root / f"{shape}.npy", surface(shape))
    return PointsSource(root, SPLITS)


def data(source: PointsSource, view: PointsView = VIEW, **options) -> PerceptionData:
    return PerceptionData(source, view, batch_size=4, progress=False, **options)


def test_every_object_is_a_sample_from_each_viewpoint(source: PointsSource) -> None:
    split = materialise(source, "train", VIEW, progress=False)
    assert len(split) == 12
    assert split.labels.tolist() == [0] * 6 + [1] * 6
    assert len(set(split.units.tolist())) == 12
    assert split.group_names == ("ball", "brick")
    assert split.keys[0].startswith("ball.npy view ")


@pytest.mark.parametrize("orientation", ["any", "vertical", "fixed"])
def test_no_viewpoint_is_in_two_splits(source: PointsSource, orientation: str) -> None:
    view = PointsView(viewpoints={"train": 6, "val": 3, "test": 3}, orientation=orientation)
    numbers = [set(view.turns(split)[0]) for split in SPLITS]
    assert set.union(*numbers) == set(range(12))
    assert sum(map(len, numbers)) == 12


def test_viewpoints_are_spread_over_all_directions() -> None:
    _, turns = PointsView(viewpoints={"train": 300}).turns("train")
    np.testing.assert_allclose(turns @ turns.transpose(0, 2, 1), np.tile(np.eye(3), (300, 1, 1)), atol=1e-9)
    assert np.linalg.det(turns) == pytest.approx(1)
    towards = -turns[:, 2]  # from the object to the camera
    np.testing.assert_allclose(towards.mean(0), 0, atol=0.02)
    nearest = np.sort(towards @ towards.T, axis=1)[:, -2]
    assert np.degrees(np.arccos(nearest)).min() > 5


def test_a_vertical_ring_keeps_the_object_upright() -> None:
    _, turns = PointsView(viewpoints={"train": 20}, orientation="vertical").turns("train")
    up = turns @ np.array([0, 0, 1.0])
    np.testing.assert_allclose(up[:, 0], 0, atol=1e-9)
    assert (up[:, 1] < 0).all()  # y points down


def test_a_camera_sees_the_front_of_a_ball() -> None:
    points = surface("ball", 2000) + np.array([0, 0, 0.8])
    seen = visible_points(points)
    front = points[:, 2] < 0.8 - 0.05 * 0.05 / 0.8  # up to the tangents from the camera
    assert (np.isin(np.arange(2000), seen) == front).mean() > 0.95


def test_what_a_wall_hides_is_not_seen() -> None:
    rng = np.random.default_rng(0)
    wall = np.column_stack([rng.uniform(-0.1, 0.1, (3000, 2)), np.full(3000, 0.8)])
    behind = np.column_stack([rng.uniform(-0.03, 0.03, (50, 2)), np.full(50, 0.9)])
    seen = visible_points(np.concatenate([wall, behind]))
    assert (seen < 3000).mean() > 0.99
    assert len(seen) > 2500


def test_visibility_of_too_few_points_is_refused() -> None:
    with pytest.raises(InputError, match="visibility of 2 points"):
        visible_points(np.ones((2, 3)))


def test_a_partial_view_is_the_near_part_of_the_whole_one(source: PointsSource) -> None:
    partial = PointsView(num_points=250, viewpoints=VIEW.viewpoints, partial=True)
    whole = materialise(
        source, "test", PointsView(num_points=250, viewpoints=VIEW.viewpoints), progress=False
    )
    seen = materialise(source, "test", partial, progress=False)
    assert (whole.points.counts == 1000).all()
    assert (seen.points.counts < 700).all()
    for index in range(3):  # of a ball at most the front half is left, about its own mean
        depth = seen.points[index][:, 2]
        assert depth.max() - depth.min() < 0.06


def test_batches_are_a_function_of_seed_epoch_and_number(source: PointsSource) -> None:
    knobs = PointAugmentation(rotate=3.1, axis="any", jitter=0.001, dropout=0.3, scale=0.1, shift=0.01)
    view = PointsView(num_points=16, noise=0.001, viewpoints=VIEW.viewpoints)
    first, again = (data(source, view, augmentation=knobs, num_workers=n).train_dataloader() for n in (0, 2))
    for _ in range(2):
        for a, b in zip(first, again, strict=True):
            assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert not torch.equal(first.batches[0, 0].points, first.batches[1, 0].points)


def test_evaluation_shows_a_sample_the_same_in_any_batch(source: PointsSource) -> None:
    view = PointsView(num_points=16, noise=0.002, viewpoints=VIEW.viewpoints)
    split = materialise(source, "val", view, progress=False)
    cut = view.collate((), ())
    together = cut(split, torch.arange(4), stream(1)).points
    assert torch.equal(cut(split, torch.tensor([2]), stream(2)).points[0], together[2])


def test_points_are_metres_over_the_scale_about_their_mean(source: PointsSource) -> None:
    view = PointsView(num_points=1000, scale=0.05, viewpoints=VIEW.viewpoints)
    split = materialise(source, "val", view, progress=False)
    points = view.collate((), ())(split, torch.tensor([0]), stream(0)).points
    assert points.shape == (1, 1000, 3)
    torch.testing.assert_close(points.norm(dim=2).mean(), torch.tensor(1.0), atol=0.05, rtol=0)
    torch.testing.assert_close(points.mean(1), torch.zeros(1, 3), atol=0.01, rtol=0)


def test_sampling_takes_every_point_once_where_all_are_wanted() -> None:
    clouds = Ragged(torch.arange(30.0), torch.tensor([0, 10, 30]))
    rows = spread(clouds, torch.tensor([1, 0]), 20, stream(0))
    assert sorted(rows[0].tolist()) == list(range(10, 30))
    assert torch.bincount(rows[1], minlength=10).tolist() == [2] * 10


def test_augmentation_turns_scales_and_moves_whole_clouds() -> None:
    points = torch.randn(6, 50, 3, generator=torch.Generator().manual_seed(0))
    moved, _ = augment_points(points, PointAugmentation(rotate=3, axis="any"), stream(0))
    torch.testing.assert_close(torch.pdist(moved[0]), torch.pdist(points[0]), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(moved, points, atol=0.1)
    rolled, _ = augment_points(points, PointAugmentation(rotate=3), stream(0))
    torch.testing.assert_close(rolled[..., 2], points[..., 2])
    scaled, _ = augment_points(points, PointAugmentation(scale=0.5), stream(0))
    ratio = (scaled / points).mean((1, 2))
    assert ((ratio > 1 / 1.5) & (ratio < 1.5)).all()
    shifted, _ = augment_points(points, PointAugmentation(shift=0.2), stream(0))
    offset = shifted - points
    torch.testing.assert_close(offset, offset[:, :1].expand_as(offset))
    assert 0 < offset.abs().max() <= 0.2


def test_dropped_points_are_copies_and_say_of_which() -> None:
    points = torch.randn(5, 40, 3, generator=torch.Generator().manual_seed(0))
    dropped, source = augment_points(points, PointAugmentation(dropout=0.9), stream(3))
    assert torch.equal(dropped, points.gather(1, source[..., None].expand(-1, -1, 3)))
    assert len(dropped[0].unique(dim=0)) < 40


@pytest.mark.parametrize(
    ("options", "said"), [({"axis": "y"}, "augmentation.axis is 'y'"), ({"dropout": 2.0}, "0 to 1")]
)
def test_impossible_augmentations_are_refused(options: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        PointAugmentation(**options)


@pytest.mark.parametrize(
    "options",
    [{"num_points": 0}, {"scale": 0.0}, {"orientation": "up"}, {"viewpoints": {"train": 0}}, {"noise": -1.0}],
)
def test_impossible_views_are_refused_by_name(options: dict) -> None:
    with pytest.raises(InputError, match=f"view.{next(iter(options))}"):
        PointsView(**options)


def test_a_split_without_viewpoints_is_refused(source: PointsSource) -> None:
    with pytest.raises(InputError, match="no 'test'"):
        materialise(source, "test", PointsView(viewpoints={"train": 2}), progress=False)


def test_objects_in_frames_with_depth_are_clouds_too(readers, tmp_path: Path) -> None:
    readers["bop"].build(tmp_path / "set")
    bop = readers["bop"].open(tmp_path / "set")
    batch = data(bop, PointsView(num_points=50, min_points=10), augmentation=PointAugmentation())
    batch = batch.train_dataloader().batches[0, 0]
    assert batch.points.shape[1:] == (50, 3)
    assert batch.points.isfinite().all()


def test_clouds_have_no_crops(source: PointsSource) -> None:
    with pytest.raises(InputError, match=r"point clouds have no images; .*data/view=points"):
        data(source, ClassificationView()).split("train")


def test_a_changed_cloud_makes_a_new_cache(source: PointsSource, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = materialise(source, "val", VIEW, cache, progress=False)
    again = materialise(source, "val", VIEW, cache, progress=False)
    assert torch.equal(first.points.values, again.points.values)
    assert len(list(cache.iterdir())) == 1
    np.save(source.root / "ball.npy", 2 * surface("ball", 300))
    changed = materialise(source, "val", VIEW, cache, progress=False)
    assert changed.points[0].norm(dim=1).max() > 1.5 * first.points[0].norm(dim=1).max()


def test_shape_distribution_knows_shapes_in_any_orientation(source: PointsSource) -> None:
    train, test = (
        shape_distribution(materialise(source, s, VIEW, progress=False).points) for s in ("train", "test")
    )
    torch.testing.assert_close(train.sum(1), torch.ones(12))
    distance = torch.cdist(test, train)
    assert distance[:3, :6].max() < distance[:3, 6:].min()


def test_clouds_are_drawn_for_the_report(source: PointsSource) -> None:
    split = materialise(source, "val", VIEW, progress=False)
    pictures = split.pictures(torch.tensor([0, 4]))
    assert pictures.shape == (2, 96, 96, 3)
    assert pictures.dtype == np.uint8
    share = (pictures < 255).any(-1).mean((1, 2))
    assert ((share > 0.01) & (share < 0.5)).all()


@pytest.fixture
def parts(tmp_path: Path) -> PointsSource:
    """Balls and bricks in folders of their class, whose upper half is another part."""
    root = tmp_path / "labelled"
    for shape in ("ball", "brick"):
        (root / shape).mkdir(parents=True)
        points = surface(shape)
        np.save(root / shape / "1.npy", np.column_stack([points, points[:, 2] > 0]))
    return PointsSource(root, SPLITS, class_from="folder", part_names=["lower", "upper"])


def test_parts_come_with_their_points(parts: PointsSource) -> None:
    view = PartsView(num_points=64, orientation="fixed", viewpoints={"train": 2})
    dm = data(parts, view, augmentation=PointAugmentation(dropout=0.5))
    assert dm.classes == ("lower", "upper")
    assert parts.classes == ("ball", "brick")
    batch = dm.train_dataloader().batches[0, 0]
    assert batch.labels.shape == (4, 64)
    edge = batch.points[..., 2].abs() < 0.05  # the mean is not exactly the middle
    assert ((batch.points[..., 2] > 0).long() == batch.labels)[~edge].all()


def test_points_without_parts_are_refused_by_the_parts_view(source: PointsSource) -> None:
    with pytest.raises(InputError, match="the points have no parts"):
        _ = data(source, PartsView()).classes


@pytest.mark.parametrize("part", [2.0, -1.0, 0.5])
def test_a_part_without_a_name_is_refused(parts: PointsSource, part: float) -> None:
    rows = np.column_stack([surface("ball", 10), np.zeros(10)])
    rows[3, 3] = part
    np.save(parts.root / "ball" / "1.npy", rows)
    with pytest.raises(InputError, match=r"1.npy: point 3 has part .*; expected 0 to 1"):
        parts.clouds("train")


def test_cut_without_augmentation_needs_no_random_numbers(source: PointsSource) -> None:
    split = materialise(source, "val", VIEW, progress=False)
    cut = PointCollate(8, 0.1)
    one, other = (cut(split, torch.arange(3), stream(seed)) for seed in (0, 1))
    assert torch.equal(one.points, other.points)
