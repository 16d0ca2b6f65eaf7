"""Frames under an affine map of the image: pixels, boxes, masks, depth, camera and poses move together.

A map M (3, 3) takes a pixel of the old image to the new one, so the projection K X becomes M K X. M K has the
last row 0 0 1, and splits into a camera matrix and a turn about the optical axis, M K = K' R; then
    K' (R T_cam_obj) X = M (K T_cam_obj X):
the pose R T_cam_obj under K' lands exactly where the image did, and depth along the axis stays what it was.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deeprob.data.frame import Frame, Instance
from deeprob.data.settings import Augmentation
from deeprob.errors import InputError
from deeprob.geometry.boxes import of_mask

Matrix = NDArray[np.float64]


def fit_matrix(width: int, height: int, new_width: int, new_height: int) -> Matrix:
    """Build the map that scales an image to fit a new size, keeps its shape and centres it: (3, 3)."""
    scale = min(new_width / width, new_height / height)
    centre, new_centre = (np.array([w - 1, h - 1]) / 2 for w, h in ((width, height), (new_width, new_height)))
    x, y = new_centre - scale * centre
    return np.array([[scale, 0, x], [0, scale, y], [0, 0, 1.0]])


def random_matrix(augmentation: Augmentation, width: int, height: int, rng: np.random.Generator) -> Matrix:
    """Draw a map by the augmentation's flip, translate, zoom, aspect and rotate, about the centre: (3, 3)."""
    a = augmentation
    draws = rng.uniform(-1, 1, 6)
    mirror = -1.0 if draws[0] < 2 * a.flip - 1 else 1.0
    zoom, aspect, angle = (1 + a.zoom) ** draws[1], (1 + a.aspect) ** (draws[2] / 2), a.rotate * draws[3]
    cos, sin = np.cos(angle), np.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]]) @ np.diag([mirror * zoom * aspect, zoom / aspect])
    centre = np.array([width - 1, height - 1]) / 2
    shift = np.rint(a.translate * draws[4:] * (width, height))
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = centre - linear @ centre + shift
    return matrix


def warp_frame(frame: Frame, matrix: Matrix, width: int, height: int, min_visible: float = 0.25) -> Frame:
    """Map a frame to an image of width x height pixels; what comes from outside the old one is black.

    matrix: affine (3, 3), from old pixels to new ones. An object of which less than `min_visible` of its box
    stays inside is left out. Raises InputError for a mirror image of a frame with poses: a mirrored object is
    another object.
    """
    linear = matrix[:2, :2]
    if np.linalg.det(linear) <= 0 and any(i.T_cam_obj is not None for i in frame.instances):
        raise InputError(
            "a frame with poses cannot be mirrored", where=frame.key, fix="set augmentation.flip=0"
        )
    K, turn = None, np.eye(4)
    if frame.K is not None:
        K, turn[:3, :3] = split_camera(matrix @ frame.K)
    size = width, height
    instances, crowds = (
        [_warp_instance(i, matrix, turn, size, least) for i in marked]
        for marked, least in ((frame.instances, min_visible), (frame.crowds, 0.0))
    )
    depth = None
    if frame.depth_m is not None:
        depth = np.asarray(_warp(frame.depth_m, matrix, size, cv2.INTER_NEAREST), np.float32)
    return replace(
        frame,
        image=_warp_image(frame.image, matrix, size),
        instances=tuple(i for i in instances if i is not None),
        crowds=tuple(i for i in crowds if i is not None),
        K=K,
        depth_m=depth,
    )


def split_camera(product: Matrix) -> tuple[Matrix, Matrix]:
    """Split M K (3, 3), whose last row is 0 0 1, into K' (upper triangular, fy > 0) and a turn R about z."""
    length = np.hypot(product[1, 0], product[1, 1])
    cos, sin = product[1, 1] / length, product[1, 0] / length
    R = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]])
    K = product @ R.T
    K[1, 0] = 0.0  # exactly, not to rounding
    return K, R


def transform_box(box_xyxy: NDArray[np.float64], matrix: Matrix) -> NDArray[np.float64]:
    """Find the box around a box's four mapped corners: float64 (4,)."""
    left, top, right, bottom = box_xyxy
    corners = (
        np.array([[left, top, 1], [right, top, 1], [right, bottom, 1], [left, bottom, 1]]) @ matrix[:2].T
    )
    return np.concatenate([corners.min(0), corners.max(0)])


def _warp_instance(
    instance: Instance, matrix: Matrix, turn: Matrix, size: tuple[int, int], min_visible: float
) -> Instance | None:
    whole = transform_box(instance.box_xyxy, matrix)
    limits = np.array([size[0], size[1], size[0], size[1]]) - 0.5
    box = whole.clip(-0.5, limits)
    area, inside = np.prod(whole[2:] - whole[:2]), np.prod((box[2:] - box[:2]).clip(0))
    if inside <= 0 or inside < min_visible * area:
        return None
    mask, amodal = (
        None if plane is None else _warp(plane.astype(np.uint8), matrix, size, cv2.INTER_NEAREST) != 0
        for plane in (instance.mask, instance.amodal_mask)
    )
    around = mask
    if (
        amodal is not None
        and not _is_around(instance.mask, instance)
        and _is_around(instance.amodal_mask, instance)
    ):
        around = amodal
    if around is not None:
        tight = of_mask(around)
        if tight is None:
            return None
        box = tight  # a turned box is larger than its object
    pose = None if instance.T_cam_obj is None else turn @ instance.T_cam_obj
    scale = abs(float(np.linalg.det(matrix[:2, :2]))) * float(inside / area)
    area_of = None if instance.area is None else instance.area * scale
    return replace(instance, box_xyxy=box, mask=mask, amodal_mask=amodal, T_cam_obj=pose, area=area_of)


def _is_around(mask: NDArray[np.bool_] | None, instance: Instance) -> bool:
    """Whether an instance's box is the one around this mask."""
    box = None if mask is None else of_mask(mask)
    return box is not None and bool(np.abs(box - instance.box_xyxy).max() < 1)


def _warp_image(image: NDArray[np.uint8], matrix: Matrix, size: tuple[int, int]) -> NDArray[np.uint8]:
    shrink = np.sqrt(abs(np.linalg.det(matrix[:2, :2])))
    if shrink < 1:  # what is finer than the new pixels would alias
        sigma = 0.5 * np.sqrt(1 / shrink**2 - 1)
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE), np.uint8)
    return np.asarray(_warp(image, matrix, size, cv2.INTER_LINEAR), np.uint8)


def _warp(plane: NDArray[Any], matrix: Matrix, size: tuple[int, int], method: int) -> NDArray[Any]:
    if plane.shape[1::-1] == size and np.array_equal(matrix, np.eye(3)):
        return plane  # a frame rendered at the size that is seen
    return np.asarray(cv2.warpAffine(plane, matrix[:2], size, flags=method, borderMode=cv2.BORDER_CONSTANT))
