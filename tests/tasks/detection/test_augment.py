"""Windows of frames: every box lies where its paint went."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from deeprob.data.batches.augment import augment_with_maps, stream
from deeprob.data.batches.datamodule import PerceptionData
from deeprob.data.frame import Frame, Instance
from deeprob.data.readers.reading import Frames
from deeprob.data.settings import Augmentation, DetectionAugmentation
from deeprob.data.source import Source
from deeprob.errors import InputError
from deeprob.tasks.detection.augment import lay_out, quarter_turns
from deeprob.tasks.detection.view import DetectionView

HEIGHT, WIDTH = 96, 128
PAINT = torch.tensor([[255.0, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [255, 0, 255], [0, 255, 255]])
CROWD = 5  # the paint of what nobody counted


class Painted(Source):
    """Frames of three painted rectangles on black, of the classes 0 to 4, and one more that is a crowd.

    No two rectangles of a frame have the same paint; the last frame is empty.
    """

    name, real, classes, splits = "painted", True, tuple("abcde"), ("train",)

    def frames(self, split: str) -> Frames[int]:
        return Frames(range(8), self._frame)

    def _frame(self, index: int) -> Frame:
        image, found = np.zeros((HEIGHT, WIDTH, 3), np.uint8), []
        for slot in range(4 if index < 7 else 0):
            paint = CROWD if slot == 3 else (index + slot) % 5
            left, top = 4 + 62 * (slot % 2) + index, 3 + 47 * (slot // 2) + 2 * index
            right, bottom = left + 14 + 6 * slot, top + 10 + 3 * index
            image[top:bottom, left:right] = PAINT[paint].byte().numpy()
            found.append(Instance(paint % 5, np.array([left, top, right, bottom]) - 0.5))
        return Frame(image, tuple(found[:3]), "painted", f"{index}", f"{index}", crowds=tuple(found[3:]))


@pytest.fixture(scope="module")
def split():
    return PerceptionData(Painted(), DetectionView(WIDTH, HEIGHT), progress=False).split("train")


def batch(split, seed: int = 0, **settings):
    collate = DetectionView(WIDTH, HEIGHT).collate((0.0,) * 3, (1.0,) * 3, DetectionAugmentation(**settings))
    return collate(split, torch.arange(len(split)), stream(seed))


def extent(image, paint: int) -> torch.Tensor | None:
    """The box around the pixels of an image (3, H, W) that are of a paint."""
    rows, columns = torch.nonzero(
        (255 * image - PAINT[paint, :, None, None]).abs().amax(0) < 127, as_tuple=True
    )
    if not len(rows):
        return None
    return torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) - 0.5


def area(box) -> float:
    return float((box[2:] - box[:2]).prod())


WINDOWS = [
    {"crop": [64, 80]},
    {"crop": [64, 80], "flip": 0.5, "scale": [0.6, 1.6]},
    {"crop": [72, 80], "flip": 0.5, "quarter_turns": 0.75},
    {"crop": [48, 128], "zoom": 0.5, "aspect": 0.3},
    {"crop": [96, 128], "scale": [0.4, 0.7]},
    {"flip": 0.5, "scale": [0.8, 1.4], "translate": 0.2},
]


@pytest.mark.parametrize("settings", WINDOWS)
def test_boxes_lie_where_the_paint_went(split, settings) -> None:
    found = 0
    for seed in range(4):
        seen = batch(split, seed, min_visible=0.5, **settings)
        assert seen.images.shape == (8, 3, *settings.get("crop", (HEIGHT, WIDTH)))
        for image, boxes, labels in zip(seen.images, seen.boxes, seen.labels, strict=True):
            for box, label in zip(boxes, labels.tolist(), strict=True):
                tight = extent(image, label)
                assert tight is not None
                torch.testing.assert_close(box, tight, atol=0.8, rtol=0)
                found += 1
    assert found > 30


def test_a_window_at_the_frames_own_scale_copies_its_pixels(split) -> None:
    seen = batch(split, crop=[40, 51], flip=0.5)
    values = (255 * seen.images).round()
    assert set(values.unique().tolist()) == {0.0, 255.0}
    torch.testing.assert_close(255 * seen.images, values, atol=1e-3, rtol=0)
    for image, boxes, labels in zip(seen.images, seen.boxes, seen.labels, strict=True):
        for box, label in zip(boxes, labels.tolist(), strict=True):
            torch.testing.assert_close(box, extent(image, label), atol=1e-4, rtol=0)


@pytest.mark.parametrize("settings", WINDOWS[:4])  # the others repeat the frame's border
def test_all_paint_is_in_a_box_or_a_crowd(split, settings) -> None:
    """What is left of an object that is left out is not to be taken for background."""
    ignored = 0
    for seed in range(4):
        seen = batch(split, seed, min_visible=0.9, **settings)
        for image, boxes, crowds in zip(seen.images, seen.boxes, seen.crowds, strict=True):
            bare = (image.amax(0) > 0.5).clone()
            for left, top, right, bottom in (torch.cat([boxes, crowds]) + 0.5).tolist():
                bare[
                    max(0, round(top - 0.8)) : round(bottom + 0.8),
                    max(0, round(left - 0.8)) : round(right + 0.8),
                ] = False
            assert not bare.any()
            ignored += len(crowds)
    assert ignored > 20


def test_matrices_take_boxes_of_the_frame_to_the_image(split) -> None:
    seen = batch(split, crop=[64, 80], flip=0.5, scale=[0.6, 1.6], min_visible=1.0)
    compared = 0
    for index, (matrix, boxes, labels) in enumerate(zip(seen.matrices, seen.boxes, seen.labels, strict=True)):
        own = dict(zip(split.labels[index].tolist(), split.boxes[index].double(), strict=True))
        for box, label in zip(boxes, labels.tolist(), strict=True):
            corners = own[label].view(2, 2) @ matrix[:2, :2].T + matrix[:2, 2]
            expected = torch.cat([corners.amin(0), corners.amax(0)])
            torch.testing.assert_close(box.double(), expected, atol=1e-3, rtol=0)
            compared += 1
    assert compared > 3


def test_a_window_that_is_to_hold_an_object_holds_one_whole(split) -> None:
    whole = {
        share: sum(
            len(boxes)
            for seed in range(10)
            for boxes in batch(split, seed, crop=[48, 48], whole_object=share, min_visible=1.0).boxes[:7]
        )
        for share in (0.0, 1.0)
    }
    with_one = [
        len(boxes) > 0
        for seed in range(10)
        for boxes in batch(split, seed, crop=[48, 48], whole_object=1.0, min_visible=1.0).boxes[:7]
    ]
    assert all(with_one)
    assert whole[1.0] > 1.5 * whole[0.0]


def test_windows_stay_inside_the_frame_and_reach_all_of_it(split) -> None:
    """Frame pixels at a window's corners, over many windows."""
    places = []
    for seed in range(30):
        inverse = torch.linalg.inv(batch(split, seed, crop=[64, 80], whole_object=0.0).matrices)
        places.append(inverse[:, :2, 2])
    left_top = torch.cat(places).round(decimals=4)
    assert left_top.amin(0).tolist() == [0, 0]
    assert left_top.amax(0).tolist() == [WIDTH - 80, HEIGHT - 64]


