"""The visual shape of a URDF as one mesh in its base link's frame, read by PyBullet.

Traps: PyBullet reports a body's pose in the inertial frame of its base link, so that
    T_world_mesh = T_world_inertial inv(T_link_inertial) T_link_visual,
and the scale it reports for a mesh already contains globalScaling.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from deeprob.errors import InputError
from deeprob.geometry.mesh import Mesh, join_meshes, load_mesh, make_mesh
from deeprob.geometry.rotation import quaternion_to_matrix
from deeprob.geometry.transform import invert_transform, make_transform
from deeprob.sim.capture import captured, import_pybullet

_SPHERE, _BOX, _CYLINDER, _MESH, _CAPSULE = 2, 3, 4, 5, 7  # PyBullet's numbers of the shapes


def load_urdf(path: Path, scale: float = 1.0) -> Mesh:
    """All visual shapes of a URDF, joints at zero. Raises InputError where it has none or does not load."""
    p = import_pybullet()
    if not path.is_file():
        raise InputError("no such URDF", where=path)
    with captured() as chatter:
        client = p.connect(p.DIRECT)
        try:
            body = p.loadURDF(str(path), useFixedBase=True, globalScaling=scale, physicsClientId=client)
            shapes = p.getVisualShapeData(body, physicsClientId=client)
            drawn = [shape for shape in shapes if shape[2] == _MESH or not _is_nothing(shape)]
            parts = [(shape, _link_pose(p, client, body, shape[1])) for shape in drawn]
        except p.error as error:
            parts, failure = [], str(error)
        else:
            failure = ""
        finally:
            p.disconnect(physicsClientId=client)
    if failure:
        gone = re.search(r"cannot find '([^']+)'", chatter.text)
        if gone:
            raise InputError(
                f"no file {gone[1]}, which it names",
                where=path,
                expected="it beside the URDF, or in a folder above it",
            )
        text = "; ".join(line for line in chatter.text.splitlines() if line.strip()) or failure
        raise InputError(f"PyBullet cannot load it ({text[-300:]})", where=path)
    if not parts:
        raise InputError(
            "the URDF has no visual shape", where=path, expected="a <visual> with a mesh or a solid"
        )
    return join_meshes([_shape_mesh(shape, T, path) for shape, T in parts])


def _is_nothing(shape: Any) -> bool:
    """Whether a solid has no size: a link without a visual is written so."""
    sizes = {_SPHERE: 1, _BOX: 3, _CYLINDER: 2, _CAPSULE: 2}.get(shape[2], 0)
    return sizes > 0 and not any(shape[3][:sizes])


def _link_pose(p: Any, client: int, body: int, link: int) -> Any:
    """T_base_link (4, 4) of a link, -1 for the base itself."""
    if link < 0:
        return make_transform()
    position, (x, y, z, w) = p.getBasePositionAndOrientation(body, physicsClientId=client)
    inertial = p.getDynamicsInfo(body, -1, physicsClientId=client)
    base = make_transform(quaternion_to_matrix([w, x, y, z]), position) @ invert_transform(
        _pose(inertial[3], inertial[4])
    )
    state = p.getLinkState(body, link, physicsClientId=client)
    return invert_transform(base) @ _pose(state[4], state[5])


def _pose(position: Any, xyzw: Any) -> Any:
    x, y, z, w = xyzw
    return make_transform(quaternion_to_matrix([w, x, y, z]), position)


def _shape_mesh(shape: Any, T_base_link: Any, path: Path) -> Mesh:
    """One visual shape in the base link's frame, in its colour."""
    import trimesh

    kind, size, file, rgba = shape[2], shape[3], shape[4], shape[7]
    if kind == _MESH:
        name = Path(file.decode())
        beside = path.parent / name  # PyBullet looks there, and where the program runs
        mesh = load_mesh(beside if beside.is_file() else name)
        if not (np.isfinite(size).all() and np.all(size)):
            raise InputError(
                f"{name.name} is scaled by {' '.join(f'{s:g}' for s in size)}",
                where=path,
                expected="numbers other than 0",
            )
        mesh = mesh.transformed(np.diag([*size, 1.0]))
        if not mesh.textures:
            mesh.colors[:] = rgba[:3]
    else:
        if kind == _BOX:
            solid = trimesh.creation.box(extents=size)
        elif kind == _SPHERE:
            solid = trimesh.creation.icosphere(subdivisions=4, radius=size[0])
        elif kind == _CYLINDER:
            solid = trimesh.creation.cylinder(radius=size[1], height=size[0], sections=48)
        elif kind == _CAPSULE:
            solid = trimesh.creation.capsule(radius=size[1], height=size[0])
        else:
            raise InputError(f"a visual shape of kind {kind} cannot be drawn", where=path)
        mesh = make_mesh(
            np.asarray(solid.vertices), np.asarray(solid.faces), color=tuple(rgba[:3]), where=path
        )
    return mesh.transformed(T_base_link @ _pose(shape[5], shape[6]))
