from pathlib import Path

import numpy as np
import pytest

from deeprob.data.batches.materialise import materialise
from deeprob.data.readers.darknet import DarknetSource
from deeprob.errors import InputError
from deeprob.tasks.classification.view import ClassificationView

SPLITS = {"train": ["2019*"], "val": ["2024*"]}


def label(root: Path) -> Path:
    return root / "2019a/r1/frame_0.txt"


def test_frames_hold_boxes_keys_and_sessions(darknet_root: Path) -> None:
    source = DarknetSource(darknet_root, SPLITS)
    assert source.classes == ("ball", "robot")
    frames = source.frames("train")
    assert [f.key for f in frames] == [f"2019a/r{r}/frame_{i}.jpg" for r in (1, 2) for i in (0, 1)]
    frame = frames[0]
    assert frame.image.shape == (30, 40, 3)
    assert frame.group == "2019a/r1"
    assert [i.class_id for i in frame.instances] == [0, 1]
    np.testing.assert_allclose(frame.instances[0].box_xyxy, [9.5, 7, 29.5, 22])
    np.testing.assert_allclose(frame.instances[1].box_xyxy, [-0.5, -0.5, 19.5, 29.5])


def test_empty_label_file_means_no_boxes(darknet_root: Path) -> None:
    label(darknet_root).write_text("")
    assert DarknetSource(darknet_root, SPLITS).frames("train")[0].instances == ()


def test_a_line_that_stands_twice_is_one_object(darknet_root: Path) -> None:
    label(darknet_root).write_text("0 0.5 0.5 0.5 0.5\n1 0.5 0.5 0.5 0.5\n 0  0.5 0.5 0.5 0.5\n")
    assert [i.class_id for i in DarknetSource(darknet_root, SPLITS).frames("train")[0].instances] == [0, 1]


def test_labels_are_found_in_a_labels_folder_beside_images(darknet_root: Path, draw) -> None:
    draw(darknet_root / "2025/images/x.png")
    (darknet_root / "2025/labels").mkdir()
    (darknet_root / "2025/labels/x.txt").write_text("1 0.5 0.5 0.1 0.1")
    source = DarknetSource(darknet_root, {"test": ["2025*"]})
    assert source.frames("test")[0].instances[0].class_id == 1


