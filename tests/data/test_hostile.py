"""Every file of every format broken in every way: one line that names the file, or the sample is left out."""

import copy
import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from deeprob.errors import InputError

WRONG_VALUES: tuple[Any, ...] = (None, "text", -1, 1e308, float("nan"), [], {}, 10**30)


pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # from pycocotools


def break_file(path: Path) -> Iterator[tuple[str, Callable[[Path], Any], bool]]:
    """Ways to break a file: a name, what to do, and whether it has to be noticed."""
    size = path.stat().st_size
    # Where a folder says what there is, a file that is gone cannot be missed.
    listed = (
        path.name in OPTIONAL
        or path.suffix == ".pkl"
        or (path.suffix in (".jpg", ".png") and path.parent.name in LISTED)
    )
    text = path.suffix in (".txt", ".names")
    yield "missing", lambda p: p.unlink(), not listed
    yield "a folder in its place", lambda p: (p.unlink(), p.mkdir()), not listed or path.name in OPTIONAL
    yield "a dangling link", lambda p: (p.unlink(), p.symlink_to("nowhere")), path.suffix != ".pkl"
    yield "noise", lambda p: p.write_bytes(np.random.default_rng(0).bytes(size)), True
    yield "empty", lambda p: p.write_bytes(b""), path.suffix != ".txt"
    for cut in (size // 10, size // 2, 9 * size // 10, size - 1):
        yield f"cut at {cut} of {size} bytes", lambda p, n=cut: p.write_bytes(p.read_bytes()[:n]), not text


OPTIONAL = ("scene_gt_info.json", "train_gt_info.json")
LISTED = ("rgb", "cat", "dög house", "r1", "r2")  # folders whose images are found by listing them


def break_json(value: Any) -> Iterator[tuple[str, Any]]:
    """Every field of a JSON value taken away, or given a wrong value."""
    for path in json_paths(value):
        *parents, last = path

        def edit(change: Callable[[Any], None], parents: list[Any] = parents) -> Any:
            result = copy.deepcopy(value)
            holder = result
            for step in parents:
                holder = holder[step]
            change(holder)
            return result

        name = "/".join(map(str, path))
        yield f"{name} missing", edit(lambda holder, last=last: holder.pop(last))
        for wrong in WRONG_VALUES:
            yield (
                f"{name} = {str(wrong)[:12]!r}",
                edit(lambda holder, last=last, w=wrong: holder.__setitem__(last, w)),
            )


def json_paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every field; of lists only to the first two, of frames by number only to the first."""
    children = (
        value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    )
    by_number = isinstance(value, dict) and all(key.isdigit() for key in value)
    for key, child in list(children)[: 1 if by_number else 8]:
        yield (*path, key)
        yield from json_paths(child, (*path, key))


def outcome(reader, root: Path, on_bad_sample: str) -> tuple[list[str], list[str]]:
    """The keys read and the lines of what was refused. Any error but InputError fails the test."""
    try:
        source = reader.open(root, on_bad_sample=on_bad_sample)
        frames = source.frames(reader.split)
        return [frame.key for frame in frames], list(source.skipped)
    except InputError as error:
        return [], [str(error)]


def check(reader, root: Path, whole: list[str], must_be_noticed: bool, label: str) -> bool:
    """Hold both ways of reading to the rules; says whether something was refused."""
    _, lines = outcome(reader, root, "error")
    assert lines or not must_be_noticed, f"{label}: not noticed"
    kept, skipped = outcome(reader, root, "skip")
    assert bool(skipped) == bool(lines), label
    assert set(kept) <= set(whole), label
    for line in lines + skipped:
        assert "\n" not in line, label
        assert str(root) in line, f"{label}: {line}"
        assert len(line) < 500, label
    return bool(lines)


def used_files(reader, root: Path) -> list[Path]:
    """The files that the split is read from; of several scenes those of the first."""
    other = ("val", "2024b", "mug_2", "000001/", "000004", "000005")
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    return [path for path in files if not any(name in path.relative_to(root).as_posix() for name in other)]


def test_every_broken_file_is_one_line_or_left_out(reader, tmp_path: Path) -> None:
    root = tmp_path / "set"
    reader.build(root)
    whole, lines = outcome(reader, root, "error")
    assert len(whole) == reader.num_frames
    assert not lines
    cases = 0
    for path in used_files(reader, root):
        content = path.read_bytes()
        for name, action, noticed in list(break_file(path)):
            action(path)
            check(reader, root, whole, noticed, f"{path.relative_to(root)}: {name}")
            if path.is_dir():
                path.rmdir()
            path.unlink(missing_ok=True)
            path.write_bytes(content)
            cases += 1
    print(f"{reader.name}: {cases} broken files")
    assert cases >= 20


@pytest.mark.parametrize("name", ["bop", "coco", "props_detection", "props_pose"])
def test_every_wrong_json_value_is_one_line_or_left_out(name: str, readers, tmp_path: Path) -> None:
    reader = readers[name]
    root = tmp_path / "set"
    reader.build(root)
    whole, _ = outcome(reader, root, "error")
    cases = refused = 0
    for path in used_files(reader, root):
        if path.suffix == ".json":
            text = path.read_text()
            for label, value in break_json(json.loads(text)):
                path.write_text(json.dumps(value))
                refused += check(reader, root, whole, False, f"{path.name}: {label}")
                cases += 1
            path.write_text(text)
    print(f"{name}: {cases} wrong values, {refused} refused")
    assert cases >= 60
    assert refused >= 0.4 * cases  # the others change a field that is not used, or to a value that is right


def bop_edit(file: str, change: Callable[[Any], None]) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        path = root / "train_pbr/000000" / file
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return edit


def coco_edit(change: Callable[[Any], None]) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        content = json.loads((root / "train.json").read_text())
        change(content)
        (root / "train.json").write_text(json.dumps(content))

    return edit


def gt(change: Callable[[Any], None]) -> Callable[[Path], None]:
    return bop_edit("scene_gt.json", change)


def annotation(index: int, **change: Any) -> Callable[[Path], None]:
    return coco_edit(lambda content: content["annotations"][index].update(change))


def runs(**change: Any) -> Callable[[Path], None]:
    return coco_edit(lambda content: content["annotations"][1]["segmentation"].update(change))


def crops(data: np.ndarray, labels: list[int]) -> Callable[[Path], None]:
    return write_pickle(pickle.dumps({"data": data, "labels": labels}))


def write_pickle(content: bytes) -> Callable[[Path], None]:
    return lambda root: (root / "mug_1.pkl").write_bytes(content)


class RunsCode:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch ran_code",)


MIRROR = [1.0, 0, 0, 0, 1, 0, 0, 0, -1]
CASES: list[tuple[str, Callable[[Path], Any], str]] = [
    ("bop", gt(lambda c: c["0"][0].update(cam_R_m2c=[2.0] * 9)), "cam_R_m2c is no rotation"),
    ("bop", gt(lambda c: c["0"][0].update(cam_R_m2c=MIRROR)), "cam_R_m2c is no rotation"),
    ("bop", gt(lambda c: c["0"][0].update(cam_t_m2c=[0, 0, float("nan")])), "cam_t_m2c is"),
    ("bop", gt(lambda c: c["0"][0].update(cam_t_m2c=[0, 0, 1e300])), "cam_t_m2c is"),
    ("bop", gt(lambda c: c["0"][0].update(obj_id=2)), "obj_id is 2; expected one of [1, 5]"),
    ("bop", gt(lambda c: c["0"].pop()), "expected 1, as scene_gt"),
    ("bop", gt(lambda c: c.pop("1")), "field 1 is missing"),
    ("bop", bop_edit("scene_camera.json", lambda c: c["0"].update(cam_K=[0.0] * 9)), "cam_K is"),
    (
        "bop",
        bop_edit("scene_gt_info.json", lambda c: c["0"][0].update(visib_fract=1.5)),
        "visib_fract is 1.5",
    ),
    ("bop", lambda r: shutil.rmtree(r / "train_pbr/000000/rgb"), "no folder of images"),
    ("bop", lambda r: shutil.rmtree(r / "train_pbr"), "split 'train' has no images"),
    ("bop", lambda r: (r / "models/models_info.json").write_text('{"1": {}, "1": {}}'), "appears twice"),
    ("bop", lambda r: (r / "models/models_info.json").write_text("[" * 100000), "nested too deeply"),
    ("coco", annotation(0, bbox=[-5, 0, 3, 3]), "lies outside the image"),
    ("coco", annotation(0, bbox=[5, 5, -3, 3]), "has no area"),
    ("coco", annotation(1, id=0), "id 0 is given twice"),
    ("coco", coco_edit(lambda c: c["images"][1].update(id=10)), "id 10 is given twice"),
    ("coco", coco_edit(lambda c: c["categories"][1].update(id=7)), "id 7 is given twice"),
    ("coco", annotation(0, image_id=99), "image_id is 99, which no image has"),
    ("coco", annotation(0, category_id=4), "category_id is 4"),
    ("coco", coco_edit(lambda c: c["images"][0].update(file_name="../../etc/passwd")), "leads outside"),
    ("coco", coco_edit(lambda c: c["images"][0].update(file_name="/etc/passwd")), "leads outside"),
    ("coco", coco_edit(lambda c: c["images"][0].update(width=41)), "expected 41 x 30"),
    ("coco", annotation(0, segmentation=[[1, 2, 3, 4]]), "polygon of 4 values"),
    ("coco", annotation(0, segmentation=[[1, 2, 3, 4, 5, 900]]), "outside the image"),
    ("coco", runs(counts=[5, 5]), "run lengths of 10 pixels"),
    ("coco", runs(counts="~~~"), "no compressed run-length"),
    ("coco", runs(counts="0o"), "segmentation"),
    ("coco", runs(size=[3, 4]), "segmentation of 4 x 3"),
    ("props_detection", lambda r: (r / "train.json").write_text('[["../x.png", []]]'), "leads outside"),
    ("props_detection", lambda r: (r / "train.json").write_text("[]"), "no frames"),
    ("props_detection", lambda r: (r / "train.json").write_text('{"a": 1}'), "expected a JSON list"),
    ("props_detection", lambda r: (r / "train.json").write_text("[" + "1" * 5000 + "]"), "broken JSON"),
    ("props_classification", write_pickle(pickle.dumps(RunsCode())), "asks for posix.system"),
    ("props_classification", write_pickle(b"cos\nsystem\n(S'touch ran_code'\ntR."), "asks for os.system"),
    ("props_classification", write_pickle(b"c__builtin__\neval\n(S'1'\ntR."), "asks for"),
    ("props_classification", write_pickle(b"cnumpy\nndarray\n((I99999999999\ntS'i1'\ntR."), "broken pickle"),
    ("props_classification", write_pickle(pickle.dumps({"data": np.array([{}])})), "an array of object"),
    ("props_classification", write_pickle(pickle.dumps([1, 2])), "content is [1, 2]"),
    ("props_classification", crops(np.zeros((2, 8, 8, 3), np.uint8), [1, 1]), "shape (2, 8, 8, 3)"),
    ("props_classification", crops(np.zeros((2, 32, 32, 3)), [1, 1]), "no uint8 array"),
    ("props_classification", crops(np.zeros((2, 32, 32, 3), np.uint8), [1]), "1 labels; expected 2"),
    ("props_classification", crops(np.zeros((1, 32, 32, 3), np.uint8), [10]), "label 0 is 10"),
    ("props_classification", lambda r: (r / "mug_2.pkl").unlink(), "no file mug_2.pkl"),
    (
        "folder",
        lambda r: shutil.rmtree(r / "train/cat") or shutil.rmtree(r / "train/dög house"),
        "has no images",
    ),
]


@pytest.mark.parametrize(("name", "action", "message"), CASES, ids=[f"{c[0]}: {c[2]}" for c in CASES])
def test_named_case_is_refused_with_its_field(
    name: str, action, message: str, readers, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    reader = readers[name]
    root = tmp_path / "set"
    reader.build(root)
    action(root)
    _, lines = outcome(reader, root, "error")
    assert len(lines) == 1
    assert message in lines[0]
    assert str(root) in lines[0]
    assert not (tmp_path / "ran_code").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read every file")
def test_file_without_permission_is_one_line(reader, tmp_path: Path) -> None:
    root = tmp_path / "set"
    reader.build(root)
    for path in root.rglob("*"):
        if path.is_file():
            path.chmod(0)
    _, lines = outcome(reader, root, "error")
    assert len(lines) == 1
    assert "cannot be read" in lines[0]


def test_mask_or_depth_of_another_size_is_refused(readers, tmp_path: Path, draw) -> None:
    root = tmp_path / "set"
    readers["bop"].build(root)
    mask = root / "train_pbr/000000/mask_visib/000000_000000.png"
    mask.write_bytes((root / "train_pbr/000000/mask/000000_000000.png").read_bytes())
    assert not outcome(readers["bop"], root, "error")[1]
    cv2.imwrite(str(mask), np.zeros((30, 39), np.uint8))
    assert "39 x 30" in outcome(readers["bop"], root, "error")[1][0]
