"""What a pose network must beat: poses of training crops, as they lay in their crops.

    mean_pose       the mean of a class's training crops, whatever the crop shows
    nearest_view    that of the training crop of the class that looks most alike: retrieval over views

Both know the crop's place and size, as the network does: distance and direction come from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeprob.data.batches.images import resize
from deeprob.models.pose import codes
from deeprob.models.pose.objects import Objects, allocentric, egocentric
from deeprob.tasks.pose.view import PoseSamples, split_cameras

SIDE = 24  # pixels of the small images that are compared


def mean_pose(known: PoseSamples, asked: PoseSamples, objects: Objects) -> NDArray[np.float64]:
    """Poses float64 (N, 4, 4) of the crops that are asked for."""
    R, code = _in_crops(known, objects)
    classes = range(len(objects.diameter))
    of_class = [known.labels == c for c in classes]
    mean_R = torch.stack([_mean_rotation(R[own]) for own in of_class])
    mean_code = torch.stack([code[own].mean(0) if own.any() else torch.zeros(3) for own in of_class])
    return _out_of_crops(asked, mean_R[asked.labels], mean_code[asked.labels], objects)


def nearest_view(known: PoseSamples, asked: PoseSamples, objects: Objects) -> NDArray[np.float64]:
    """Poses float64 (N, 4, 4) of the crops that are asked for."""
    R, code = _in_crops(known, objects)
    views, seen = _small(known), _small(asked)
    nearest = torch.zeros(len(asked), dtype=torch.int64)
    for label in range(len(objects.diameter)):
        own, wanted = (known.labels == label).nonzero()[:, 0], (asked.labels == label).nonzero()[:, 0]
        if len(own):
            nearest[wanted] = own[(seen[wanted] @ views[own].T).argmax(1)]
    return _out_of_crops(asked, R[nearest], code[nearest], objects)


Baseline = Callable[[PoseSamples, PoseSamples, Objects], NDArray[np.float64]]
BASELINES: Mapping[str, Baseline] = {"mean_pose": mean_pose, "nearest_view": nearest_view}


def _in_crops(samples: PoseSamples, objects: Objects) -> tuple[Tensor, Tensor]:
    """Rotations (N, 3, 3) along the rays, and codes (N, 3) of the translations in their crops."""
    K, turns = split_cameras(samples.matrices @ samples.K)
    T = samples.T_cam_obj
    t = (turns @ T[:, :3, 3:]).squeeze(-1)
    code = codes.encode(t, K, samples.images.shape[1], objects.diameter.double()[samples.labels])
    return allocentric((turns @ T[:, :3, :3]).float(), t.float()), code.float()


def _out_of_crops(samples: PoseSamples, R: Tensor, code: Tensor, objects: Objects) -> NDArray[np.float64]:
    """Poses (N, 4, 4) in the frames' cameras of what `_in_crops` gives."""
    K, turns = split_cameras(samples.matrices @ samples.K)
    t = codes.decode(code, K.float(), samples.images.shape[1], objects.diameter[samples.labels])
    T = torch.eye(4, dtype=torch.float64).repeat(len(R), 1, 1)
    T[:, :3, :3] = turns.mT @ egocentric(R, t).double()
    T[:, :3, 3] = (turns.mT @ t.double()[..., None]).squeeze(-1)
    return np.asarray(T.numpy())


def _mean_rotation(R: Tensor) -> Tensor:
    """The rotation nearest to all of R (N, 3, 3), by their distances as matrices."""
    if not len(R):
        return torch.eye(3)
    U, _, Vt = torch.linalg.svd(R.double().mean(0))
    U[:, 2] *= torch.linalg.det(U @ Vt)
    R_mean: Tensor = (U @ Vt).float()
    return R_mean


def _small(samples: PoseSamples) -> Tensor:
    """Images (N, SIDE * SIDE * 3), each of mean 0 and length 1."""
    small = np.stack([resize(image, SIDE, SIDE) for image in samples.images.numpy()])
    flat = torch.from_numpy(small).float().flatten(1)
    flat = flat - flat.mean(1, keepdim=True)
    unit: Tensor = flat / flat.norm(dim=1, keepdim=True).clamp_min(1e-6)
    return unit
