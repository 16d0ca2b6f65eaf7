from pathlib import Path

import numpy as np
import pytest

from deeprob.data.predictions.bop_csv import PoseEstimate, read_results, write_results
from deeprob.errors import InputError
from deeprob.geometry.rotation import axis_angle_to_matrix
from deeprob.geometry.transform import make_transform

POSE = make_transform(axis_angle_to_matrix([1, 2, 3], 0.5), [0.1, -0.2, 0.9])
HEADER = "scene_id,im_id,obj_id,score,R,t,time\n"


def test_estimates_come_back_exactly(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    write_results(path, [PoseEstimate(1, 2, 5, 0.75, POSE, 0.5), PoseEstimate(1, 3, 1, 0.1, np.eye(4))])
    first, second = read_results(path)
    assert (first.scene_id, first.im_id, first.obj_id, first.score, first.seconds) == (1, 2, 5, 0.75, 0.5)
    np.testing.assert_allclose(first.T_cam_obj, POSE, atol=1e-15)
    assert second.seconds == -1


def test_lengths_are_written_in_millimetres(tmp_path: Path) -> None:
    write_results(tmp_path / "r.csv", [PoseEstimate(1, 2, 5, 1, make_transform(None, [0.5, 0, 0.25]))])
    assert (tmp_path / "r.csv").read_text() == HEADER + (
        "1,2,5,1.0,1.0 0.0 0.0 0.0 1.0 0.0 0.0 0.0 1.0,500.0 0.0 250.0,-1.0\n"
    )


def test_estimate_that_is_not_finite_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="estimate 0 is not finite"):
        write_results(tmp_path / "r.csv", [PoseEstimate(1, 2, 5, float("nan"), POSE)])
    assert not (tmp_path / "r.csv").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the columns are"),
        ("scene_id,im_id\n", "the columns are scene_id,im_id"),
        (HEADER + "1,2,3\n", "line 2: 3 fields"),
        (HEADER + "1,2,x,1,1 0 0 0 1 0 0 0 1,0 0 0,1\n", "line 2: invalid literal"),
        (HEADER + "1,2,3,1,1 0 0 0 1 0 0 0,0 0 0,1\n", "cam_R_m2c has 8 values"),
        (HEADER + "1,2,3,1,2 0 0 0 1 0 0 0 1,0 0 0,1\n", "cam_R_m2c is no rotation"),
        (HEADER + "1,2,3,1,1 0 0 0 1 0 0 0 1,0 nan 0,1\n", "cam_t_m2c is"),
        (HEADER + "1,2,3,inf,1 0 0 0 1 0 0 0 1,0 0 0,1\n", "is not finite"),
    ],
)
def test_broken_results_are_one_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "r.csv").write_text(content)
    with pytest.raises(InputError, match=message):
        read_results(tmp_path / "r.csv")
