"""`deeprob refine`: a file of poses that lie beside their objects, and what becomes of them."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from deeprob.cli import main
from deeprob.data.extra_splits import ExtraSplits
from deeprob.data.predictions.bop_csv import PoseEstimate, read_results, write_results
from deeprob.data.readers.bop import BopSource
from deeprob.data.relabel import RelabelledSource
from deeprob.geometry.mesh import make_mesh
from deeprob.geometry.mesh_files import write_ply
from deeprob.sim.depth import DepthRenderer

K = np.array([[120.0, 0, 31.5], [0, 120, 23.5], [0, 0, 1]])
CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) * [0.12, 0.07, 0.05]
FACES = np.array(
    [
        *([0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1]),
        *([2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]),
    ]
)
BOX = make_mesh(CORNERS - [0.06, 0.03, 0.02], FACES, color=(0.8, 0.3, 0.1))
QUICK = ("sides=[32]", "steps=[12]", "bootstrap_samples=50", "unit=frame")


@pytest.fixture(scope="module")
def bop(tmp_path_factory):
    """A BOP set of two pictures of a box, with poses.csv: one beside each, and one behind the camera."""
    root = tmp_path_factory.mktemp("refined") / "set"
    scene = root / "test" / "000001"
    for folder in (
        root / "models",
        root / "models_eval",
        *(scene / part for part in ("rgb", "depth", "mask_visib")),
    ):
        folder.mkdir(parents=True)
    write_ply(BOX, root / "models" / "obj_000004.ply", 1000)
    write_ply(make_mesh(BOX.vertices, BOX.faces), root / "models_eval" / "obj_000004.ply", 1000)  # grey
    extents = dict(zip(("size_x", "size_y", "size_z"), (1000 * BOX.extents).tolist(), strict=True))
    corner = dict(zip(("min_x", "min_y", "min_z"), (1000 * BOX.vertices.min(0)).tolist(), strict=True))
    info = {"4": {"diameter": 147.6, **extents, **corner}}
    (root / "models" / "models_info.json").write_text(json.dumps(info))
    camera, gt, lines = {}, {}, []
    for number in (3, 8):
        T = np.eye(4)
        T[:3, :3] = Rotation.from_rotvec([0.5, 0.1 * number, 0.2]).as_matrix()
        T[:3, 3] = [0.01, -0.02, 0.5]
        depth = DepthRenderer([BOX])(0, T, K, (48, 64))
        image = np.where(depth[..., None] > 0, [30, 80, 200], [40, 60, 40])
        for part, plane in (("rgb", image), ("mask_visib", 255 * (depth > 0)), ("depth", 1000 * depth)):
            name = f"{number:06d}_000000.png" if part == "mask_visib" else f"{number:06d}.png"
            cv2.imwrite(str(scene / part / name), plane.astype(np.uint16 if part == "depth" else np.uint8))
        camera[number] = {"cam_K": K.ravel().tolist(), "depth_scale": 1.0}
        pose = {"cam_R_m2c": T[:3, :3].ravel().tolist(), "cam_t_m2c": (1000 * T[:3, 3]).tolist()}
        gt[number] = [{"obj_id": 4, **pose}]
        beside = T.copy()
        beside[:3, 3] += [0.012, 0, 0.02]
        lines.append(PoseEstimate(1, number, 4, 0.5, beside, 0.25))
    (scene / "scene_camera.json").write_text(json.dumps(camera))
    (scene / "scene_gt.json").write_text(json.dumps(gt))
    lines.append(PoseEstimate(1, 8, 4, 0.1, np.diag([-1.0, 1, -1, 1]) @ lines[0].T_cam_obj))
    write_results(root / "poses.csv", lines)
    return root


def test_an_object_looks_as_its_model_whatever_its_class_is_called(bop):
    source = BopSource(bop, {"test": ["test/*"]})
    renamed = ExtraSplits(RelabelledSource(source, {"obj_000004": "box"}), {})
    assert not np.allclose(renamed.mesh(0).colors, renamed.look(0).colors)
    np.testing.assert_allclose(renamed.look(0).colors, BOX.colors, atol=0.01)


def refined(bop, *more):
    return main(["refine", f"poses={bop / 'poses.csv'}", "data=bop", f"data.root={bop}", *QUICK, *more])


def test_poses_come_nearer_and_the_gain_is_told(bop, capsys):
    assert refined(bop, "out=better.csv", "terms=[mask,depth]") == 0
    shown = capsys.readouterr().out
    assert "ADD(-S) recall: " in shown
    before, after = read_results(bop / "poses.csv"), read_results(Path("better.csv"))
    assert [(e.im_id, e.obj_id, e.score) for e in after] == [(e.im_id, e.obj_id, e.score) for e in before]
    assert np.array_equal(after[-1].T_cam_obj, before[-1].T_cam_obj)
    assert after[0].seconds > before[0].seconds == 0.25
    assert after[-1].seconds == -1
    folder = Path("runs/predictions/better")
    results = json.loads((folder / "results.json").read_text())
    assert results["notes"][0] == "2 of 3 estimates refined, 1 kept as they were: 1 behind the camera."
    gain = results["differences"]["poses"]["add_auc"]
    assert gain["value"] > 0.1
    assert gain["ci95"][0] > 0
    page = (folder / "report.html").read_text()
    assert "Before and after" in page
    assert "behind the camera" in page
    assert page.count("data:image/jpeg") >= len(before)


def test_where_nobody_knows_the_poses_the_page_says_so(bop, capsys):
    assert refined(bop, "data.source.labels=false", "terms=[rgb]", "report=page") == 0
    assert "Compared with the frames' rgb" in capsys.readouterr().out
    page = Path("page/report.html").read_text()
    assert "no gain is known" in page
    assert "Before and after" in page
    assert not Path("page/results.json").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["terms=[edges]"], "terms=[edges]; expected mask depth rgb"),
        (["terms=[mask]", "data.source.labels=false"], "terms=[mask], but there is none"),
        (["out=poses.json"], "expected files .csv"),
        (["poses=mine.csv", "out=./mine.csv"], "out=mine.csv are the poses to refine; choose another out="),
        (["out=mine.csv/refined.csv"], "mine.csv: a file is in the way of the folder; choose another out="),
        (["report=mine.csv/page"], "mine.csv: a file is in the way of the folder; choose another report="),
        (["poses=none.csv"], "none.csv"),
        (["split=val"], "no split 'val'"),
    ],
)
def test_a_mistake_is_one_line(bop, arguments, said, capsys):
    Path("mine.csv").write_bytes((bop / "poses.csv").read_bytes())
    assert refined(bop, *arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1


def test_without_a_data_set_there_is_nothing_to_look_at(capsys):
    assert main(["refine", "poses=poses.csv"]) == 2
    assert "poses in which pictures?" in capsys.readouterr().err