def test_windows_keep_out_of_the_black_beside_a_frame() -> None:
    view = DetectionView(WIDTH, WIDTH)  # bars of 16 pixels above and below
    split = PerceptionData(Painted(), view, progress=False).split("train")
    collate = view.collate((0.0,) * 3, (1.0,) * 3, DetectionAugmentation(crop=[64, 80], whole_object=0.0))
    seen = [torch.linalg.inv(collate(split, torch.arange(8), stream(s)).matrices) for s in range(30)]
    top = torch.cat(seen)[:, 1, 2]
    assert [top.min(), top.max()] == [0, HEIGHT - 64]


def test_a_frame_smaller_than_its_window_is_shown_whole(split) -> None:
    seen = batch(split, crop=[96, 128], scale=[0.5, 0.5], min_visible=1.0)
    assert [len(b) for b in seen.boxes] == [3] * 7 + [0]
    assert [len(c) for c in seen.crowds] == [1] * 7 + [0]


def test_quarter_turns_are_rotations_and_come_as_often_as_asked() -> None:
    turns = quarter_turns(4000, 0.6, stream(0))
    torch.testing.assert_close(torch.linalg.det(turns), torch.ones(4000))
    number = torch.atan2(turns[:, 1, 0], turns[:, 0, 0]).div(torch.pi / 2).round().long() % 4
    shares = torch.bincount(number, minlength=4) / 4000
    torch.testing.assert_close(shares, torch.tensor([0.4, 0.2, 0.2, 0.2]), atol=0.02, rtol=0)


