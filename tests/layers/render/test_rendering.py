"""Pictures: what is seen is what the simulator shows, and smooth silhouettes follow the vertices."""

import numpy as np
import torch

from deeprob import layers
from deeprob.geometry.mesh import make_mesh
from deeprob.sim.depth import NEAR, DepthRenderer

SIZE = (40, 48)
K = torch.tensor([[60.0, 0, 23.3], [0, 55, 19.1], [0, 0, 1]], dtype=torch.float64)


def knob():
    """A closed surface of 162 vertices with a waist, which hides parts of itself."""
    rows, columns = 9, 18
    angle = torch.arange(columns, dtype=torch.float64) / columns * 2 * torch.pi
    height = torch.linspace(-1, 1, rows, dtype=torch.float64)
    radius = 0.25 + 0.2 * torch.cos(2.5 * torch.pi * height) ** 2
    ring = torch.stack([angle.cos(), angle.sin()], -1)
    body = torch.cat([radius[:, None, None] * ring, height[:, None, None].expand(-1, columns, 1)], -1)
    vertices = torch.cat([body.reshape(-1, 3), torch.tensor([[0.0, 0, -1.1], [0, 0, 1.1]])])
    faces = []
    for i in range(columns):
        j = (i + 1) % columns
        for r in range(rows - 1):
            a, b, c, d = r * columns + i, r * columns + j, (r + 1) * columns + i, (r + 1) * columns + j
            faces += [[a, b, d], [a, d, c]]
        last = (rows - 1) * columns
        faces += [[len(vertices) - 2, j, i], [len(vertices) - 1, last + i, last + j]]
    return vertices, torch.tensor(faces)


def poses(*turns):
    T = layers.se3_exp(torch.tensor([[0, 0, 0, *turn] for turn in turns], dtype=torch.float64))
    T[:, 2, 3] = 4
    return T


def mask_of(points, faces, edges):
    visible = layers.visible_faces(points, faces, SIZE, cull=True)
    found = layers.silhouette_crossings(points, edges, faces, visible)
    return layers.antialias((visible >= 0).to(points.dtype)[..., None], points, *found)[..., 0]


def test_depth_and_faces_are_the_simulators():
    vertices, faces = knob()
    T = poses((0.4, 0.9, 0.2), (1.7, -0.3, 0))
    T[1, 0, 3] = 1.2  # over the picture's edge
    points = layers.project(vertices, T, K)
    b, visible = layers.rasterize(points, faces, SIZE, cull=True, near=NEAR)
    depth = layers.interpolate_attributes(points[..., 2:], b, faces, visible)[..., 0]
    draw = DepthRenderer([make_mesh(vertices.numpy(), faces.numpy())])
    for pose, found in zip(T.numpy(), depth.numpy(), strict=True):
        expected = draw(0, pose, K.numpy(), SIZE)
        assert (expected > 0).sum() > 100
        assert np.array_equal(found > 0, expected > 0)
        assert np.abs(found - expected).max() < 1e-5


def test_a_half_covered_pixel_is_half_white():
    points = torch.tensor([[[1.0, -2, 1], [4.25, -2, 1], [4.25, 9, 1], [1, 9, 1]]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    found = mask_of(points, faces.flip(1), layers.mesh_edges(faces))[0, 3, :7]
    assert torch.allclose(found, torch.tensor([0, 0.5, 1, 1, 0.75, 0, 0]))


def test_an_edge_inside_a_surface_is_no_silhouette():
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    points = torch.tensor([[[1.3, 1.3, 1], [30.6, 1.3, 1], [30.6, 30.6, 1], [1.3, 30.6, 1]]])
    edges = layers.mesh_edges(faces)
    assert sorted(edges[:, 3].tolist())[:4] == [-1, -1, -1, -1]
    assert {1, 3} in [set(edge[2:]) for edge in edges.tolist()]
    visible = layers.visible_faces(points, faces, SIZE)
    crossings, _ = layers.silhouette_crossings(points, edges, faces, visible)
    assert {tuple(sorted(c)) for c in crossings[:, 2:].tolist()} == {(0, 1), (1, 2), (2, 3), (0, 3)}


def test_the_gradient_of_a_mask_is_how_its_pixels_change():
    """Central differences over motions of a third of a pixel, of weighted sums of the picture."""
    vertices, faces = knob()
    edges, T = layers.mesh_edges(faces), poses((0.4, 0.9, 0.2))
    v, u = torch.meshgrid(*(torch.linspace(-1, 1, n, dtype=torch.float64) for n in SIZE), indexing="ij")
    weights = torch.stack([torch.ones_like(u), u, v, u * u - v, u * v])

    def sums(xi):
        moved = layers.matmul(layers.se3_exp(xi), T)
        return (mask_of(layers.project(vertices, moved, K), faces, edges) * weights).sum((1, 2))

    xi = torch.zeros(1, 6, dtype=torch.float64, requires_grad=True)
    slopes = torch.stack([torch.autograd.grad(s, xi, retain_graph=True)[0][0] for s in sums(xi)])
    steps = torch.tensor([0.02, 0.02, 0.05, 0.01, 0.01, 0.02], dtype=torch.float64)
    with torch.no_grad():
        changes = [sums(step[None]) - sums(-step[None]) for step in torch.diag(steps)]
    expected = torch.stack(changes, 1) / 2
    assert expected.abs().max() > 5
    assert (slopes * steps - expected).norm() < 0.12 * expected.norm()


def test_nothing_is_seen_of_what_lies_behind_the_camera_or_nowhere():
    vertices, faces = knob()
    T = poses((0, 0, 0), (0, 0, 0))
    T[0, 2, 3], T[1, 0, 3] = -4, torch.nan
    points = layers.project(vertices, T, K)
    b, visible = layers.rasterize(points, faces, SIZE, cull=True)
    assert (visible == -1).all()
    assert not b.any()
    assert len(layers.silhouette_crossings(points, layers.mesh_edges(faces), faces, visible)[0]) == 0
