"""PROPS as it is published: archives of the published layout, put by hand, fetched, shown and trained on.

Only what the layout leaves open is ours: few frames, boxes for models. Nothing here uses our own exporter.
"""

import dataclasses
import hashlib
import io
import json
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from deeprob.cli import main
from deeprob.data import fetch as fetching
from deeprob.data.fetch import fetch
from deeprob.data.readers.props import CLASSES, PropsClassificationSource, PropsDetectionSource
from deeprob.data.readers.props_check import Reading
from deeprob.data.readers.props_pose import OBJECT_IDS, PropsPoseSource
from deeprob.errors import InputError

K = np.array([[902.19, 0, 342.35], [0, 902.39, 252.23], [0, 0, 1]])
NUM_FRAMES = 4
INSTANCES = (
    "mug_1",
    "mug_2",
    "mug_4",
    "sugar_box_1",
    "sugar_box_10",
    "large_marker_3",
)  # numbers are missing
HELD_OUT = ("mug_4", "sugar_box_10")


def quiet(what: str, done: int, total: int | None) -> None:
    """No progress."""


def short(text: str) -> bytes:
    """A str of Python 2, as its protocol 2 writes it (SHORT_BINSTRING)."""
    return b"U" + bytes([len(text)]) + text.encode()


def python_2_instance(images: np.ndarray, label: int) -> bytes:
    """{"data": uint8 array, "labels": list of int} as Python 2 with NumPy pickled it: bytes are a str."""
    shape = b"(" + b"".join(b"M" + int(n).to_bytes(2, "little") for n in images.shape) + b"t"
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + short("b") + b"\x87R"
        b"(K\x01" + shape + b"cnumpy\ndtype\n" + short("u1") + b"K\x00K\x01\x87R"
        b"(K\x03" + short("|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        b"T" + images.size.to_bytes(4, "little") + images.tobytes() + b"tb"
    )
    labels = b"](" + b"".join(b"K" + bytes([label]) for _ in images) + b"e"
    return b"\x80\x02}(" + short("data") + array + short("labels") + labels + b"u."


def python_2_meta(stems: tuple[str, ...]) -> bytes:
    return b"\x80\x02}" + short("test_split") + b"](" + b"".join(map(short, stems)) + b"es."


def archive(path: Path, files: dict[str, bytes]) -> bytes:
    """A .tar.gz with an entry for each folder too, as tar writes it."""
    with tarfile.open(path, "w:gz") as tar:
        for folder in sorted({str(parent) for name in files for parent in Path(name).parents} - {"."}):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path.read_bytes()


def picture(seed: int, suffix: str = ".png") -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.imencode(suffix, cv2.resize(coarse, (640, 480)))[1].tobytes()


def crops(stem: str) -> np.ndarray:
    number = INSTANCES.index(stem)
    return np.random.default_rng(number).integers(0, 256, (12 + number, 32, 32, 3), dtype=np.uint8)


def classification_files() -> dict[str, bytes]:
    root = "Progress-Objects-Sample"
    files = {f"{root}/meta.pkl": python_2_meta(HELD_OUT)}
    for stem in INSTANCES:
        label = CLASSES.index(stem.rpartition("_")[0])
        files[f"{root}/{stem}.pkl"] = python_2_instance(crops(stem), label)
    return files


def detection_files(folder: Path) -> dict[str, bytes]:
    root, images, labels = "PROPS-Detection-Dataset", {}, {}
    for split, first in (("train", 0), ("val", NUM_FRAMES)):
        entries = []
        for number in range(first, first + NUM_FRAMES):
            images[f"PROPS-Detection/{number:06d}.jpg"] = picture(number, ".jpg")
            objects = [
                {"name": "mug", "xyxy": [100, 120, 180, 220]},
                {"name": CLASSES[number % 8], "xyxy": [300.5, 10, 640, 200 + number]},
            ]
            entries.append([f"PROPS-Detection/{number:06d}.jpg", objects])
        labels[f"{root}/{split}.json"] = json.dumps(entries).encode()
    inner = archive(folder / "PROPS-Detection.tar.gz", images)
    return {f"{root}/PROPS-Detection.tar.gz": inner, **labels}


