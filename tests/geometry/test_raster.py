import numpy as np
import pytest

from deeprob.geometry import raster
from deeprob.geometry.camera import make_intrinsics
from deeprob.geometry.mesh import make_mesh
from deeprob.sim.library import Library
from deeprob.sim.object_model import ObjectModel
from deeprob.sim.silhouettes import silhouette

K = make_intrinsics(50, 50, 31.5, 23.5)
NEAR = 0.1


def triangle(*corners):
    """A library of one open triangle in camera coordinates."""
    return Library([ObjectModel("t", make_mesh(np.array(corners), np.array([[0, 1, 2]])), None)], [0, 0])


def draw(library, P, labelled=1):
    models = np.zeros(len(P), np.int64)
    buffers = raster.make_buffers(48, 64, len(P), 3 * len(P), len(P))
    raster.rasterize(library.meshes, models, np.ascontiguousarray(P), NEAR, labelled, buffers)
    return buffers


def in_front(z):
    return K @ np.c_[np.eye(3), [0, 0, z]]


def test_a_triangle_covers_the_pixel_centres_inside_it_at_the_right_depth():
    corners = np.array([[-0.31, -0.22, 1.1], [0.43, -0.13, 0.8], [0.02, 0.37, 1.7]])
    buffers = draw(triangle(*corners), in_front(0)[None])
    pixels = corners @ K.T
    pixels = pixels[:, :2] / pixels[:, 2:]
    v, u = np.mgrid[:48, :64]
    shares = [
        (pixels[j, 0] - pixels[i, 0]) * (v - pixels[i, 1])
        - (pixels[j, 1] - pixels[i, 1]) * (u - pixels[i, 0])
        for i, j in ((1, 2), (2, 0), (0, 1))
    ]
    inside = np.all(np.stack(shares) > 0, axis=0) | np.all(np.stack(shares) < 0, axis=0)
    np.testing.assert_array_equal(buffers.owner == 0, inside)
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    rays = np.stack([u, v, np.ones_like(u)], axis=-1) @ np.linalg.inv(K).T
    depth = (normal @ corners[0]) / (rays @ normal)
    np.testing.assert_allclose(1 / buffers.inverse_depth[inside], depth[inside], rtol=1e-6)


def test_a_triangle_that_reaches_behind_the_camera_shows_what_lies_beyond_the_near_plane():
    corners = np.array([[-0.5, 0.2, -1.0], [0.5, 0.2, -1.0], [0.0, 0.2, 3.0]])  # a floor under the camera
    buffers = draw(triangle(*corners), in_front(0)[None])
    v, u = np.nonzero(buffers.owner == 0)
    depth = 1 / buffers.inverse_depth[v, u]
    assert depth.min() >= NEAR
    np.testing.assert_allclose(depth, 0.2 * 50 / (v - 23.5), rtol=1e-6)
    x = (u - 31.5) / 50 * depth
    assert (np.abs(x) <= (3 - depth) / 4 * 0.5 + 1e-9).all()
    expected = sum(
        abs((x - 31.5) / 50 * (z := 10 / (y - 23.5))) <= (3 - z) / 8 and z >= NEAR
        for y in range(24, 48)
        for x in range(64)
    )
    assert len(v) == expected


def test_a_triangle_behind_the_camera_is_not_seen():
    assert (
        draw(triangle([0, 0, -1], [1, 0, -1], [0, 1, -1]), in_front(0)[None]).owner == raster.NOBODY
    ).all()


def test_the_nearer_instance_owns_the_pixel_and_both_cover_it():
    library = triangle([-0.3, -0.2, 0], [0.3, -0.2, 0], [0, 0.3, 0])
    buffers = draw(library, np.stack([in_front(1.0), in_front(0.9)]), labelled=2)
    both = buffers.cover == 3
    assert both.any()
    assert (buffers.owner[both] == 1).all()
    assert buffers.amodal[0, 0] == (buffers.cover & 1 > 0).sum()


def test_what_is_not_labelled_hides_without_a_silhouette():
    library = triangle([-0.3, -0.2, 0], [0.3, -0.2, 0], [0, 0.3, 0])
    buffers = draw(library, np.stack([in_front(1.0), in_front(0.9)]), labelled=1)
    assert set(np.unique(buffers.cover)) == {0, 1}
    assert (buffers.owner == 1).any()


def test_neighbouring_triangles_leave_no_crack_and_no_overlap_in_depth():
    rng = np.random.default_rng(0)
    side = 20
    x, y = np.meshgrid(np.linspace(-0.8, 0.8, side), np.linspace(-0.6, 0.6, side))
    inner = (slice(1, -1), slice(1, -1))
    x[inner] += rng.uniform(-0.02, 0.02, (side - 2, side - 2))
    vertices = np.stack([x, y, np.full_like(x, 1.0)], axis=-1).reshape(-1, 3)
    corner = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).reshape(-1)
    faces = np.r_[
        np.c_[corner, corner + 1, corner + side], np.c_[corner + 1, corner + side + 1, corner + side]
    ]
    library = Library([ObjectModel("grid", make_mesh(vertices, faces), None)], [0, 0])
    buffers = raster.make_buffers(48, 64, 1, len(vertices), len(faces))
    raster.rasterize(library.meshes, np.zeros(1, np.int64), in_front(0)[None], NEAR, 1, buffers)
    assert (buffers.owner == 0).all()
    np.testing.assert_allclose(buffers.inverse_depth, 1, rtol=1e-6)


@pytest.mark.parametrize("shift", [0.0, 0.9])
def test_the_whole_silhouette_is_counted_beyond_the_picture(shift):
    library = triangle([-0.3, -0.2, 1], [0.3, -0.2, 1], [0, 0.3, 1])
    P = K @ np.c_[np.eye(3), [shift, 0, 0]]
    canvas = np.full((3 * 48, 3 * 64), 7, np.uint8)  # of another silhouette
    area, *box = silhouette(library.meshes, 0, P, NEAR, np.empty((5, 3)), canvas, -64, -48)
    centred = draw(library, in_front(0)[None]).amodal[0, 0]
    assert abs(area - centred) <= 2
    left, top, right, bottom = box
    inside = canvas[48 + top : 49 + bottom, 64 + left : 65 + right]
    assert inside.sum() == area
    assert inside[[0, -1]].any(axis=1).all()
    assert inside[:, [0, -1]].any(axis=0).all()
