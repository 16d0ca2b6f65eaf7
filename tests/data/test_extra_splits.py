from pathlib import Path

import pytest

from deeprob.data.extra_splits import ExtraSplits
from deeprob.data.readers.darknet import DarknetSource
from deeprob.data.relabel import RelabelledSource
from deeprob.errors import InputError

SPLITS = {"train": ["2019*"]}


@pytest.fixture
def pair(darknet_root: Path):
    """A source of the classes ball and robot, and one that calls them robot and ball."""
    source = DarknetSource(darknet_root, SPLITS)
    return source, RelabelledSource(source, {"ball": "robot", "robot": "ball"})


def test_an_extra_split_counts_classes_as_the_first_source(pair) -> None:
    source, other = pair
    joined = ExtraSplits(source, {"real": (other, "train")})
    assert joined.splits == ("train", "real")
    assert joined.classes == source.classes
    own = [i.class_id for i in joined.frames("train")[0].instances]
    other_ids = [i.class_id for i in joined.frames("real")[0].instances]
    assert other_ids == [1 - class_id for class_id in own]
    assert joined.fingerprint("train") == source.fingerprint("train") != joined.fingerprint("real")


@pytest.mark.parametrize(
    ("name", "split", "said"),
    [("train", "train", "has a split of that name"), ("real", "test", "no split 'test'")],
)
def test_a_split_that_cannot_be_added_is_one_line(pair, name, split, said) -> None:
    with pytest.raises(InputError, match=said):
        ExtraSplits(pair[0], {name: (pair[1], split)})


def test_a_class_that_the_first_source_lacks_is_named(pair) -> None:
    other = RelabelledSource(pair[0], {"ball": "duck"})
    with pytest.raises(InputError, match="not known: duck"):
        ExtraSplits(pair[0], {"real": (other, "train")})
