import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from deeprob.data.readers.coco import CocoSource, decode_mask
from deeprob.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # from pycocotools


@pytest.fixture
def source(readers, tmp_path: Path) -> CocoSource:
    readers["coco"].build(tmp_path / "set")
    return readers["coco"].open(tmp_path / "set")


def test_frame_holds_boxes_and_masks(source: CocoSource) -> None:
    assert source.classes == ("ball", "robot")
    frame = source.frames("train")[0]
    assert frame.key == "images/bild 0ä.png"
    robot, ball = frame.instances
    assert (robot.class_id, ball.class_id) == (1, 0)
    np.testing.assert_array_equal(robot.box_xyxy, [9.5, 4.5, 21.5, 19.5])
    expected = np.zeros((30, 40), bool)
    expected[5:20, 10:22] = True
    np.testing.assert_array_equal(robot.mask, expected)
    assert ball.mask[:, :2].all()
    assert ball.mask.sum() == 60


def test_compressed_run_lengths_come_back_exactly() -> None:
    mask = np.random.default_rng(0).random((30, 40)) > 0.5
    runs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    text = {"size": runs["size"], "counts": runs["counts"].decode()}
    np.testing.assert_array_equal(decode_mask(text, (30, 40), "here"), mask)


def test_crowds_are_no_objects(source: CocoSource) -> None:
    item = source.items("train")[0]
    item.annotations[0][1]["iscrowd"] = 1
    frame = source.read(item)
    assert [i.class_id for i in frame.instances] == [0]
    assert [i.class_id for i in frame.crowds] == [1]
    assert frame.crowds[0].mask.any()


@pytest.mark.parametrize(
    ("value", "is_crowd"),
    [("0", False), (False, False), (0.0, False), (None, False), ("1", True), (True, True), (1.0, True)],
)
def test_a_crowd_is_what_says_so_however_it_is_written(source: CocoSource, value, is_crowd: bool) -> None:
    item = source.items("train")[0]
    item.annotations[0][1]["iscrowd"] = value
    frame = source.read(item)
    assert (len(frame.instances), len(frame.crowds)) == ((1, 1) if is_crowd else (2, 0))


@pytest.mark.parametrize("value", ["no", 2, -1, [], 0.5])
def test_a_crowd_flag_that_means_nothing_is_refused(source: CocoSource, value) -> None:
    item = source.items("train")[0]
    item.annotations[0][1]["iscrowd"] = value
    with pytest.raises(InputError, match=r"annotation 0: iscrowd is .*; expected 0 or 1"):
        source.read(item)


def edit(root: Path, change) -> None:
    content = json.loads((root / "train.json").read_text())
    change(content)
    (root / "train.json").write_text(json.dumps(content))


def with_crowds(readers, root: Path, count: int) -> Path:
    """The small set, where the first `count` of its eight annotations are crowds."""
    readers["coco"].build(root)
    file = root / "train.json"
    content = json.loads(file.read_text())
    for annotation in content["annotations"][:count]:
        annotation["iscrowd"] = 1
    file.write_text(json.dumps(content))
    return root


def test_a_set_of_nothing_but_crowds_is_refused_or_taken_as_objects(readers, tmp_path: Path) -> None:
    root = with_crowds(readers, tmp_path / "set", 8)
    with pytest.raises(InputError, match=r"8 of 8 annotations have iscrowd.*data\.source\.crowds=objects"):
        readers["coco"].open(root)
    source = readers["coco"].open(root, crowds="objects")
    assert [len(frame.instances) for frame in source.frames("train")] == [2, 2, 2, 2]
    assert not any(frame.crowds for frame in source.frames("train"))


def test_more_crowds_than_objects_are_told(readers, tmp_path: Path) -> None:
    assert readers["coco"].open(with_crowds(readers, tmp_path / "few", 4)).passed_over == []
    source = readers["coco"].open(with_crowds(readers, tmp_path / "many", 5))
    assert "5 of 8 annotations have iscrowd" in source.passed_over[0]
    taken = readers["coco"].open(tmp_path / "many", crowds="objects")
    assert taken.passed_over == []
    assert taken.fingerprint("train") != source.fingerprint("train")
    with pytest.raises(InputError, match=r"data\.source\.crowds is 'all'; expected regions or objects"):
        readers["coco"].open(tmp_path / "many", crowds="all")


def test_images_outside_the_root_are_found_by_their_numbers(readers, tmp_path: Path) -> None:
    readers["coco"].build(tmp_path / "set")
    (tmp_path / "set" / "images").rename(tmp_path / "elsewhere")
    source = readers["coco"].open(tmp_path / "set", images={"train": str(tmp_path / "elsewhere")})
    assert [key for _, key in source.image_numbers("train")] == [f.key for f in source.frames("train")]


