import json
from pathlib import Path

import numpy as np
import pytest
import trimesh

from deeprob.data.readers.bop import BopSource
from deeprob.errors import InputError

SPLITS = {"train": ["train_pbr/*"]}


@pytest.fixture
def root(readers, tmp_path: Path) -> Path:
    readers["bop"].build(tmp_path / "ycb")
    return tmp_path / "ycb"


def write_model(path: Path, size: float) -> None:
    path.parent.mkdir(exist_ok=True)
    trimesh.creation.box((size, size, size)).export(path)


@pytest.mark.parametrize(
    ("size", "diameter", "message"),
    [
        (0.1, 0.17, r"obj_000005\.ply: the model is 0\.173 mm across; in metres\?"),
        (100, 0.17, r"models_info\.json object 5: the diameter is 0\.17 mm, but the model 173 mm across"),
        (0.1, 173, r"the model is 0\.173 mm across"),
    ],
)
def test_models_in_metres_are_refused(root: Path, size: float, diameter: float, message: str) -> None:
    info = {"1": {"diameter": diameter}, "5": {"diameter": diameter}}
    (root / "models/models_info.json").write_text(json.dumps(info))
    write_model(root / "models/obj_000005.ply", size)
    with pytest.raises(InputError, match=message):
        BopSource(root, SPLITS).mesh(1)


@pytest.mark.parametrize(
    ("folders", "size"), [(["models_cad", "models_reconst"], 10), (["models_cad", "models_eval"], 20)]
)
def test_models_are_found_in_the_folders_that_data_sets_have(
    root: Path, folders: list[str], size: int
) -> None:
    info = (root / "models/models_info.json").read_text().replace("100", "15")
    (root / "models/models_info.json").unlink()
    for number, name in enumerate(folders, start=1):
        write_model(root / name / "obj_000001.ply", 10 * number)
        (root / name / "models_info.json").write_text(info)
    np.testing.assert_allclose(BopSource(root, SPLITS).mesh(0).extents, [size / 1000] * 3)


def test_symmetries_combine_discrete_and_continuous_ones(root: Path) -> None:
    path = root / "models/models_info.json"
    info = json.loads(path.read_text())
    upside_down = [1, 0, 0, 0, 0, -1, 0, 0, 0, 0, -1, 20, 0, 0, 0, 1]
    info["5"]["symmetries_discrete"] = [upside_down]
    info["5"]["symmetries_continuous"] = [{"axis": [0, 0, 1], "offset": [10, 0, 0]}]
    path.write_text(json.dumps(info))
    source = BopSource(root, SPLITS)
    assert source.symmetries(0).transforms().tolist() == [np.eye(4).tolist()]
    found = source.symmetries(1).transforms(steps=12)
    assert found.shape == (24, 4, 4)
    np.testing.assert_array_equal(found[0], np.eye(4))
    # A point turns about the axis through x = 10 mm: its distance to it stays.
    points = found[:12] @ [0.03, 0, 0, 1]
    np.testing.assert_allclose(np.hypot(points[:, 0] - 0.01, points[:, 1]), 0.02)
    np.testing.assert_allclose(found[12] @ [0, 0, 0, 1], [0, 0, 0.02, 1], atol=1e-12)


def test_symmetry_that_is_no_rotation_is_refused(root: Path) -> None:
    path = root / "models/models_info.json"
    path.write_text(json.dumps({"1": {"symmetries_discrete": [[2.0] * 16]}, "5": {}}))
    with pytest.raises(InputError, match=r"object 1 symmetries_discrete: .* is no rotation"):
        BopSource(root, SPLITS).symmetries(0)
