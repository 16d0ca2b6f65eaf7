"""Detection metrics against an average precision written out here, and against known cases."""

import json

import numpy as np
import pytest

from deeprob.errors import InputError
from deeprob.metrics.detection import Detection


def random_image(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Up to five objects of two classes; detections near them, some of a wrong class, some out of nowhere."""
    count = rng.integers(1, 6)
    corner = rng.uniform(0, 150, (count, 2))
    true = np.concatenate([corner, corner + rng.uniform(20, 90, (count, 2))], 1)
    classes = rng.integers(2, size=count)
    near = true + rng.normal(0, 4, true.shape).clip(-9, 9)
    far = np.concatenate([corner[::-1], corner[::-1] + 40], 1)
    found_classes = np.concatenate(
        [np.where(rng.random(count) < 0.8, classes, 1 - classes), rng.integers(2, size=count)]
    )
    return {
        "boxes": np.concatenate([near, far]),
        "scores": rng.random(2 * count),
        "class_ids": found_classes,
        "true_boxes": true,
        "true_class_ids": classes,
    }


def iou(a: np.ndarray, b: np.ndarray) -> float:
    size = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    inter = size.prod() if (size > 0).all() else 0.0
    return inter / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - inter)


def average_precision(images: list[dict], class_id: int, threshold: float) -> float:
    """Greedy matching by score, then precision at 101 recalls, made monotone from the right."""
    hits, num_true = [], 0
    for image in images:
        true = image["true_boxes"][image["true_class_ids"] == class_id]
        num_true += len(true)
        mine = image["class_ids"] == class_id
        taken = set()
        for score, box in sorted(
            zip(image["scores"][mine], image["boxes"][mine], strict=True), key=lambda p: -p[0]
        ):
            free = [(iou(box, t), i) for i, t in enumerate(true) if i not in taken]
            best = max(free, default=(0.0, -1))
            if best[0] >= threshold:
                taken.add(best[1])
            hits.append((score, best[0] >= threshold))
    hits.sort(key=lambda hit: -hit[0])
    right = np.cumsum([hit for _, hit in hits])
    precision = right / np.arange(1, len(hits) + 1)
    recall = right / num_true
    at = [precision[recall >= r].max(initial=0.0) for r in np.linspace(0, 1, 101)]
    return float(np.mean(at))


@pytest.fixture(scope="module")
def images() -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [random_image(rng) for _ in range(25)]


@pytest.fixture(scope="module")
def measured(images) -> Detection:
    metrics = Detection(("cup", "ball"))
    for image in images:
        metrics.update(**image)
    return metrics


@pytest.mark.parametrize("threshold", [0.5, 0.75])
def test_average_precision_equals_its_definition(images, measured, threshold):
    expected = [average_precision(images, c, threshold) for c in (0, 1)]
    np.testing.assert_allclose(measured.class_ap(threshold), expected, atol=1e-9)
    name = f"ap{round(100 * threshold)}"
    assert measured.compute()[name] == pytest.approx(np.mean(expected), abs=1e-9)


def test_mean_ap_is_the_mean_over_ious_and_classes(images, measured):
    expected = np.mean([average_precision(images, c, t) for c in (0, 1) for t in np.arange(10) * 0.05 + 0.5])
    assert measured.compute()["mean_ap"] == pytest.approx(expected, abs=1e-9)
    assert measured.class_ap().mean() == pytest.approx(expected, abs=1e-9)


def test_perfect_detections_score_one(images):
    metrics = Detection(("cup", "ball"))
    for image in images:
        true = image["true_boxes"], image["true_class_ids"]
        metrics.update(true[0], np.ones(len(true[1])), true[1], *true)
    found = metrics.compute()
    assert found["mean_ap"] == pytest.approx(1)
    assert found["average_recall"] == pytest.approx(1)


def test_the_first_object_of_all_counts():
    box = np.array([[10.0, 10, 60, 60]])
    metrics = Detection(("cup",))
    metrics.update(box, np.array([0.9]), np.array([0]), box, np.array([0]))
    assert metrics.compute()["ap50"] == pytest.approx(1)


def test_sizes_without_objects_are_not_defined():
    box = np.array([[10.0, 10, 60, 60]])
    metrics = Detection(("cup",))
    metrics.update(box, np.array([0.9]), np.array([0]), box, np.array([0]))
    found = metrics.compute()
    assert found["ap_medium"] == pytest.approx(1)
    assert np.isnan(found["ap_small"])
    assert np.isnan(found["ap_large"])


def test_streams_merge_to_the_whole(images, measured):
    parts = [Detection(("cup", "ball")) for _ in range(2)]
    for i, image in enumerate(images):
        parts[i >= 10].update(**image)
    parts[0].merge(parts[1])
    assert parts[0].num_images == 25
    assert parts[0].compute() == pytest.approx(measured.compute(), nan_ok=True)


def test_labels_without_any_detection_score_zero():
    none = np.zeros((0, 4)), np.zeros(0), np.zeros(0, int)
    metrics = Detection(("cup",))
    metrics.update(*none, np.array([[0.0, 0, 50, 50]]), np.array([0]))
    assert metrics.compute()["mean_ap"] == 0


def test_nothing_at_all_is_not_defined():
    metrics = Detection(("cup",))
    assert all(np.isnan(value) for value in metrics.compute().values())
    assert np.isnan(metrics.class_ap()).all()
    assert np.isnan(metrics.precision_recall()).all()


def test_pycocotools_says_nothing(images, capsys):
    metrics = Detection(("cup", "ball"))
    metrics.update(**images[0])
    metrics.compute()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": np.array([np.nan])}, "one finite number a box"),
        ({"boxes": np.array([[0, 0, np.inf, 1]])}, r"detections: boxes \(1, 4\); expected finite"),
        ({"boxes": np.array([[5.0, 0, 4, 9]])}, "left <= right and top <= bottom"),
        ({"class_ids": np.array([2])}, "class 2; expected 0 to 1"),
        ({"true_boxes": np.zeros((1, 3))}, r"labels: boxes \(1, 3\)"),
    ],
)
def test_wrong_input_is_named(change, message):
    box = np.array([[0.0, 0, 5, 5]])
    image = {
        "boxes": box,
        "scores": np.array([0.5]),
        "class_ids": np.array([0]),
        "true_boxes": box,
        "true_class_ids": np.array([1]),
    }
    with pytest.raises(InputError, match=message):
        Detection(("cup", "ball")).update(**{**image, **change})


@pytest.mark.parametrize("masks", [False, True])
def test_a_crowd_is_scored_as_pycocotools_does_from_a_coco_file(masks, tmp_path):
    """The same pictures, as a file with iscrowd=1, judged by pycocotools alone."""
    from pycocotools import mask as coco
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def drawn(box):
        mask = np.zeros((100, 100), bool)
        left, top, right, bottom = map(int, box)
        mask[top:bottom, left:right] = True
        return mask

    def runs(box):
        encoded = coco.encode(np.asfortranarray(drawn(box), np.uint8))
        return {"size": [100, 100], "counts": encoded["counts"].decode()}

    rng = np.random.default_rng(0)
    stream, alone = Detection(["a", "b"], masks), Detection(["a", "b"], masks)
    images, annotations, results = [], [], []
    for image in range(1, 7):
        corner = rng.integers(0, 60, (4, 2))
        true = np.concatenate([corner, corner + rng.integers(15, 40, (4, 2))], 1).astype(float)
        true[3] = (0, 0, 90, 50)
        ids, crowd = np.array([0, 1, 0, 0]), np.array([False, False, False, True])
        # near the objects, and many inside the crowd
        found = np.concatenate(
            [true[:3] + rng.integers(-3, 4, (3, 4)), rng.integers(0, 25, (4, 4)) + np.array([0, 0, 30, 25])]
        )
        found, scores = found.clip(0, 100).astype(float), rng.random(7)
        found_ids = np.array([0, 1, 0, 0, 0, 0, 1])
        given = [drawn(b) for b in found] if masks else None
        truth = [drawn(b) for b in true] if masks else None
        stream.update(found, scores, found_ids, true, ids, given, truth, crowd)
        alone.update(found, scores, found_ids, true[:3], ids[:3], given, truth and truth[:3])
        images.append({"id": image, "width": 100, "height": 100})
        for box, c, of_many in zip(true, ids, crowd, strict=True):
            size = [*box[:2], *(box[2:] - box[:2])]
            entry = {"image_id": image, "category_id": int(c) + 1, "bbox": size, "area": size[2] * size[3]}
            own = {"id": len(annotations) + 1, "iscrowd": int(of_many), "segmentation": runs(box)}
            annotations.append(entry | own)
        for box, c, score in zip(found, found_ids, scores, strict=True):
            entry = {"image_id": image, "category_id": int(c) + 1, "score": score}
            size = [*box[:2], *(box[2:] - box[:2])]
            results.append(entry | ({"segmentation": runs(box)} if masks else {"bbox": size}))
    categories = [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
    path = tmp_path / "truth.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    file = COCO(str(path))
    judged = COCOeval(file, file.loadRes(results), "segm" if masks else "bbox")
    judged.evaluate()
    judged.accumulate()
    judged.summarize()
    scores = stream.compute()
    expected = dict(zip(scores, judged.stats[[0, 1, 2, 3, 4, 5, 8]], strict=True))
    assert scores == pytest.approx({k: v if v >= 0 else np.nan for k, v in expected.items()}, nan_ok=True)
    assert scores["mean_ap"] > alone.compute()["mean_ap"]  # without the crowd they are mistakes
    assert all(r.positives.sum() == n for r, n in zip(stream.ranked()[0], (12, 6), strict=True))


def one(box, **more):
    """A perfect detection of one object alone."""
    box = np.array([box], float)
    return {
        "boxes": box, "scores": np.ones(1), "class_ids": np.zeros(1, int), "true_boxes": box,
        "true_class_ids": np.zeros(1, int), **more,
    }  # fmt: skip


def test_an_object_on_the_border_of_two_sizes_is_of_both():
    metrics = Detection(("cup",))
    metrics.update(**one([0, 0, 32, 32]))
    found = metrics.compute()
    assert (found["ap_small"], found["ap_medium"]) == (pytest.approx(1), pytest.approx(1))
    assert np.isnan(found["ap_large"])


def test_an_objects_size_is_its_annotations_area():
    metrics = Detection(("cup",))
    metrics.update(**one([0, 0, 200, 200], true_areas=np.array([100.0])))
    found = metrics.compute()
    assert found["ap_small"] == pytest.approx(1)
    assert np.isnan(found["ap_large"])


def test_a_hundred_detections_of_each_class_count_in_an_image():
    objects = np.array([[20.0 * i, 0, 20.0 * i + 15, 15] for i in range(150)])
    ids = np.repeat([0, 1], [120, 30])
    metrics = Detection(("cup", "ball"))
    metrics.update(objects, np.linspace(1, 0.5, 150), ids, objects, ids)
    assert metrics.compute()["average_recall"] == pytest.approx((100 / 120 + 1) / 2)


@pytest.mark.parametrize(
    ("class_id", "right", "wrong"),
    [(0, 0.6, 0), (0, 0.4, 1), (1, 0.6, 1)],
    ids=["of its class and mostly inside", "mostly outside", "of another class"],
)
def test_what_a_crowd_excuses(class_id, right, wrong):
    """A detection that finds nothing, `right` of it inside the crowd, beside one object that is found."""
    cup, crowd = [200.0, 200, 240, 240], [0.0, 0, 100, 100]
    stray = [100 - 50 * right, 0, 150 - 50 * right, 50]
    metrics = Detection(("cup", "ball"))
    metrics.update(
        np.array([cup, stray]), np.array([0.5, 0.9]), np.array([0, class_id]), np.array([cup, crowd]),
        np.array([0, 0]), crowd=np.array([False, True]),
    )  # fmt: skip
    of_class = metrics.ranked()[0][class_id]
    assert of_class.miss[0].sum() == wrong
    assert metrics.ranked()[0][0].positives.sum() == 1