def corners(class_id: int) -> np.ndarray:
    """The corners of a box some centimetres large, another for each class: (8, 3), metres."""
    size = 0.01 * np.random.default_rng(class_id).uniform(5, 14, 3)
    return (np.indices((2, 2, 2)).reshape(3, 8).T - 0.5) * size


FACES = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))


def model_text(vertices: np.ndarray) -> bytes:
    lines = ["mtllib textured_simple.obj.mtl"]
    lines += ["v {:.6f} {:.6f} {:.6f}".format(*vertex) for vertex in vertices]
    lines += ["f " + " ".join(str(i + 1) for i in face) for face in FACES]
    return "\n".join(lines).encode()


def pose(number: int) -> np.ndarray:
    """T_cam_obj of object `number`, 0.8 to 1.3 m in front of the camera."""
    draw = np.random.default_rng(100 + number)
    R = cv2.Rodrigues(draw.uniform(-2, 2, 3))[0]
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, (draw.uniform(-0.2, 0.2), draw.uniform(-0.12, 0.12), draw.uniform(0.8, 1.3))
    return T


def silhouette(class_id: int, T: np.ndarray) -> np.ndarray:
    points = corners(class_id) @ T[:3, :3].T + T[:3, 3]
    mask = np.zeros((480, 640), np.uint8)
    for face in FACES:
        pixels = (points[list(face)] @ K.T)[:, :2] / points[list(face), 2:]
        cv2.fillConvexPoly(mask, np.rint(pixels).astype(np.int32), 255)
    return mask


