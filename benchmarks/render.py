"""Time the renderer, forward and backward, and measure how far poses are refined by it.

    python benchmarks/render.py [out=runs/benchmark] [only=speed,renders,frames,starts]
        [meshes=FOLDER] [poses=4] [frames=FOLDER] [targets=FILE] [seed=0]

speed: depth and mask of a closed surface, and their gradient by the pose, on one thread by the process's own
clock; beside it the formulas in plain torch (float64, where no loop of ours runs). And a pose refined.
renders: the meshes of a folder (OBJ or PLY), `poses` of each, drawn in full, moved away by 2 cm and 15
degrees about the object's middle, and refined on mask and depth, mask and colour, or the mask.
frames: real frames in BOP's layout, from poses moved as far.
starts: writes such poses, of the frames' targets, to starts.csv in `out`, for `deeprob refine`.
Writes render.json and render.md to `out`; rows of parts that are not measured again are kept.
"""

import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import parse
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from deeprob import layers
from deeprob.data.predictions.bop_csv import PoseEstimate, write_results
from deeprob.data.readers.bop import BopSource
from deeprob.environment import cpu_name
from deeprob.geometry.mesh import Mesh, load_mesh
from deeprob.metrics import pose
from deeprob.models.pose import icp
from deeprob.models.pose.by_render import Drawn
from deeprob.models.pose.descent import refined
from deeprob.models.pose.seen import seen_on
from deeprob.writing import make_folder, write_json, write_text

Floats = NDArray[np.float64]
SIZE, K = (480, 640), np.array([[600.0, 0, 319.5], [0, 600, 239.5], [0, 0, 1]])
SIDES, STEPS, STARTS = (48, 96), (12, 12), 6
AWAY_M, AWAY_DEGREES = 0.02, 15.0
TERMS = (("mask", "depth"), ("mask", "rgb"), ("mask",))
LIGHT = np.array([0.4, -0.7, -0.6])


def main() -> None:
    """Measure the parts that are asked for, and write them beside those that stand in `out`."""
    torch.set_num_threads(1)
    given = parse(
        {
            **{"out": "runs/benchmark", "only": "speed,renders,frames", "meshes": "", "frames": ""},
            **{"poses": "4", "targets": "", "seed": "0"},
        }
    )
    out = Path(given["out"])
    make_folder(out)
    file = out / "render.json"
    result: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    rng = np.random.default_rng(int(given["seed"]))
    parts = given["only"].split(",")
    if "speed" in parts:
        result["speed"] = [speed(*size) for size in sizes()]
        result["refinement"] = [refinement(5000, 128, starts) for starts in (1, STARTS)]
    if "renders" in parts and given["meshes"]:
        result["renders"] = renders(Path(given["meshes"]), int(given["poses"]), rng)
    if "frames" in parts and given["frames"]:
        result["frames"] = frames(Path(given["frames"]), rng)
    if "starts" in parts and given["frames"]:
        write_results(out / "starts.csv", starts(Path(given["frames"]), given["targets"] or None, rng))
    result["machine"] = cpu_name()
    write_json(file, result)
    table = written(result)
    write_text(out / "render.md", table)
    print(table)


def sizes() -> list[tuple[int, int, int]]:
    """Faces, pixels a side, poses."""
    base = [(5000, 128, poses) for poses in (1, 8, 32)]
    return [*base, (2000, 128, 8), (20000, 128, 8), (5000, 256, 8)]