def test_beyond_the_edge_of_a_frame_there_is_the_mean_colour(split) -> None:
    white = replace(split, images=torch.full_like(split.images, 255))
    for settings in ({"scale": [0.5, 0.5]}, {"scale": [0.5, 0.5], "rotate": 0.3}, {"translate": 0.3}):
        seen = batch(white, **settings)
        assert set(seen.images.unique().round(decimals=3).tolist()) == {0.0, 1.0}
        shown = seen.images[:, 0].sum((1, 2)) / (HEIGHT * WIDTH)
        if "scale" in settings:
            torch.testing.assert_close(shown, torch.full_like(shown, 0.25), rtol=0.02, atol=0)
    assert bool((batch(white, mosaic=1.0, scale=[1.0, 2.0]).images > 0.99).all())


def test_scale_is_log_uniform_between_its_bounds(split) -> None:
    scales = torch.cat([batch(split, seed, scale=[0.5, 2.0]).matrices[:, 0, 0] for seed in range(40)])
    assert 0.5 <= scales.min() < 0.52
    assert 1.9 < scales.max() <= 2.0001
    assert abs(float(scales.log().mean())) < 0.1


def test_whole_frames_are_augmented_as_every_other_image(split) -> None:
    plain = {"flip": 0.5, "translate": 0.2, "zoom": 0.3, "rotate": 0.2, "hue": 0.3, "noise": 0.1, "blur": 1.0}
    images, maps = augment_with_maps(split.images, Augmentation(**plain), stream(5), (0.0,) * 3, (1.0,) * 3)
    seen = batch(split, 5, **plain)
    inside = seen.images != 0
    assert float(inside.float().mean()) > 0.5
    assert torch.equal(seen.images[inside], images[inside])
    assert torch.equal(seen.matrices, maps.double() @ split.matrices)


def test_batches_follow_from_the_generator_alone(split) -> None:
    settings = {"crop": [64, 80], "flip": 0.5, "scale": [0.6, 1.6], "noise": 0.1}
    first, same, other = (batch(split, seed, **settings) for seed in (1, 1, 2))
    assert torch.equal(first.images, same.images)
    assert all(torch.equal(a, b) for a, b in zip(first.boxes, same.boxes, strict=True))
    assert not torch.equal(first.images, other.images)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"crop": [64]}, r"augmentation.crop is \[64\]"),
        ({"crop": [0, 8]}, r"augmentation.crop is \[0, 8\]"),
        ({"crop": [97, 128]}, r"at most \[96, 128\]"),
        ({"scale": [1.5, 0.5]}, "augmentation.scale is"),
        ({"scale": [0.5, 2.0], "zoom": 0.1}, "one of them"),
        ({"min_visible": 1.5}, "augmentation.min_visible is 1.5"),
        ({"whole_object": -0.5}, "augmentation.whole_object is -0.5"),
    ],
)
def test_impossible_settings_are_refused_by_name(split, settings, said) -> None:
    with pytest.raises(InputError, match=said):
        batch(split, **settings)


MOSAIC = {"mosaic": 1.0, "flip": 0.5, "scale": [0.8, 1.3]}


@pytest.mark.parametrize("crop", [[], [64, 80]])
def test_boxes_of_a_mosaic_lie_where_the_paint_of_their_tile_went(split, crop) -> None:
    found = 0
    for seed in range(4):
        seen = batch(split, seed, crop=crop, min_visible=0.5, **MOSAIC)
        assert seen.images.shape == (8, 3, *(crop or (HEIGHT, WIDTH)))
        for image, boxes, labels, crowds in zip(*seen[:4], strict=True):
            bare = image.amax(0) > 0.5
            for box, label in zip(boxes, labels.tolist(), strict=True):
                left, top, right, bottom = (box + 0.5).round().int().tolist()
                here = 255 * image[:, top:bottom, left:right] - PAINT[label, :, None, None]
                assert (here.abs().amax(0) < 127).float().mean() > 0.85
                found += 1
            for left, top, right, bottom in (torch.cat([boxes, crowds]) + 0.5).tolist():
                rows = slice(max(0, round(top - 0.8)), round(bottom + 0.8))
                bare[rows, max(0, round(left - 0.8)) : round(right + 0.8)] = False
            assert not bare.any()
    assert found > 60


def test_the_tiles_of_a_mosaic_fill_it_with_four_different_frames() -> None:
    a = DetectionAugmentation(mosaic=1.0)
    for seed in range(20):
        layout, shown = lay_out(torch.arange(5), 5, a, (40, 60), stream(seed))
        assert shown[:5].tolist() == list(range(5))
        for image in range(5):
            own = layout.owner == image
            assert len(set(shown[own].tolist())) == 4
            covered = torch.zeros(40, 60, dtype=torch.int64)
            for left, top, right, bottom in layout.place[own].tolist():
                covered[top:bottom, left:right] += 1
            assert (covered == 1).all()


