from pathlib import Path

import pytest

from deeprob.data.batches.divide import class_counts
from deeprob.data.batches.materialise import materialise
from deeprob.data.readers.darknet import DarknetSource
from deeprob.data.relabel import RelabelledSource
from deeprob.errors import InputError
from deeprob.tasks.classification.view import ClassificationView

SPLITS = {"train": ["2019*"]}


def counts(source) -> dict[str, int]:
    split = materialise(source, "train", ClassificationView(size=8), progress=False)
    return class_counts(split.labels, source.classes)


def test_classes_are_renamed_merged_and_dropped(darknet_root: Path) -> None:
    source = DarknetSource(darknet_root, SPLITS)
    assert counts(RelabelledSource(source, {"ball": "sphere"})) == {"sphere": 4, "robot": 4}
    assert counts(RelabelledSource(source, {"ball": "thing", "robot": "thing"})) == {"thing": 8}
    assert counts(RelabelledSource(source, {"ball": None})) == {"robot": 4}


def test_crowds_follow_their_classes(readers, tmp_path: Path) -> None:
    readers["coco"].build(tmp_path / "set")
    source = readers["coco"].open(tmp_path / "set")  # the classes ball and robot, a robot first
    source.items("train")[0].annotations[0][1]["iscrowd"] = 1
    (crowd,) = RelabelledSource(source, {"ball": None}).frames("train")[0].crowds
    assert crowd.class_id == 0
    frame = RelabelledSource(source, {"robot": None}).frames("train")[0]
    assert (len(frame.instances), frame.crowds) == (1, ())


def test_names_can_be_swapped(darknet_root: Path) -> None:
    source = RelabelledSource(DarknetSource(darknet_root, SPLITS), {"ball": "robot", "robot": "ball"})
    assert source.classes == ("robot", "ball")
    assert [i.class_id for i in source.frames("train")[0].instances] == [0, 1]


def test_bad_samples_are_skipped_as_the_source_does(darknet_root: Path) -> None:
    (darknet_root / "2019a/r1/frame_0.txt").unlink()
    source = DarknetSource(darknet_root, SPLITS, on_bad_sample="skip")
    assert len(list(RelabelledSource(source, {}).frames("train"))) == 3
    assert len(source.skipped) == 1


def test_cache_of_another_label_map_is_not_used(darknet_root: Path, tmp_path: Path) -> None:
    source = DarknetSource(darknet_root, SPLITS)
    for label_map, size in (({}, 8), ({"ball": None}, 4)):
        relabelled = RelabelledSource(source, label_map)
        assert len(materialise(relabelled, "train", ClassificationView(), tmp_path / "cache", False)) == size


def test_source_without_a_fingerprint_has_none_here(array_source) -> None:
    source = RelabelledSource(array_source(), {"a": "b"})
    assert source.fingerprint("train") is None
    assert counts(source) == {"b": 14, "c": 6}


@pytest.mark.parametrize(
    ("label_map", "message"), [({"cat": "x"}, "names 'cat'"), ({"ball": None, "robot": None}, "every class")]
)
def test_map_that_cannot_be_is_refused(darknet_root: Path, label_map: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        RelabelledSource(DarknetSource(darknet_root, SPLITS), label_map)


def test_the_rest_gets_one_name(darknet_root: Path) -> None:
    source = DarknetSource(darknet_root, SPLITS)
    assert RelabelledSource(source, {"rest": "object"}).classes == ("object",)
    assert RelabelledSource(source, {"robot": "robot", "rest": None}).classes == ("robot",)
