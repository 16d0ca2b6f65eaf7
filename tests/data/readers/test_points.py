from pathlib import Path

import numpy as np
import pytest

from deeprob.data.frame import Frame
from deeprob.data.readers.bop import BopSource
from deeprob.data.readers.points import (
    PointsSource,
    cloud_from_depth,
    estimate_normals,
    read_points,
    sample_points,
)
from deeprob.errors import InputError
from deeprob.geometry.camera import project_points

POINTS = np.random.default_rng(0).normal(size=(50, 3)).round(6)
PLY = "ply\nformat ascii 1.0\nelement vertex 2\n{}end_header\n{}"
XYZ = "property float x\nproperty float y\nproperty float z\n"
NORMALS = "property float nx\nproperty float ny\nproperty float nz\n"


HEADER = b"{'descr': '|O', 'fortran_order': False, 'shape': (3, 3)}"
OBJECTS = b"\x93NUMPY\x01\x00\x46\x00" + HEADER.ljust(69) + b"\n"


def write(path: Path, points: np.ndarray = POINTS) -> Path:
    if path.suffix == ".npy":
        np.save(path, points)
    elif path.suffix == ".xyz":
        path.write_text("\n".join(" ".join(f"{v:.6f}" for v in row) for row in points) + "\n\n")
    return path


@pytest.mark.parametrize("suffix", [".xyz", ".npy"])
def test_points_come_back_from_each_format(tmp_path: Path, suffix: str) -> None:
    points, normals = read_points(write(tmp_path / f"a{suffix}"))
    np.testing.assert_allclose(points, POINTS, atol=1e-9)
    assert normals is None


@pytest.mark.parametrize("suffix", [".xyz", ".npy"])
def test_six_columns_are_points_and_unit_normals(tmp_path: Path, suffix: str) -> None:
    points, normals = read_points(write(tmp_path / f"a{suffix}", np.hstack([POINTS, 3 * POINTS])))
    np.testing.assert_allclose(points, POINTS, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1)


@pytest.mark.parametrize("largest", [1.0, 255.0])
@pytest.mark.parametrize("suffix", [".xyz", ".npy"])
def test_colours_are_no_normals(tmp_path: Path, suffix: str, largest: float) -> None:
    colours = largest * np.random.default_rng(1).random((50, 3))
    colours[7] = 0  # black
    points, normals = read_points(write(tmp_path / f"a{suffix}", np.hstack([POINTS, colours])))
    np.testing.assert_allclose(points, POINTS, atol=1e-9)
    assert normals is None


def test_unit_normals_that_all_point_one_way_are_normals(tmp_path: Path) -> None:
    up = np.tile([0.0, 0.6, 0.8], (50, 1))
    np.testing.assert_allclose(read_points(write(tmp_path / "a.xyz", np.hstack([POINTS, up])))[1], up)