def test_box_over_the_border_by_rounding_is_clipped(darknet_root: Path) -> None:
    label(darknet_root).write_text("0 0.5 0.5 1.01 1.0")
    box = DarknetSource(darknet_root, SPLITS).frames("train")[0].instances[0].box_xyxy
    np.testing.assert_allclose(box, [-0.5, -0.5, 39.5, 29.5])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.5", "4 fields"),
        ("2 0.5 0.5 0.5 0.5", "class 2; expected 0 to 1"),
        ("-1 0.5 0.5 0.5 0.5", "class -1"),
        ("ball 0.5 0.5 0.5 0.5", "class ball"),
        ("1.5 0.5 0.5 0.5 0.5", "class 1.5"),
        ("99999999999999999999 0.5 0.5 0.5 0.5", "class 99999999999999999999"),
        ("² 0.5 0.5 0.5 0.5", "class ²"),
        ("0 nan 0.5 0.5 0.5", "cx is nan"),
        ("0 0.5 inf 0.5 0.5", "cy is inf"),
        ("0 0.5 0.5 wide 0.5", "w is wide"),
        ("0 0.5 0.5 0.5 1e999", "h is 1e999"),
        ("0 0.5 0.5 0 0.5", "w is 0; expected more than 0"),
        ("0 0.5 0.5 0.5 -0.5", "h is -0.5"),
        ("0000000000099 0.5 0.5 0.5 0.5", "class 0000000000099"),
        ("0 0.9 0.5 0.5 0.5", "box [26, 7.5, 46, 22.5] lies outside the image; expected 0 to 40 x 30"),
        ("0 0.5 0.1 0.5 0.5", "box [10, -4.5, 30, 10.5] lies outside"),
        ("0 200 150 20 20", "outside the image"),
        ("0 -0.01 0.5 0.005 0.5", "has no area"),
        ("0 0.1 0.1 0.5 0.1 0.5", "6 fields"),
        ("0 0.1 0.1 0.5 0.1 0.5 nan", "y is nan"),
        ("0 0.1 0.1 1.5 0.1 0.5 0.5", "lies outside the image"),
    ],
)
def test_bad_line_is_named_with_its_field(darknet_root: Path, line: str, message: str) -> None:
    label(darknet_root).write_text(f"0 0.5 0.5 0.5 0.5\n\n{line}\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        DarknetSource(darknet_root, SPLITS).frames("train")[0]
    assert f"{label(darknet_root)} line 3: " in str(caught.value)
    assert message in str(caught.value)


def test_missing_label_file_is_an_error(darknet_root: Path) -> None:
    label(darknet_root).unlink()
    with pytest.raises(InputError, match=r"frame_0\.txt: no such file"):
        list(DarknetSource(darknet_root, SPLITS).frames("train"))


def test_missing_label_files_may_stand_for_no_objects(darknet_root: Path) -> None:
    label(darknet_root).unlink()
    with pytest.raises(InputError, match=r"no such file; .* data\.source\.missing_labels=empty"):
        DarknetSource(darknet_root, SPLITS).frames("train")[0]
    empty, labelled = DarknetSource(darknet_root, SPLITS, missing_labels="empty").frames("train")[:2]
    assert (len(empty.instances), len(labelled.instances)) == (0, 2)


def test_a_label_file_that_appears_changes_the_fingerprint(darknet_root: Path) -> None:
    text = label(darknet_root).read_text()
    label(darknet_root).unlink()
    source = DarknetSource(darknet_root, SPLITS, missing_labels="empty")
    before = source.fingerprint("train")
    label(darknet_root).write_text(text)
    assert source.fingerprint("train") != before


def test_a_broken_link_is_no_missing_label_file(darknet_root: Path) -> None:
    label(darknet_root).unlink()
    label(darknet_root).symlink_to("nowhere")
    with pytest.raises(InputError, match="no such file"):
        DarknetSource(darknet_root, SPLITS, missing_labels="empty").frames("train")[0]


def test_boxes_over_the_border_are_cut_on_request(darknet_root: Path) -> None:
    label(darknet_root).write_text("0 0.9 0.5 0.5 0.5\n1 -0.1 0.2 0.75 0.2 0.75 1.3 -0.1 1.3\n")
    with pytest.raises(InputError, match=r"lies outside the image; .*data\.source\.clip_boxes=true"):
        DarknetSource(darknet_root, SPLITS).frames("train")[0]
    cut, polygon = DarknetSource(darknet_root, SPLITS, clip_boxes=True).frames("train")[0].instances
    np.testing.assert_allclose(cut.box_xyxy, [25.5, 7, 39.5, 22])
    np.testing.assert_allclose(polygon.box_xyxy, [-0.5, 5.5, 29.5, 29.5])
    expected = np.zeros((30, 40), bool)
    expected[6:, :30] = True
    np.testing.assert_array_equal(polygon.mask, expected)


def test_a_box_that_is_all_outside_is_refused_even_so(darknet_root: Path) -> None:
    label(darknet_root).write_text("0 1.5 0.5 0.5 0.5")
    with pytest.raises(InputError, match="has no area"):
        DarknetSource(darknet_root, SPLITS, clip_boxes=True).frames("train")[0]


def test_skipping_counts_each_bad_file_and_keeps_the_rest(darknet_root: Path) -> None:
    label(darknet_root).unlink()
    image = darknet_root / "2019a/r2/frame_1.jpg"
    image.write_bytes(image.read_bytes()[:200])
    source = DarknetSource(darknet_root, SPLITS, on_bad_sample="skip")
    assert [f.key for f in source.frames("train")] == ["2019a/r1/frame_1.jpg", "2019a/r2/frame_0.jpg"]
    assert len(source.skipped) == 2
    assert "truncated JPEG" in source.skipped[1]


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"train": ["2018*"]}, "split 'train' matches no folder"),
        ({"train": ["2019*"], "val": ["*r1"]}, "2019a/r1 is in the splits train and val"),
    ],
)
def test_splits_that_match_nothing_or_overlap_are_refused(darknet_root: Path, splits, message: str) -> None:
    with pytest.raises(InputError, match=message):
        DarknetSource(darknet_root, splits)


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # from pycocotools
def test_polygon_gives_a_mask_and_its_box(darknet_root: Path) -> None:
    label(darknet_root).write_text("1 0.25 0.2 0.75 0.2 0.75 0.8 0.25 0.8")
    (instance,) = DarknetSource(darknet_root, SPLITS).frames("train")[0].instances
    np.testing.assert_allclose(instance.box_xyxy, [9.5, 5.5, 29.5, 23.5])
    expected = np.zeros((30, 40), bool)
    expected[6:24, 10:30] = True
    np.testing.assert_array_equal(instance.mask, expected)