def pose_files(
    depth_step: float = 1e-4,
    inverse: bool = True,
    translation: float = 1.0,
    model_unit: float = 1.0,
) -> dict[str, bytes]:
    """Two objects a frame; a third is listed but hidden: its box is empty, its mask black."""
    root, files = "PROPS-Pose-Dataset", {}
    for class_id, obj_id in enumerate(OBJECT_IDS):
        path = f"{root}/model/{obj_id}_{CLASSES[class_id]}/textured_simple.obj"
        files[path] = model_text(corners(class_id) / model_unit)
        files[f"{path}.mtl"] = b"newmtl m\nmap_Kd texture_map.png\n"
        files[f"{path.removesuffix('textured_simple.obj')}texture_map.png"] = picture(class_id)
    for split, first in (("train", 0), ("val", NUM_FRAMES)):
        truth, infos = {}, {}
        for number in range(first, first + NUM_FRAMES):
            depth = np.full((480, 640), round(1.4 / depth_step), np.uint16)
            truth[str(number)], infos[str(number)] = [], []
            covered = np.zeros((480, 640), bool)
            for index, class_id in enumerate((number % 10, (number + 3) % 10, (number + 5) % 10)):
                T = pose(10 * number + index)
                mask = silhouette(class_id, T) if index < 2 else np.zeros((480, 640), np.uint8)
                mask[covered] = 0  # what is listed first lies in front
                covered |= mask > 0
                depth[mask > 0] = round((T[2, 3] - 0.03) / depth_step)
                stored = np.linalg.inv(T) if inverse else T
                truth[str(number)].append(
                    {
                        "cam_R_m2c": stored[:3, :3].ravel().tolist(),
                        "cam_t_m2c": (stored[:3, 3] / translation).tolist(),
                        "obj_id": OBJECT_IDS[class_id],
                    }
                )
                box = list(cv2.boundingRect(mask)) if mask.any() else []
                infos[str(number)].append({"bbox_visib": box})
                name = f"{root}/{split}/mask_visib/{number:06d}_{index:06d}.png"
                files[name] = cv2.imencode(".png", mask)[1].tobytes()
            files[f"{root}/{split}/rgb/{number:06d}.png"] = picture(number)
            files[f"{root}/{split}/depth/{number:06d}.png"] = cv2.imencode(".png", depth)[1].tobytes()
        files[f"{root}/{split}/{split}_gt.json"] = json.dumps(truth).encode()
        files[f"{root}/{split}/{split}_gt_info.json"] = json.dumps(infos).encode()
    return files


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with the three archives put by hand; their sums stand in for the published ones."""
    data = tmp_path / "my data"
    data.mkdir()
    contents = {
        "props_classification": classification_files(),
        "props_detection": detection_files(tmp_path),
        "props_pose": pose_files(),
    }
    for name, files in contents.items():
        (entry,) = fetching.ARCHIVES[name]
        md5 = hashlib.md5(archive(data / entry.file, files)).hexdigest()
        inner = entry.inner and hashlib.md5(files[entry.inner.removeprefix("props/")]).hexdigest()
        changed = dataclasses.replace(entry, md5=md5, inner_md5=inner)
        monkeypatch.setitem(fetching.ARCHIVES, name, (changed,))
    return data


def unpacked(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder / next(iter(files)).split("/")[0]


def test_published_names_and_sums_are_those_of_the_course() -> None:
    found = {
        name: (entry.file, entry.md5, entry.inner_md5)
        for name in ("props_classification", "props_detection", "props_pose")
        for entry in fetching.ARCHIVES[name]
    }
    assert found == {
        "props_classification": ("Progress-Objects-Sample.tar.gz", "b32c587684bb54a9f918b6b081a18e28", None),
        "props_detection": (
            "PROPS-Detection-Dataset.tar.gz",
            "225d557f4980bd3e999d93411c3bebe6",
            "edb9252acb907894a478e8e1dc244da1",
        ),
        "props_pose": ("PROPS-Pose-Dataset.tar.gz", "a0c39fe326377dacd1d652f9fe11a7f4", None),
    }


def test_classification_archive_becomes_crops_split_by_instance(published: Path) -> None:
    (root,) = fetch("props_classification", published, quiet)
    source = PropsClassificationSource(root)
    for split, stems in (("train", set(INSTANCES) - set(HELD_OUT)), ("test", set(HELD_OUT))):
        frames = list(source.frames(split))
        assert {frame.group for frame in frames} == stems
        assert len(frames) == sum(len(crops(stem)) for stem in stems)
        for frame in frames:
            stem, index = frame.key.split(".pkl ")
            np.testing.assert_array_equal(frame.image, crops(stem)[int(index)])
            assert CLASSES[frame.instances[0].class_id] == stem.rpartition("_")[0]


def test_table_of_sums_beside_the_folder_is_held_to(published: Path) -> None:
    (root,) = fetch("props_classification", published, quiet)
    rows = [f"{path.name}\t{hashlib.md5(path.read_bytes()).hexdigest()}" for path in root.iterdir()]
    (root.parent / "classification_md5.tsv").write_text("file\tmd5\n" + "\n".join(rows) + "\n")
    assert len(PropsClassificationSource(root).frames("test")) > 0
    (root / "mug_2.pkl").write_bytes(python_2_instance(crops("mug_2") // 2, 8))
    with pytest.raises(InputError, match=r"mug_2\.pkl: MD5 .* fetch the file again"):
        PropsClassificationSource(root).frames("train")
    (root / "mug_2.pkl").unlink()
    with pytest.raises(InputError, match=r"no file mug_2\.pkl, which the table of MD5 sums names"):
        PropsClassificationSource(root)
    skipping = PropsClassificationSource(root, on_bad_sample="skip")
    assert {frame.group for frame in skipping.frames("train")} == {"mug_1", "sugar_box_1", "large_marker_3"}
    assert len(skipping.skipped) == 1


def test_held_out_instance_that_was_never_published_is_no_fault(published: Path) -> None:
    (root,) = fetch("props_classification", published, quiet)
    (root / "meta.pkl").write_bytes(python_2_meta((*HELD_OUT, "mug_3")))
    rows = [f"{path.name}\t{hashlib.md5(path.read_bytes()).hexdigest()}" for path in root.iterdir()]
    (root.parent / "classification_md5.tsv").write_text("\n".join(rows))
    assert {f.group for f in PropsClassificationSource(root).frames("test")} == set(HELD_OUT)


def test_resource_forks_of_a_mac_are_not_read(published: Path) -> None:
    (root,) = fetch("props_classification", published, quiet)
    (root / "._mug_1.pkl").write_bytes(b"\x00\x05\x16\x07")
    assert "._mug_1" not in {frame.group for frame in PropsClassificationSource(root).frames("train")}


def test_detection_archive_and_the_one_inside_become_frames(published: Path) -> None:
    (root,) = fetch("props_detection", published, quiet)
    source = PropsDetectionSource(root)
    for split in ("train", "val"):
        for frame, (path, objects) in zip(
            source.frames(split), json.loads((root / f"{split}.json").read_text()), strict=True
        ):
            assert (frame.key, frame.image.shape) == (path, (480, 640, 3))
            assert [CLASSES[i.class_id] for i in frame.instances] == [o["name"] for o in objects]
            np.testing.assert_array_equal(
                [i.box_xyxy + 0.5 for i in frame.instances], [o["xyxy"] for o in objects]
            )


def test_changed_inner_archive_is_refused(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (entry,) = fetching.ARCHIVES["props_detection"]
    monkeypatch.setitem(
        fetching.ARCHIVES, "props_detection", (dataclasses.replace(entry, inner_md5="0" * 32),)
    )
    with pytest.raises(InputError, match=r"PROPS-Detection\.tar\.gz: MD5 .* expected 0000"):
        fetch("props_detection", published, quiet)


def test_projected_models_cover_the_masks_of_the_pose_archive(published: Path) -> None:
    (root,) = fetch("props_pose", published, quiet)
    source = PropsPoseSource(root)
    for split, first in (("train", 0), ("val", NUM_FRAMES)):
        frames = list(source.frames(split))
        assert [frame.key for frame in frames] == [f"{split}/{first + i:06d}" for i in range(NUM_FRAMES)]
        for number, frame in enumerate(frames, start=first):
            assert len(frame.instances) <= 2  # the hidden one is left out
            np.testing.assert_array_equal(frame.K, K)
            for instance in frame.instances:
                covered = silhouette(instance.class_id, instance.T_cam_obj) > 0
                assert (covered & instance.mask).sum() >= 0.99 * instance.mask.sum()
                inside = float(np.median(frame.depth_m[instance.mask]))
                assert inside == pytest.approx(instance.T_cam_obj[2, 3] - 0.03, abs=1e-4)
            np.testing.assert_allclose(frame.instances[0].T_cam_obj, pose(10 * number), atol=1e-9)
    np.testing.assert_allclose(
        np.sort(source.mesh(0).vertices, axis=0), np.sort(corners(0), axis=0), atol=1e-6
    )


@pytest.mark.parametrize(
    ("made", "says", "options"),
    [
        (
            {"inverse": False},
            r"overlap the masks by \d+%.*data\.source\.stored=T_cam_obj",
            {"stored": "T_cam_obj"},
        ),
        (
            {"translation": 1e-3},
            r"overlap the masks by \d+%.*data\.source\.translation_scale=0\.001",
            {"translation_scale": 1e-3},
        ),
        (
            {"inverse": False, "translation": 1e-3},
            r"data\.source\.stored=T_cam_obj data\.source\.translation_scale=0\.001",
            {"stored": "T_cam_obj", "translation_scale": 1e-3},
        ),
        (
            {"model_unit": 1e-3},
            r"the models are \d+ m large; try data\.source\.model_scale=0\.001",
            {"model_scale": 1e-3},
        ),
        (
            {"depth_step": 1e-3},
            r"depth .* but pose at .* data\.source\.depth_scale=0\.001",
            {"depth_scale": 1e-3},
        ),
        ({"depth_step": 2.5e-4}, r"data\.source\.depth_scale=0\.00025", {"depth_scale": 2.5e-4}),
    ],
    ids=lambda value: None if isinstance(value, str) else " ".join(value),
)
def test_other_direction_or_unit_is_told_in_one_line_and_can_be_set(
    tmp_path: Path, made: dict, says: str, options: dict
) -> None:
    root = unpacked(tmp_path, pose_files(**made))
    with pytest.raises(InputError, match=says):
        PropsPoseSource(root).frames("train")
    frame = PropsPoseSource(root, **options).frames("train")[0]
    np.testing.assert_allclose(frame.instances[0].T_cam_obj, pose(0), atol=1e-9)
    assert len(PropsPoseSource(root, check=False).frames("train")) == NUM_FRAMES


def test_poses_that_fit_under_no_reading_are_said_to(tmp_path: Path) -> None:
    root = unpacked(tmp_path, pose_files())
    path = root / "train/train_gt.json"
    truth = json.loads(path.read_text())
    for number, objects in enumerate(truth.values()):
        for index, entry in enumerate(objects):
            T = np.linalg.inv(pose(500 + 10 * number + index))
            entry["cam_t_m2c"] = (T[:3, 3] + [0, 0, 0.5]).tolist()
    path.write_text(json.dumps(truth))
    with pytest.raises(InputError, match=r"train: .*no direction or unit .* data\.source\.check=false"):
        PropsPoseSource(root).frames("train")


def test_one_wrong_label_does_not_condemn_the_set(tmp_path: Path) -> None:
    root = unpacked(tmp_path, pose_files())
    path = root / "train/train_gt.json"
    truth = json.loads(path.read_text())
    truth["0"][0]["cam_t_m2c"] = [3, 3, -3]
    path.write_text(json.dumps(truth))
    assert len(PropsPoseSource(root).frames("train")) == NUM_FRAMES


def test_broken_model_is_one_line(tmp_path: Path) -> None:
    root = unpacked(tmp_path, pose_files())
    path = root / "model/14_mug/textured_simple.obj"
    path.write_text("v 0 0 nan\n")
    with pytest.raises(InputError, match=r"14_mug/textured_simple\.obj: "):
        PropsPoseSource(root).frames("train")
    path.unlink()
    with pytest.raises(InputError, match=r"14_mug/textured_simple\.obj: no such mesh file"):
        PropsPoseSource(root).frames("train")


def test_reading_names_the_options_that_lead_to_another() -> None:
    assert Reading().options(Reading("T_cam_obj", 0.001)) == (
        "data.source.stored=T_cam_obj data.source.translation_scale=0.001"
    )
    assert Reading().options(Reading()) == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "split", "count"),
    [("props_classification", "test", 30), ("props_detection", "val", 4), ("props_pose", "val", 4)],
)
def test_archive_put_by_hand_is_fetched_shown_and_trained_on(
    name: str, split: str, count: int, published: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(published.parent)
    where = f"paths.data_dir={published}"
    assert main(["fetch", name, where]) == 0
    assert capsys.readouterr().out.startswith(f"{name}: {published}/props/")
    assert main(["info", f"data={name}", where, "sheet=sheet.png"]) == 0
    shown = capsys.readouterr().out
    assert f"{name}: real" in shown
    assert str(count) in next(line for line in shown.splitlines() if "frames " in line)
    assert cv2.imread("sheet.png").shape[0] > 100
    train = ["train", "name=short", f"data={name}", where, "model=softmax_regression", "trainer.max_epochs=1"]
    train += ["data.batch_size=8", f"paths.cache_dir={published.parent}/cache", "trainer.threads=1"]
    train += [f"evaluation.split={split}"] + (["data.val_fraction=0.3"] if split == "test" else [])
    assert main(train) == 0, capsys.readouterr().err
    (results,) = Path("runs/short").glob("*/results.json")
    found = json.loads(results.read_text())
    assert found["data"]["source"] == name
    assert found["data"]["train"] > 0
