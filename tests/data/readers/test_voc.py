from pathlib import Path

import numpy as np
import pytest
from fixtures.data import voc_annotation

from deeprob.data.readers.voc import VocSource, read_xml
from deeprob.errors import InputError

SPLITS = {"train": "train", "val": "val"}


@pytest.fixture
def root(readers, tmp_path: Path) -> Path:
    readers["voc"].build(tmp_path / "set")
    return tmp_path / "set"


def annotate(root: Path, *objects: tuple[object, ...], **options) -> None:
    (root / "Annotations/2007_000000.xml").write_text(voc_annotation(*objects, **options))


def first(root: Path, **options):
    return VocSource(root, SPLITS, **options).frames("train")[0]


def test_boxes_are_pixels_counted_from_one_and_difficult_objects_are_crowds(root: Path) -> None:
    source = VocSource(root, SPLITS)
    assert (source.classes, source.splits) == (("ball", "robot"), ("train", "val"))
    assert [len(source.frames(split)) for split in source.splits] == [4, 2]
    frame = source.frames("train")[0]
    assert (frame.key, frame.group) == ("JPEGImages/2007_000000.jpg",) * 2
    (robot,), (ball,) = frame.instances, frame.crowds
    assert (robot.class_id, ball.class_id) == (1, 0)
    np.testing.assert_array_equal(robot.box_xyxy, [9.5, 4.5, 21.5, 19.5])
    np.testing.assert_array_equal(ball.box_xyxy, [-0.5, -0.5, 1.5, 29.5])


def test_a_truncated_object_is_an_object(root: Path) -> None:
    path = root / "Annotations/2007_000000.xml"
    path.write_text(path.read_text().replace("<difficult>0</difficult>", "<truncated>1</truncated>"))
    assert len(first(root).instances) == 1


def test_boxes_of_the_parts_of_a_person_are_not_its_own(root: Path) -> None:
    path = root / "Annotations/2007_000000.xml"
    head = voc_annotation(("head", 0, 1, 1, 2, 2)).partition("<object>")[2].partition("</object>")[0]
    part = f"<part>{head}</part>"
    path.write_text(path.read_text().replace("<difficult>0</difficult>", part))
    (robot,) = first(root).instances
    np.testing.assert_array_equal(robot.box_xyxy, [9.5, 4.5, 21.5, 19.5])
    assert VocSource(root, SPLITS).classes == ("ball", "robot")


def test_boxes_may_have_fractions_and_sizes_be_left_out(root: Path) -> None:
    annotate(root, ("robot", 0, 11.5, 6.25, 22, 20), size=(0, 0))
    np.testing.assert_array_equal(first(root).instances[0].box_xyxy, [10, 4.75, 21.5, 19.5])


def test_a_whole_image_is_a_box_from_one_to_its_size(root: Path) -> None:
    annotate(root, ("robot", 0, 1, 1, 40, 30))
    np.testing.assert_array_equal(first(root).instances[0].box_xyxy, [-0.5, -0.5, 39.5, 29.5])


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        (("robot", 0, 11, 6, 10, 20), "object 0: bndbox [10, 5, 10, 20] has no area"),
        (
            ("robot", 0, 11, 6, 42, 20),
            "lies outside the image; expected 0 to 40 x 30; data.source.clip_boxes=true",
        ),
        (("robot", 0, "x", 6, 22, 20), "xmin is x; expected a number of pixels"),
        (("robot", 0, "inf", 6, 22, 20), "xmin is inf"),
        (("robot", 0, "", 6, 22, 20), "no xmin"),
        (("robot", "maybe", 11, 6, 22, 20), "difficult is maybe"),
        (("", 0, 11, 6, 22, 20), "no name"),
    ],
)
def test_a_bad_object_is_named_with_its_field(root: Path, objects, message: str) -> None:
    annotate(root, objects)
    with pytest.raises(InputError) as caught:
        first(root)
    assert str(root / "Annotations/2007_000000.xml") in str(caught.value)
    assert message in str(caught.value)