def test_mosaics_come_as_often_as_they_are_asked_for() -> None:
    layout, shown = lay_out(torch.arange(1000), 2000, DetectionAugmentation(mosaic=0.3), (8, 8), stream(0))
    assert abs((len(shown) - 1000) / 3000 - 0.3) < 0.05
    assert len(layout.owner) == len(shown)


def test_three_frames_make_no_mosaic(split) -> None:
    few = split.take(torch.arange(3))
    plain, mosaic = batch(few), batch(few, mosaic=1.0)
    assert torch.equal(plain.images, mosaic.images)


def test_matrices_of_a_mosaic_are_those_of_its_first_tile(split) -> None:
    a = DetectionAugmentation(mosaic=1.0, crop=[64, 80], scale=[0.8, 1.3])
    layout, _ = lay_out(torch.arange(8), 8, a, (HEIGHT, WIDTH), stream(2))
    seen = batch(split, 2, crop=[64, 80], mosaic=1.0, scale=[0.8, 1.3])
    compared = 0
    for index, (image, matrix) in enumerate(zip(seen.images, seen.matrices, strict=True)):
        right, bottom = layout.place[index, 2:].tolist()
        for box, label in zip(split.boxes[index], split.labels[index].tolist(), strict=True):
            x, y = (
                ((box.double().view(2, 2).mean(0) @ matrix[:2, :2].T) + matrix[:2, 2]).round().int().tolist()
            )
            if 0 <= x < right and 0 <= y < bottom:
                assert (255 * image[:, y, x] - PAINT[label]).abs().max() < 1
                compared += 1
    assert compared > 3


def test_the_last_epochs_have_no_mosaic_whenever_they_are_reached() -> None:
    settings = DetectionAugmentation(mosaic=1.0, mosaic_until=0.75)
    data = PerceptionData(
        Painted(),
        DetectionView(WIDTH, HEIGHT),
        settings,
        batch_size=8,
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
        progress=False,
    )
    data.trainer = SimpleNamespace(max_epochs=4, global_rank=0, world_size=1)
    batches = data.train_dataloader().batches
    plain = [
        torch.equal(seen.images.sum((1, 2, 3)), of_frames(data, seen))
        for seen in (batches[e, 0] for e in range(6))
    ]
    assert plain == [False, False, False, True, True, True]


def of_frames(data, seen) -> torch.Tensor:
    """The sum over each of the frames that a batch names."""
    whole = data.loader("train").batches[0, 0].images[seen.indices]
    return whole.sum((1, 2, 3))


def test_mixed_images_show_the_objects_of_both(split) -> None:
    plain, mixed = batch(split), batch(split, mixup=1.5)
    count = [len(b) for b in plain.boxes]
    changed = [i for i in range(len(split)) if not torch.equal(plain.images[i], mixed.images[i])]
    assert len(changed) == len(split) // 2
    for i in range(len(split)):
        assert len(mixed.boxes[i]) == len(mixed.labels[i])
        assert torch.equal(mixed.boxes[i][: count[i]], plain.boxes[i])
        if i not in changed:
            assert len(mixed.boxes[i]) == count[i]
            continue
        partners = [
            j
            for j in set(range(len(split))) - {i}
            if torch.equal(mixed.boxes[i][count[i] :], plain.boxes[j])
            and torch.equal(mixed.crowds[i][len(plain.crowds[i]) :], plain.crowds[j])
        ]
        (partner,) = partners
        difference = plain.images[partner] - plain.images[i]
        share = ((mixed.images[i] - plain.images[i]) * difference).sum() / difference.square().sum()
        assert 0 < share < 1
        torch.testing.assert_close(mixed.images[i], plain.images[i].lerp(plain.images[partner], share))


def test_the_last_epochs_mix_no_images() -> None:
    until, settings = DetectionAugmentation(mixup=1.0, mosaic_until=0.7).closing()
    assert until == 0.7
    assert settings.mixup == 0


def test_windows_of_a_batch_grow_with_what_they_show(split) -> None:
    sizes, scales = set(), set()
    for seed in range(20):
        seen = batch(split, seed, crop=[64, 64], multi_scale=[0.5, 2.0])
        sizes.add(tuple(seen.images.shape[2:]))
        scales.add((seen.images.shape[2], round(float(seen.matrices[0, 0, 0]), 5)))
    assert {(64, 64), (96, 96)} <= sizes <= {(s, s) for s in (32, 64, 96, 128)}
    assert all(scale == pytest.approx(height / 64) for height, scale in scales)