def speed(faces: int, side: int, poses: int) -> dict[str, Any]:
    """Milliseconds a pose, of the loops and of the formulas."""
    vertices, triangles = sphere(faces)
    edges = layers.mesh_edges(triangles)
    xi = 0.1 * torch.randn(poses, 6, generator=torch.Generator().manual_seed(0))
    xi[:, 2] += 3.0
    camera = torch.tensor([[side * 1.2, 0, side / 2 - 0.5], [0, side * 1.2, side / 2 - 0.5], [0, 0, 1]])

    def step(dtype: torch.dtype) -> None:
        twist = xi.to(dtype).requires_grad_()
        points = layers.project(vertices.to(dtype), layers.se3_exp(twist), camera.to(dtype))
        b, visible = layers.rasterize(points, triangles, (side, side), cull=True)
        _, far = layers.split(points, [2, 1], 2)
        depth = layers.interpolate_attributes(far, b, triangles, visible)
        crossings = layers.silhouette_crossings(points, edges, triangles, visible)
        mask = layers.antialias((visible >= 0).to(dtype)[..., None], points, *crossings)
        torch.autograd.grad(depth.mean() + mask.mean(), twist)

    row = {"faces": len(triangles), "side": side, "poses": poses}
    for name, dtype, repeats in (("ms", torch.float32, 7), ("formula_ms", torch.float64, 2)):
        step(dtype)
        times = []
        for _ in range(repeats):
            start = time.process_time()
            step(dtype)
            times.append(1000 * (time.process_time() - start) / poses)
        row[name] = statistics.median(times)
    print(row, flush=True)
    return row


