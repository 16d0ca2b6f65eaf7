"""Rendered views on disk: a few scenes a file, written whole or not at all, the same bytes every time."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from deeprob.errors import InputError
from deeprob.sim.physics import Scene
from deeprob.sim.render import Rendering
from deeprob.writing import atomic_file

DEPTH_STEP = 1e-4  # metres: depth on disk is rounded to a tenth of a millimetre, as in BOP data sets
_FAR = 65535  # the largest depth that fits, 6.5 m


def write_shard(path: Path, views: Iterable[tuple[Scene, Rendering]]) -> None:
    """Write these views to `path`, an .npz file; equal views give equal bytes."""
    pairs = list(views)
    scenes, renderings = [scene for scene, _ in pairs], [rendering for _, rendering in pairs]
    depth = np.stack([rendering.depth_m for rendering in renderings])
    arrays: dict[str, Any] = {
        "image": np.stack([rendering.image for rendering in renderings]),
        "depth": np.minimum(np.rint(depth / DEPTH_STEP), _FAR).astype(np.uint16),
        "owner": np.stack([rendering.owner for rendering in renderings]),
        "cover": np.stack([rendering.cover for rendering in renderings]),
        "K": np.stack([rendering.K for rendering in renderings]),
        "T_world_cam": np.stack([rendering.T_world_cam for rendering in renderings]),
        "key": np.array([scene.key for scene in scenes]),
        "count": np.array([len(scene.models) for scene in scenes]),
        "labelled": np.array([scene.labelled for scene in scenes]),
        "loose": np.array([scene.loose for scene in scenes]),
        "models": np.concatenate([scene.models for scene in scenes]),
        "scale": np.concatenate([scene.scale for scene in scenes]),
        "T_world_obj": np.concatenate([scene.T_world_obj for scene in scenes]),
        "centres": np.concatenate([scene.centres for scene in scenes]),
        "visible": np.concatenate([rendering.visible for rendering in renderings]),
        "amodal": np.concatenate([rendering.amodal for rendering in renderings]),
        "whole": np.concatenate([rendering.whole for rendering in renderings]),
    }
    with atomic_file(path, "wb") as file, zipfile.ZipFile(file, "w", compresslevel=1) as archive:
        for name, array in arrays.items():
            archive.compression = zipfile.ZIP_STORED if name == "image" else zipfile.ZIP_DEFLATED
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:  # dated 1980: the same bytes
                np.lib.format.write_array(member, array)  # type: ignore[no-untyped-call]


def read_shard(path: Path) -> list[tuple[Scene, Rendering]]:
    """The views of a shard. Raises InputError where the file is missing or damaged."""
    try:
        with np.load(path) as archive:
            a = {name: archive[name] for name in archive.files}
        ends, label_ends = np.cumsum(a["count"]), np.cumsum(a["labelled"])
        views = []
        for n, end in enumerate(ends):
            of = slice(end - a["count"][n], end)
            with_label = slice(label_ends[n] - a["labelled"][n], label_ends[n])
            scene = Scene(
                str(a["key"][n]),
                a["models"][of],
                a["scale"][of],
                a["T_world_obj"][of],
                a["centres"][of],
                int(a["labelled"][n]),
                int(a["loose"][n]),
            )
            depth = (a["depth"][n] * DEPTH_STEP).astype(np.float32)
            labels = (
                a["visible"][with_label],
                a["amodal"][with_label],
                a["whole"][with_label],
                a["K"][n],
                a["T_world_cam"][n],
            )
            views.append((scene, Rendering(a["image"][n], depth, a["owner"][n], a["cover"][n], *labels)))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
        raise InputError(
            f"the rendered scenes cannot be read ({error})",
            where=path,
            fix="delete the file, it is rendered again",
        ) from error
    return views
