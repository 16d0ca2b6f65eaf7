import numpy as np

from deeprob.geometry.surface import corner_normals, face_normals, orientation

VERTICES = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], float)
FACES = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]], np.int32)  # a corner of a cube, from outside


def test_a_face_normal_is_twice_the_area_long():
    np.testing.assert_array_equal(face_normals(VERTICES, FACES)[0], [0, 0, -1])


def test_a_part_and_its_mirror_image_are_turned_each_by_itself():
    both = np.concatenate([VERTICES, VERTICES * [-1, 1, 1] - [1, 0, 0]])
    closed, inside_out = orientation(both, np.concatenate([FACES, FACES + 4]))
    assert closed
    assert inside_out.tolist() == [False] * 4 + [True] * 4


def test_an_open_surface_has_no_inside():
    closed, inside_out = orientation(VERTICES, FACES[:3, ::-1])
    assert not closed
    assert not inside_out.any()


def test_faces_that_meet_sharply_keep_their_own_normals():
    normals = corner_normals(VERTICES, FACES)
    np.testing.assert_allclose(normals[0], [[0, 0, -1]] * 3)