def refinement(faces: int, side: int, starts: int) -> dict[str, Any]:
    """Milliseconds to refine a pose of that surface, 11 cm wide, on mask and depth: squares up to `side`."""
    vertices, triangles = sphere(faces)
    drawn = Drawn(0.05 * vertices, triangles, torch.zeros(3), 0.11, True, torch.zeros(len(triangles), 3, 3))
    T, rng = np.eye(4), np.random.default_rng(0)
    T[2, 3] = 0.6
    shown = {name: plane for name, plane in picture(drawn, T).items() if name != "rgb"}
    rows = [
        refine_one(moved(T, np.zeros(3), rng), T, drawn, shown, (side // 2, side), starts) for _ in range(10)
    ]
    row = {
        "faces": len(triangles),
        "side": side,
        "starts": starts,
        "ms": statistics.median(r[4] for r in rows[1:]),
    }
    print(row, flush=True)
    return row


def sphere(faces: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A closed surface of about so many faces, with bumps: vertices (V, 3), faces (F, 3)."""
    rows = max(3, round((faces / 4) ** 0.5))
    columns = 2 * rows
    around = torch.arange(columns) / columns * 2 * torch.pi
    down = (torch.arange(rows) + 0.5) / rows * torch.pi
    radius = 1 + 0.1 * torch.cos(5 * around) * torch.sin(down[:, None]) ** 2
    ring = torch.stack([around.cos(), around.sin()], -1) * down.sin()[:, None, None]
    body = torch.cat([ring, down.cos()[:, None, None].expand(-1, columns, 1)], -1) * radius[..., None]
    vertices = torch.cat([body.reshape(-1, 3), torch.tensor([[0, 0, 1.0], [0, 0, -1.0]])])
    i = torch.arange(columns)
    j = (i + 1) % columns
    r = torch.arange(rows - 1)[:, None] * columns
    a, b, c, d = r + i, r + j, r + columns + i, r + columns + j
    top, bottom = torch.full_like(i, rows * columns), torch.full_like(i, rows * columns + 1)
    last = (rows - 1) * columns
    parts = [torch.stack([a, c, d], -1), torch.stack([a, d, b], -1)]
    caps = [torch.stack([top, i, j], -1), torch.stack([bottom, last + j, last + i], -1)]
    return vertices, torch.cat([*(p.reshape(-1, 3) for p in parts), *caps])


def moved(T: Floats, middle: Floats, rng: np.random.Generator) -> Floats:
    """The pose turned about the object's middle and shifted, both in a random direction."""
    axis, shift = rng.normal(size=3), rng.normal(size=3)
    away = T.copy()
    turn = Rotation.from_rotvec(np.radians(AWAY_DEGREES) * axis / np.linalg.norm(axis)).as_matrix()
    away[:3, :3] = turn @ T[:3, :3]
    away[:3, 3] = T[:3, 3] + (T[:3, :3] - away[:3, :3]) @ middle + AWAY_M * shift / np.linalg.norm(shift)
    return away


def off(found: Floats, T: Floats, middle: Floats) -> tuple[float, float]:
    """Millimetres of the object's middle, and degrees."""
    apart = (found[:3, :3] - T[:3, :3]) @ middle + found[:3, 3] - T[:3, 3]
    turn = Rotation.from_matrix(found[:3, :3] @ T[:3, :3].T).magnitude()
    return 1000 * float(np.linalg.norm(apart)), float(np.degrees(turn))


def picture(drawn: Drawn, T: Floats) -> dict[str, NDArray[Any]]:
    """Mask, depth and colour of a frame that shows the mesh under one lamp."""
    here = torch.from_numpy(T).float()
    here[:3, 3] += here[:3, :3] @ drawn.middle
    points = layers.project(drawn.vertices, here[None], torch.from_numpy(K).float())
    b, visible = layers.rasterize(points, drawn.faces, SIZE, drawn.closed)
    depth = layers.interpolate_attributes(points[..., 2:], b, drawn.faces, visible)[0, ..., 0]
    assert drawn.colors is not None
    colour = layers.interpolate_attributes(drawn.colors.reshape(-1, 3), b, drawn.corners, visible)[0]
    corners = drawn.vertices[drawn.faces] @ here[:3, :3].T
    normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lamp = (normal / normal.norm(dim=1, keepdim=True)) @ torch.from_numpy(LIGHT).float()
    lit = (0.45 + 0.55 * lamp.clamp_min(0))[visible[0].clamp_min(0)]
    rgb = (255 * colour * lit[..., None]).clamp(0, 255).byte()
    return {"mask": (visible[0] >= 0).numpy(), "depth": depth.numpy(), "rgb": rgb.numpy()}


def renders(folder: Path, count: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Median errors before and after, for each choice of terms."""
    files = sorted([*folder.rglob("*.obj"), *folder.rglob("*.ply")])
    found: dict[str, list[tuple[float, ...]]] = {}
    for file in files:
        mesh = load_mesh(file)
        diameter = pose.diameter(mesh.vertices)
        full, small = Drawn.of(mesh, diameter, len(mesh.faces)), Drawn.of(mesh, diameter)
        for _ in range(count):
            T = np.eye(4)
            T[:3, :3] = Rotation.random(random_state=rng).as_matrix()
            T[:3, 3] = [*rng.uniform(-0.1, 0.1, 2), rng.uniform(0.5, 0.9)]
            T[:3, 3] -= T[:3, :3] @ mesh.centre
            start, shown = moved(T, mesh.centre, rng), picture(full, T)
            for terms in TERMS:
                row = refine_one(start, T, small, {name: shown[name] for name in terms})
                found.setdefault(" ".join(terms), []).append(row)
        print(file, {terms: rows[-1] for terms, rows in found.items()}, flush=True)
    return [summary(terms, rows) for terms, rows in found.items()]


def refine_one(
    start: Floats,
    T: Floats,
    drawn: Drawn,
    shown: dict[str, NDArray[Any]],
    sides: tuple[int, ...] = SIDES,
    starts: int = STARTS,
) -> tuple[float, ...]:
    """Errors before and after in mm and degrees, and milliseconds."""
    middle = drawn.middle.double().numpy()
    clock = time.process_time()
    result = refined(start, seen_on(sides, start, K, drawn, **shown), drawn, STEPS, starts)
    taken = 1000 * (time.process_time() - clock)
    return (*off(start, T, middle), *off(result.T, T, middle), taken)


def summary(terms: str, rows: list[tuple[float, ...]]) -> dict[str, Any]:
    """Medians, and the share that ends within 5 mm and 5 degrees."""
    values = np.array(rows)
    names = ("mm_before", "degrees_before", "mm_after", "degrees_after", "ms")
    near = (values[:, 2] < 5) & (values[:, 3] < 5)
    medians = dict(zip(names, np.median(values, 0).tolist(), strict=True))
    return {"terms": terms, "poses": len(rows), **medians, "within_5mm_5deg": float(near.mean())}


def frames(root: Path, rng: np.random.Generator) -> list[dict[str, Any]]:
    """ADD and ADD-S recall at a tenth of the diameter on real frames, of starts, of ours, and of ICP."""
    source = BopSource(root, {"test": ["test*/*"]})
    known: dict[int, tuple[Mesh, Drawn]] = {}
    rows: dict[str, list[tuple[float, ...]]] = {}
    images = source.frames("test")
    for index in range(len(images)):
        frame = images[index]
        for instance in frame.instances:
            c, T = instance.class_id, instance.T_cam_obj
            if T is None or frame.K is None or instance.mask is None:
                continue
            if c not in known:
                mesh = source.mesh(c)
                known[c] = mesh, Drawn.of(mesh, pose.diameter(mesh.vertices))
            mesh, drawn = known[c]
            start = moved(T, mesh.centre, rng)
            for name, found, taken in compared(start, frame, instance.mask, mesh, drawn):
                points = mesh.vertices[:: max(1, len(mesh.vertices) // 1000)]
                limit = 0.1 * drawn.diameter
                hit = [pose.add(found, T, points) < limit, pose.add_s(found, T, points) < limit]
                rows.setdefault(name, []).append((*off(found, T, mesh.centre), *map(float, hit), taken))
        print(frame.key, {name: np.mean(r, 0).round(2).tolist() for name, r in rows.items()}, flush=True)
    return [frames_summary(name, found) for name, found in rows.items()]


def starts(root: Path, targets: str | None, rng: np.random.Generator) -> list[PoseEstimate]:
    """The true poses of a test set, each moved. targets: a file that lists which objects count."""
    source = BopSource(root, {"test": ["test*/*"]}, {"test": targets})
    middles = [source.mesh(c).centre for c in range(len(source.classes))]
    found = []
    for item, frame in zip(source.items("test"), source.frames("test"), strict=True):
        for i in frame.instances:
            assert i.T_cam_obj is not None
            T = moved(i.T_cam_obj, middles[i.class_id], rng)
            number = source.class_numbers[i.class_id]
            found.append(PoseEstimate(int(item.scene.name), item.im_id, number, 1.0, T))
    return found


def frames_summary(name: str, rows: list[tuple[float, ...]]) -> dict[str, Any]:
    """Medians of errors and times, means of recalls."""
    values = np.array(rows)
    mm, degrees, _, _, ms = np.median(values, 0).tolist()
    add, add_s = values[:, 2:4].mean(0).tolist()
    errors = {"mm": mm, "degrees": degrees, "add": add, "add_s": add_s, "ms": ms}
    return {"pose": name, "instances": len(rows), **errors}


def compared(start: Floats, frame: Any, mask: NDArray[Any], mesh: Mesh, drawn: Drawn) -> Any:
    """Yield what a pose becomes by each way, and milliseconds."""
    yield "start", start, 0.0
    for terms in (("mask", "depth"), ("mask",)):
        shown = {"mask": mask, "depth": frame.depth_m}
        clock = time.process_time()
        squares = seen_on(SIDES, start, frame.K, drawn, **{name: shown[name] for name in terms})
        found = refined(start, squares, drawn, STEPS, STARTS).T
        yield " ".join(terms), found, 1000 * (time.process_time() - clock)
    v, u = np.nonzero(mask & (frame.depth_m > 0))
    chosen = slice(None, None, max(1, len(u) // 1000))
    rays = np.stack([u, v, np.ones(len(u))], 1)[chosen] @ np.linalg.inv(frame.K).T
    seen = rays * frame.depth_m[v, u][chosen, None]
    surface = icp.Surface(mesh.vertices[:: max(1, len(mesh.vertices) // 2000)], drawn.diameter)
    clock = time.process_time()
    found = icp.refined(start, seen, surface) if len(seen) > 8 else start
    yield "ICP, depth in the mask", found, 1000 * (time.process_time() - clock)


def written(result: dict[str, Any]) -> str:
    """All parts as tables."""
    lines = []
    for part in ("speed", "refinement", "renders", "frames"):
        rows = result.get(part, [])
        if rows:
            names = list(rows[0])
            lines += ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
            lines += ["| " + " | ".join(_cell(row[name]) for name in names) + " |" for row in rows]
            lines.append("")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