POSE_YAML = "names: [ball, robot]\nkpt_shape: [{}, {}]\n"


@pytest.mark.parametrize(("count", "values"), [(4, 2), (4, 3), (17, 3), (5, 3)])
@pytest.mark.parametrize("names_file", ["data.yaml", "obj.names"])
def test_keypoints_are_no_polygon(darknet_root: Path, names_file: str, count: int, values: int) -> None:
    (darknet_root / "data.yaml").write_text(POSE_YAML.format(count, values))
    keypoints = " ".join(["0.4", "0.6", "1"][:values] * count)
    label(darknet_root).write_text(f"1 0.5 0.5 0.5 0.5 {keypoints}\n0 0.25 0.5 0.5 1.0\n")
    source = DarknetSource(darknet_root, SPLITS, names_file=names_file)
    posed, plain = source.frames("train")[0].instances
    np.testing.assert_allclose(posed.box_xyxy, [9.5, 7, 29.5, 22])
    assert posed.mask is None
    np.testing.assert_allclose(plain.box_xyxy, [-0.5, -0.5, 19.5, 29.5])


@pytest.mark.parametrize(
    ("line", "fix"),
    [
        ("0 0.5 0.5 0.5 0.5 0.91", "a sixth field is the score of a prediction: leave it out of labels"),
        ("0,0.5,0.5,0.5,0.5", "separate the values by spaces"),
    ],
)
def test_what_a_tool_wrote_otherwise_has_a_way_out(darknet_root: Path, line: str, fix: str) -> None:
    label(darknet_root).write_text(line)
    with pytest.raises(InputError, match=fix):
        DarknetSource(darknet_root, SPLITS).frames("train")[0]


def test_a_label_file_in_capitals_is_no_missing_one(darknet_root: Path) -> None:
    label(darknet_root).rename(label(darknet_root).with_suffix(".TXT"))
    source = DarknetSource(darknet_root, SPLITS, missing_labels="empty")
    assert len(source.frames("train")[0].instances) == 2


@pytest.mark.parametrize("fields", [6, 9, 12, 14])
def test_a_line_that_is_not_as_kpt_shape_says_is_refused(darknet_root: Path, fields: int) -> None:
    (darknet_root / "data.yaml").write_text(POSE_YAML.format(4, 2))
    label(darknet_root).write_text("0 " + " ".join(["0.5"] * (fields - 1)))
    expected = rf"line 1: {fields} fields; expected class cx cy w h, or these and 4 keypoints of 2 values"
    with pytest.raises(InputError, match=expected):
        DarknetSource(darknet_root, SPLITS).frames("train")[0]


def test_a_line_that_may_hold_keypoints_says_how_they_are_read(darknet_root: Path) -> None:
    label(darknet_root).write_text("0 " + " ".join(["0.5"] * 55))
    with pytest.raises(InputError, match=r"56 fields; .* data\.yaml with kpt_shape must lie in data\.root"):
        DarknetSource(darknet_root, SPLITS).frames("train")[0]