def test_ply_with_and_without_normals(tmp_path: Path) -> None:
    path = tmp_path / "a.ply"
    path.write_text(PLY.format(XYZ, "0 0 1\n1 2 3\n"))
    points, normals = read_points(path)
    np.testing.assert_allclose(points, [[0, 0, 1], [1, 2, 3]])
    assert normals is None
    path.write_text(PLY.format(XYZ + NORMALS, "0 0 1 0 0 2\n1 2 3 1 0 0\n"))
    np.testing.assert_allclose(read_points(path)[1], [[0, 0, 1], [1, 0, 0]])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.xyz", b"", "no points"),
        ("a.xyz", b"\n \n", "no points"),
        ("a.xyz", b"1 2\n", "shape (1, 2)"),
        ("a.xyz", b"1 2 3\n1 2\n", "no table of numbers"),
        ("a.xyz", b"1 2 x\n", "no table of numbers"),
        ("a.xyz", b"1 2 nan\n", "point 0 is not finite"),
        ("a.xyz", b"1 2 3 0 0 0\n1 2 3 0 -1 0\n", "normal of point 0 has no length"),
        ("a.xyz", b"\xff\xfe", "not UTF-8"),
        ("a.npy", b"", "empty file"),
        ("a.npy", b"\x93NUMPY\x01\x00", "broken array file"),
        ("a.npy", OBJECTS, "of object"),
        ("a.ply", b"", "empty file"),
        ("a.ply", b"ply\nformat ascii 1.0\n", "broken PLY"),
        ("a.ply", PLY.format(XYZ, "0 0 1\n").encode(), "1 vertices; expected 2"),
        ("a.ply", PLY.format(XYZ, "0 0 nan\n1 1 1\n").encode(), "point 0 is not finite"),
        ("a.obj", b"v 0 0 0", "no point cloud format"),
    ],
)
def test_bad_cloud_is_one_line_with_its_name(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_points(tmp_path / name)
    assert message in str(caught.value)
    assert name in str(caught.value)


def test_array_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npy")
    content = path.read_bytes()
    for cut in range(0, len(content), 97):
        path.write_bytes(content[:cut])
        with pytest.raises(InputError, match=r"a\.npy"):
            read_points(path)


def test_source_names_classes_by_file_and_skips_bad_ones(tmp_path: Path) -> None:
    write(tmp_path / "mug.xyz")
    write(tmp_path / "can.npy")
    (tmp_path / "bad.xyz").write_text("1 2")
    with pytest.raises(InputError, match=r"bad\.xyz"):
        PointsSource(tmp_path, {"train": ["*"]}).clouds("train")
    source = PointsSource(tmp_path, {"train": ["*"]}, on_bad_sample="skip")
    assert [c.key for c in source.clouds("train")] == ["can.npy", "mug.xyz"]
    assert source.classes[source.clouds("train")[1].class_id] == "mug"
    assert len(source.skipped) == 1


@pytest.mark.data
def test_ycb_points_are_21_objects_of_household_size(data_dir: Path) -> None:
    clouds = PointsSource(data_dir / "ycb_points", {"train": ["*.xyz"]}).clouds("train")
    assert [len(c.points) for c in clouds] == [2620] + 20 * [2621]
    assert all(0.02 < np.ptp(c.points, axis=0).max() < 0.4 for c in clouds)


def test_cloud_from_depth_projects_back_to_its_pixels(readers, tmp_path: Path) -> None:
    readers["bop"].build(tmp_path / "set")
    frame = BopSource(tmp_path / "set", {"train": ["*"]} | {"train": ["train_pbr/*"]}).frames("train")[0]
    instance = frame.instances[0]
    points = cloud_from_depth(frame, instance)
    assert len(points) == instance.mask.sum()
    np.testing.assert_allclose(points[:, 2], 0.8, rtol=1e-6)
    v, u = np.nonzero(instance.mask)
    np.testing.assert_allclose(project_points(frame.K, points), np.stack([u, v], axis=1), atol=1e-9)


def test_pixels_without_a_reading_give_no_points() -> None:
    depth = np.zeros((4, 4), np.float32)
    depth[1, 2] = 2
    frame = Frame(np.zeros((4, 4, 3), np.uint8), (), "test", "f", "g", K=np.eye(3), depth_m=depth)
    np.testing.assert_allclose(cloud_from_depth(frame), [[4, 2, 2]])


def test_cloud_needs_depth_and_camera() -> None:
    frame = Frame(np.zeros((4, 4, 3), np.uint8), (), "test", "f", "g")
    with pytest.raises(InputError, match="f: the frame has no depth"):
        cloud_from_depth(frame)


@pytest.mark.parametrize("num_points", [1, 7, 10, 25])
def test_sampling_repeats_points_only_when_it_must(num_points: int) -> None:
    index = sample_points(10, num_points, np.random.default_rng(0))
    assert len(index) == num_points
    counts = np.bincount(index, minlength=10)
    assert counts.max() - counts.min() <= 1


def test_normals_of_a_sphere_point_outwards() -> None:
    directions = np.random.default_rng(0).normal(size=(2000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    normals = estimate_normals(0.1 * directions + [1, 2, 3])
    assert (normals * directions).sum(1).min() > 0.95


def test_clouds_in_a_linked_folder_are_found_once(tmp_path: Path) -> None:
    for name in ("disk/mug", "set/bowl"):
        (tmp_path / name).mkdir(parents=True)
        write(tmp_path / name / "1.npy")
    (tmp_path / "set/mug").symlink_to(tmp_path / "disk/mug")
    (tmp_path / "set/bowl/again").symlink_to(tmp_path / "set")
    source = PointsSource(tmp_path / "set", {"train": ["*"]}, class_from="folder")
    assert source.classes == ("bowl", "mug")
    assert [cloud.key for cloud in source.clouds("train")] == ["bowl/1.npy", "mug/1.npy"]
