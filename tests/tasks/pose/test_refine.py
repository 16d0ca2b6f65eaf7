"""Poses of a frame refined: what is compared, and why a start is kept."""

from dataclasses import replace

import numpy as np
import pytest

from deeprob.data.frame import Frame, Instance
from deeprob.errors import InputError
from deeprob.geometry.mesh import make_mesh
from deeprob.sim.depth import DepthRenderer
from deeprob.tasks.pose.refine import BEHIND, NO_BETTER, NOTHING, OUTSIDE, PoseRefiner

K = np.array([[120.0, 0, 31.5], [0, 120, 23.5], [0, 0, 1]])
CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) * [0.12, 0.07, 0.05]
FACES = np.array(
    [
        *([0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1]),
        *([2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]),
    ]
)
BOX = make_mesh(CORNERS - [0.06, 0.03, 0.02], FACES, color=(0.8, 0.3, 0.1))


class OneBox:
    classes = ("box",)

    def mesh(self, class_id):
        return BOX

    look = mesh


def at(x, y=0.0, z=0.5, turn=0.4):
    T = np.eye(4)
    T[:3, :3] = [[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]]
    T[:3, 3] = [x, y, z]
    return T


@pytest.fixture(scope="module")
def frame():
    depth = DepthRenderer([BOX])(0, at(0.0), K, (48, 64))
    mask = depth > 0
    image = np.where(mask[..., None], [200, 80, 30], [40, 60, 40]).astype(np.uint8)
    depth[:, :10] = np.nan
    v, u = np.nonzero(mask)
    box = np.array([u.min(), v.min(), u.max(), v.max()], np.float64)
    far = Instance(0, np.zeros(4), mask=np.zeros_like(mask), T_cam_obj=at(0.3))
    return Frame(image, (far, Instance(0, box, mask=mask, T_cam_obj=at(0.0))), "set", "f", "g", K, depth)


@pytest.mark.parametrize("terms", [("mask", "depth"), ("rgb",), ("depth", "rgb")])
def test_a_pose_beside_the_object_is_brought_back(frame, terms):
    refiner = PoseRefiner(OneBox(), terms, sides=(32,), steps=(30,))
    start = at(0.012, -0.01, 0.5, 0.3)
    outcome = refiner.one(frame, 0, start)
    assert outcome.kept is None
    assert set(refiner.used) == set(terms)
    before, after = (np.linalg.norm(T[:2, 3] - at(0.0)[:2, 3]) for T in (start, outcome.T))
    assert after < 0.25 * before


@pytest.mark.parametrize(
    ("T", "why"),
    [(at(0, 0, -0.5), BEHIND), (at(0, 0, 0.03), BEHIND), (at(0.9), OUTSIDE), (at(0.0), NO_BETTER)],
)
def test_a_start_that_cannot_be_bettered_is_kept(frame, T, why):
    unread = replace(frame, depth_m=np.zeros_like(frame.depth_m))
    outcome = PoseRefiner(OneBox(), ("depth",), sides=(16,), steps=(1,)).one(unread, 0, T)
    assert outcome.kept == why
    assert np.array_equal(outcome.T, T)


def test_without_a_mask_of_its_class_there_is_nothing_to_compare_with(frame):
    bare = replace(frame, instances=())
    assert PoseRefiner(OneBox(), ("mask",)).one(bare, 0, at(0.0)).kept == NOTHING


@pytest.mark.parametrize(
    ("changed", "terms", "said"),
    [
        ({"K": None}, (), "no camera matrix"),
        ({"K": 3 * K}, (), r"the camera's middle \(94.5, 70.5\) lies outside of its picture, 64 x 48"),
        ({"depth_m": None}, ("depth",), r"terms=\[depth\], but there is none; expected mask rgb"),
        ({"instances": ()}, ("mask",), r"terms=\[mask\], but there is none; expected depth rgb"),
    ],
)
def test_a_frame_that_lacks_what_is_needed_is_one_line(frame, changed, terms, said):
    with pytest.raises(InputError, match=said):
        PoseRefiner(OneBox(), terms).check(replace(frame, **changed))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"terms": ["edges"]}, r"terms=\[edges\]; expected mask depth rgb"),
        ({"starts": 0}, "starts=0"),
        ({"sides": (48,)}, "1 sides and 2 steps"),
    ],
)
def test_settings_that_cannot_be_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        PoseRefiner(OneBox(), **options)