def test_a_json_file_of_another_name_is_shown(readers, tmp_path: Path) -> None:
    readers["coco"].build(tmp_path)
    (tmp_path / "train").mkdir()
    (tmp_path / "train.json").rename(tmp_path / "train" / "_annotations.coco.json")
    with pytest.raises(InputError, match=r"annotations\.train=train/_annotations\.coco\.json"):
        CocoSource(tmp_path, {"train": "annotations/instances_train.json"})
    (tmp_path / "train" / "_annotations.coco.json").write_text('{"shapes": [], "imagePath": "a.jpg"}')
    with pytest.raises(InputError, match="labelme"):
        CocoSource(tmp_path, {"train": "annotations/instances_train.json"})


def test_two_categories_of_one_name_stay_two(readers, tmp_path: Path) -> None:
    readers["coco"].build(tmp_path / "set")
    edit(tmp_path / "set", lambda content: content["categories"][0].update(name="ball"))
    source = readers["coco"].open(tmp_path / "set")
    assert source.classes == ("ball (3)", "ball (7)")
    assert [i.class_id for i in source.frames("train")[0].instances] == [1, 0]


def test_images_may_lie_in_an_absolute_folder(readers, tmp_path: Path) -> None:
    readers["coco"].build(tmp_path / "set")
    (tmp_path / "set/images").rename(tmp_path / "elsewhere")
    images = {"train": str(tmp_path / "elsewhere")}
    source = CocoSource(tmp_path / "set", {"train": str(tmp_path / "set/train.json")}, images)
    assert [frame.key for frame in source.frames("train")] == [f"bild {n}ä.png" for n in range(4)]


def test_file_names_may_have_backslashes(readers, tmp_path: Path) -> None:
    readers["coco"].build(tmp_path)
    edit(
        tmp_path, lambda c: [image.update(file_name="images\\" + image["file_name"]) for image in c["images"]]
    )
    source = CocoSource(tmp_path, {"train": "train.json"})
    assert source.frames("train")[0].key == "images/bild 0ä.png"


@pytest.mark.parametrize("name", [r"..\a.png", r"C:\pictures\a.png", "C:/a.png", "/a.png", "a/../../b.png"])
def test_file_names_that_lead_elsewhere_are_refused(readers, tmp_path: Path, name: str) -> None:
    readers["coco"].build(tmp_path)
    edit(tmp_path, lambda content: content["images"][0].update(file_name=name))
    with pytest.raises(InputError, match="leads outside the data set"):
        CocoSource(tmp_path, {"train": "train.json"})


def test_a_size_that_exif_turns_is_named(readers, tmp_path: Path, draw) -> None:
    readers["coco"].build(tmp_path)
    image = Image.fromarray(draw(tmp_path / "a.png"))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "images/a.jpg", exif=exif)
    edit(tmp_path, lambda content: content["images"][0].update(file_name="a.jpg"))
    expected = r"a\.jpg: image of 30 x 40 pixels; expected 40 x 30, as train\.json says; its EXIF orientation"
    with pytest.raises(InputError, match=expected):
        readers["coco"].open(tmp_path).frames("train")[0]


def test_boxes_over_the_border_are_cut_on_request(readers, tmp_path: Path) -> None:
    readers["coco"].build(tmp_path)
    edit(tmp_path, lambda content: content["annotations"][0].update(bbox=[-5, 5, 15, 40], segmentation=[]))
    with pytest.raises(InputError, match=r"data\.source\.clip_boxes=true"):
        readers["coco"].open(tmp_path).frames("train")[0]
    frame = readers["coco"].open(tmp_path, clip_boxes=True).frames("train")[0]
    np.testing.assert_array_equal(frame.instances[0].box_xyxy, [-0.5, 4.5, 9.5, 29.5])


def test_annotation_without_segmentation_has_no_mask(source: CocoSource) -> None:
    item = source.items("train")[0]
    item.annotations[0][1]["segmentation"] = []
    assert source.read(item).instances[0].mask is None


@pytest.mark.parametrize("seed", range(5))
def test_random_compressed_text_never_breaks_the_decoder(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(50):
        text = "".join(chr(48 + int(c)) for c in rng.integers(0, 64, rng.integers(1, 30)))
        try:
            mask = decode_mask({"size": [30, 40], "counts": text}, (30, 40), "here")
        except InputError:
            continue
        assert mask.shape == (30, 40)


@pytest.mark.parametrize(("said", "expected"), [({"area": 12.5}, 12.5), ({}, 180), ({"area": None}, 180)])
def test_an_objects_size_is_the_annotations_area_or_else_the_masks_pixels(source, said, expected) -> None:
    item = source.items("train")[0]
    entry = item.annotations[0][1]
    entry.pop("area", None)
    entry.update(said)
    assert source.read(item).instances[0].size_in_pixels == expected


def test_without_area_and_mask_the_box_is_the_size(source: CocoSource) -> None:
    item = source.items("train")[0]
    item.annotations[0][1].update(area=None, segmentation=[], bbox=[1, 2, 10, 4])
    assert source.read(item).instances[0].size_in_pixels == 40


@pytest.mark.parametrize("area", [-1, "wide", [3]])
def test_an_area_that_is_none_is_one_line(source: CocoSource, area: object) -> None:
    item = source.items("train")[0]
    item.annotations[0][1]["area"] = area
    with pytest.raises(InputError, match="annotation 0: area"):
        source.read(item)