def test_an_object_without_a_box_is_named(root: Path) -> None:
    (root / "Annotations/2007_000000.xml").write_text(
        "<annotation><object><name>robot</name></object></annotation>"
    )
    with pytest.raises(InputError, match="object 0: no bndbox"):
        first(root)


def test_another_size_than_the_image_has_is_refused(root: Path) -> None:
    annotate(root, size=(41, 30))
    with pytest.raises(
        InputError, match=r"image of 40 x 30 pixels; expected 41 x 30, as 2007_000000\.xml says"
    ):
        first(root)


def test_classes_may_be_given(root: Path) -> None:
    (root / "names.txt").write_text("robot\nball\ngoal\n")
    source = VocSource(root, SPLITS, names_file="names.txt")
    assert source.classes == ("robot", "ball", "goal")
    (root / "names.txt").write_text("ball\n")
    with pytest.raises(InputError, match="name is 'robot'; expected ball"):
        VocSource(root, SPLITS, names_file="names.txt").frames("train")[0]


def test_boxes_over_the_border_and_missing_annotations_by_option(root: Path) -> None:
    annotate(root, ("robot", 0, 11, 6, 60, 20))
    np.testing.assert_array_equal(first(root, clip_boxes=True).instances[0].box_xyxy, [9.5, 4.5, 39.5, 19.5])
    (root / "Annotations/2007_000000.xml").unlink()
    assert first(root, missing_labels="empty").instances == ()
    with pytest.raises(InputError, match=r"data\.source\.missing_labels=empty"):
        first(root)


def test_annotations_may_lie_beside_the_images(root: Path) -> None:
    for split, names in (("train", range(4)), ("valid", (4, 5))):
        (root / split).mkdir()
        for number in names:
            for folder, suffix in (("JPEGImages", "jpg"), ("Annotations", "xml")):
                name = f"2007_{number:06d}.{suffix}"
                (root / folder / name).rename(root / split / name)
    for folder in ("JPEGImages", "Annotations"):
        (root / folder).rmdir()
    for path in (root / "ImageSets/Main").iterdir():
        path.unlink()
    source = VocSource(root, {"train": "train", "val": "valid"})
    assert [len(source.frames(split)) for split in ("train", "val")] == [4, 2]
    assert len(source.frames("val")[0].instances) == 1


def test_a_set_without_lists_is_divided_by_shares(root: Path) -> None:
    source = VocSource(root, {"train": 0.5, "val": 0.5})
    keys = [{frame.key for frame in source.frames(split)} for split in ("train", "val")]
    assert [len(of) for of in keys] == [3, 3]
    assert not keys[0] & keys[1]


BOMB = (
    '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;&x;&x;&x;&x;&x;&x;&x;">]>'
    "<annotation><object><name>&y;</name></object></annotation>"
)


@pytest.mark.parametrize(
    "content",
    [
        BOMB.encode(),
        b'<?xml version="1.0" encoding="UTF-16"?>'.decode().encode("utf-16") + BOMB.encode("utf-16-le"),
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>',
        b"<?xml version='1.0'?>\n<!-- note -->\n<!DOCTYPE annotation><annotation/>",
    ],
)
def test_a_document_type_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.xml").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.xml: a document type is declared"):
        read_xml(tmp_path / "a.xml")


@pytest.mark.parametrize(
    "content", [b"<a><b></a>", b"no xml", b"<?xml version='1.0' encoding='no-such'?><a/>"]
)
def test_broken_xml_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.xml").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.xml: broken XML"):
        read_xml(tmp_path / "a.xml")


def test_xml_of_other_encodings_is_read(tmp_path: Path) -> None:
    text = "<?xml version='1.0' encoding='{}'?><annotation><name>Käse</name></annotation>"
    for encoding in ("utf-8", "iso-8859-1", "utf-16"):
        (tmp_path / "a.xml").write_bytes(text.format(encoding).encode(encoding))
        assert read_xml(tmp_path / "a.xml").findtext("name") == "Käse"
