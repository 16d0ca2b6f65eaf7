"""Symmetric poses, and rotations along the ray."""

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from deeprob.geometry.camera import project_points
from deeprob.models.pose.objects import Objects, ObjectTable, allocentric, egocentric


def table(**changed):
    known = vars(Objects.spheres(1)) | changed
    return ObjectTable(Objects(**known))


def pose(seed):
    rng = np.random.default_rng(seed)
    T = np.eye(4)
    T[:3, :3] = Rotation.random(random_state=seed).as_matrix()
    T[:3, 3] = [*rng.uniform(-0.2, 0.2, 2), rng.uniform(0.4, 1.2)]
    return torch.from_numpy(T[None]).float()


def test_along_the_ray_an_object_looks_alike_wherever_it_is():
    """Points turned with the ray project to the same places around the object's own."""
    R = torch.from_numpy(Rotation.random(random_state=0).as_matrix())[None]
    points, K = np.random.default_rng(0).normal(size=(9, 3)) * 1e-3, np.diag([500.0, 500, 1])
    seen = []
    for t in ([0.0, 0, 1], [0.4, -0.3, 0.86]):
        t = torch.tensor([t], dtype=torch.float64)
        t = t / t.norm()
        T = egocentric(R.float(), t.float())[0].double().numpy()
        moved = points @ T.T + t.numpy()
        seen.append(moved @ egocentric(torch.eye(3)[None], t.float())[0].double().numpy())
    np.testing.assert_allclose(seen[0], seen[1], atol=1e-6)
    assert project_points(K, seen[0]).shape == (9, 2)
    torch.testing.assert_close(allocentric(egocentric(R.float(), t.float()), t.float()), R.float())


def test_all_turns_about_an_axis_become_one_pose():
    one = table(axis=torch.tensor([[0.0, 0, 1]]), point=torch.tensor([[0.01, 0, 0]]))
    T, labels = pose(1), torch.tensor([0])
    about = np.eye(4)
    about[:3, :3] = Rotation.from_euler("z", 1.1).as_matrix()
    point = np.array([0.01, 0, 0])
    about[:3, 3] = point - about[:3, :3] @ point
    turned = T @ torch.from_numpy(about).float()
    torch.testing.assert_close(one.symmetric(turned, labels), one.symmetric(T, labels), atol=1e-5, rtol=1e-5)


def test_an_object_without_symmetry_keeps_its_pose():
    T = pose(2)
    torch.testing.assert_close(table().symmetric(T, torch.tensor([0]))[:, 0], T)


def test_each_discrete_symmetry_is_a_pose():
    half_turn = torch.diag(torch.tensor([-1.0, -1, 1, 1]))
    two = table(discrete=torch.stack([torch.eye(4), half_turn])[None])
    T = pose(3)
    found = two.symmetric(T, torch.tensor([0]))
    torch.testing.assert_close(found[:, 1], T @ half_turn)


def test_scaled_points_come_back():
    one, points = table(middle=torch.tensor([[0.1, 0.2, 0.3]])), torch.rand(1, 5, 3)
    labels = torch.tensor([0])
    torch.testing.assert_close(one.metric(one.scaled(points, labels), labels), points)