@pytest.mark.parametrize("text", ["a: [", "- 1", "", "!!x y"])
def test_a_yaml_that_merely_lies_there_may_be_anything(darknet_root: Path, text: str) -> None:
    (darknet_root / "data.yaml").write_text(text)
    assert len(DarknetSource(darknet_root, SPLITS).frames("train")[0].instances) == 2


@pytest.mark.parametrize("shape", ["17", "[17]", "[0, 3]", "[17, 4]", "[17, x]", "[true, 2]"])
def test_a_kpt_shape_that_means_nothing_is_refused(darknet_root: Path, shape: str) -> None:
    (darknet_root / "data.yaml").write_text(f"names: [ball, robot]\nkpt_shape: {shape}\n")
    with pytest.raises(InputError, match=r"data\.yaml: kpt_shape is"):
        DarknetSource(darknet_root, SPLITS)


@pytest.mark.parametrize("names", ["[ball, robot]", "{0: ball, 1: robot}"])
def test_names_come_from_a_yaml_file_too(darknet_root: Path, names: str) -> None:
    (darknet_root / "data.yaml").write_text(f"path: .\nnc: 2\nnames: {names}\n")
    assert DarknetSource(darknet_root, SPLITS, names_file="data.yaml").classes == ("ball", "robot")


@pytest.mark.parametrize(
    "text", ["", "names: 3", "names: {0: a, 2: b}", "names: [1, 2]", "a: [", "[[[[", "!!x y"]
)
def test_yaml_without_names_is_one_line(darknet_root: Path, text: str) -> None:
    (darknet_root / "data.yaml").write_text(text)
    with pytest.raises(InputError, match=r"data\.yaml: "):
        DarknetSource(darknet_root, SPLITS, names_file="data.yaml")


@pytest.mark.parametrize(
    ("names", "message"), [(None, "no such file"), ("", "no class names"), ("ball\nball\n", "named twice")]
)
def test_names_file_is_checked(darknet_root: Path, names: str | None, message: str) -> None:
    (darknet_root / "obj.names").unlink()
    if names is not None:
        (darknet_root / "obj.names").write_text(names)
    with pytest.raises(InputError, match=rf"obj\.names: {message}|{message}"):
        DarknetSource(darknet_root, SPLITS)


def test_missing_and_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        DarknetSource(tmp_path / "none", SPLITS)
    (tmp_path / "obj.names").write_text("ball")
    with pytest.raises(InputError, match="no images"):
        DarknetSource(tmp_path, SPLITS)


def test_unknown_split_names_the_known_ones(darknet_root: Path) -> None:
    with pytest.raises(InputError, match="no split 'test'; expected train or val"):
        DarknetSource(darknet_root, SPLITS).frames("test")


@pytest.mark.data
def test_robocup_has_the_published_number_of_crops(data_dir: Path) -> None:
    splits = {"train": ["2019*", "2022*", "2023*"], "val": ["2024*"]}
    source = DarknetSource(data_dir / "robocup_msl", splits)
    sizes = {split: len(materialise(source, split, ClassificationView(), progress=False)) for split in splits}
    assert sizes == {"train": 4521, "val": 2891}


def test_names_that_lie_in_another_file_are_pointed_at(darknet_root: Path) -> None:
    (darknet_root / "obj.names").rename(darknet_root / "classes.txt")
    with pytest.raises(InputError, match=r"no such file; .* data\.source\.names_file=classes\.txt"):
        DarknetSource(darknet_root, SPLITS)


def test_a_data_yaml_that_stands_for_too_much_is_one_line(darknet_root: Path) -> None:
    lists = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 20)]
    (darknet_root / "data.yaml").write_text("\n".join(["names: [ball]", "a0: &a0 [x]", *lists]))
    with pytest.raises(InputError, match=r"data\.yaml: its aliases stand for more than"):
        DarknetSource(darknet_root, SPLITS, names_file="data.yaml")


def test_a_data_yaml_may_begin_with_a_byte_order_mark(darknet_root: Path) -> None:
    (darknet_root / "data.yaml").write_bytes(b"\xef\xbb\xbfnames: [ball, robot]\n")
    assert DarknetSource(darknet_root, SPLITS, names_file="data.yaml").classes == ("ball", "robot")
