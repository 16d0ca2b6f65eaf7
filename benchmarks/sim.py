"""Labelled images a second from the simulator, against PyBullet's own ways, interleaved on one core.

    python benchmarks/sim.py [rounds=6] [images=8] [scaling=400] [memory=20000] [waiting=60] [out=folder]

Ten of PyBullet's random_urdfs on a table. Every variant makes the picture, depth, instance masks, boxes and
poses, and all but the plain loop amodal masks and visible fractions. Masks are labels in two forms: `maps`
has one map of which object each pixel shows and one whose bits say which silhouettes it lies in, as the
exporters read them; `frames` has two bool masks of the picture's size for every object on top, as training
takes them, and is the figure that is quoted. The clock of these rows is the process's own CPU time, all its
threads together. scaling: frames of each process in the run over 1 and 2 processes; memory: images in the
run that watches the memory; waiting: steps of a training on frames rendered meanwhile; rounds and these: 0
leaves it out, and keeps what the sim.json in `out` says of it.
"""

import itertools
import json
import multiprocessing
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import parse
from rich.console import Console
from rich.table import Table

from deeprob.config import compose
from deeprob.errors import InputError
from deeprob.layers import cross_entropy
from deeprob.sim.bullet import BulletRenderer, projection, view_matrix
from deeprob.sim.capture import captured, import_pybullet
from deeprob.sim.export import bop
from deeprob.sim.generator import Generator
from deeprob.sim.look import draw_camera
from deeprob.sim.physics import Scene, scene_rng
from deeprob.sim.render import to_frame
from deeprob.sim.settings import CameraSettings, LookSettings, ObjectSettings, SceneSettings, SimSettings
from deeprob.sim.textures import POOL
from deeprob.training.experiment import make_model, make_task
from deeprob.training.sources import make_data
from deeprob.writing import write_json

SIZES = ((128, 128), (640, 480))
VIEWS = 8  # of each scene where physics is counted
NAMES = {
    "plain": "plain PyBullet loop: connect, load, 240 steps, TinyRenderer",
    "tiny": "TinyRenderer on a settled scene, all labels",
    "egl": "PyBullet EGL on a settled scene, all labels",
    "maps": "ours, from the bank, masks as two maps",
    "frames": "ours, from the bank, as Frames with bool masks",
    "physics": f"ours, physics included, {VIEWS} views a scene",
    "bop": "ours, from the bank, written as BOP",
}


def main() -> None:
    """Measure, print the table, write sim.json."""
    known = {"rounds": "6", "images": "8", "scaling": "400", "memory": "20000", "waiting": "60"}
    options = parse({**known, "out": "runs/benchmark"})
    rounds, images, scaling, memory, steps = (int(options[key]) for key in known)
    path = Path(options["out"]) / "sim.json"
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"rows": []}
    result |= {
        "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "load_average": os.getloadavg(),
    }
    if rounds:
        result["rows"] = [row for size in SIZES for row in measure(*size, rounds, images)]
        write_json(path, result)  # what follows may be cut short
    if scaling:
        result["processes"] = [processes(count, scaling) for count in (1, 2)]
    if memory:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            result["memory"] = pool.apply(resident, (memory,))
    if steps:
        result["waiting"] = waiting(steps)
    show(result)
    write_json(path, result)


def settings_for(width: int, height: int) -> SimSettings:
    """Ten shapes on a table, no sensor noise."""
    return SimSettings(
        views=VIEWS,
        objects=ObjectSettings(folder="random_urdfs", limit=100),
        scene=SceneSettings(objects=[10, 10], scale=[1.0, 1.0]),
        camera=CameraSettings(width=width, height=height, distance=[0.6, 0.9], near=0.1),
        look=LookSettings(blur=[0.0, 0.0], noise=[0.0, 0.0]),
    )


def measure(width: int, height: int, rounds: int, images: int) -> list[dict[str, Any]]:
    """Seconds an image of every variant, in rounds, each variant in each round."""
    settings = settings_for(width, height)
    generator = Generator(settings)
    scenes = [generator.scene("train", index) for index in range(images)]
    for number in range(POOL):  # made once, whatever is measured
        generator.renderer.pool.table(number), generator.renderer.pool.background(number)
    folder = Path(tempfile.mkdtemp(prefix="deeprob-"))
    steps: dict[str, tuple[int, Callable[[int], Any]]] = {
        "plain": (1, lambda r: plain_loop(settings, r)),
        "maps": (images, lambda r: [generator.view(scene, "train", r, k) for k, scene in enumerate(scenes)]),
        "frames": (images, lambda r: [frame(generator, scene, r, k) for k, scene in enumerate(scenes)]),
        "physics": (VIEWS, lambda r: list(generator.views("test", r))),
        "bop": (
            images,
            lambda r: bop.write_scene(
                folder,
                "train",
                r,
                [(scene, generator.view(scene, "train", r, k)) for k, scene in enumerate(scenes)],
                generator.objects,
            ),
        ),
    }
    renderers = []
    for name in ("tiny", "egl"):
        try:
            camera = settings.camera
            other = Generator(replace(settings, objects=ObjectSettings(folder="random_urdfs", limit=10)))
            renderer = BulletRenderer(
                other.library, camera.width, camera.height, camera.near, egl=name == "egl"
            )
        except InputError:
            continue  # no EGL on this machine
        renderers.append(renderer)
        few = other.scene("train", 0)
        other.renderer = renderer
        steps[name] = (1, lambda r, g=other, s=few: g.view(s, "train", 0, r))
    times: dict[str, list[float]] = {name: [] for name in steps}
    for r in range(-1, rounds):
        for name, (count, step) in steps.items():
            start = time.process_time()  # stands still while another process has the core
            step(r + 1)
            if r >= 0:  # the round before the first warms up
                times[name].append((time.process_time() - start) / count)
    shutil.rmtree(folder)
    for renderer in renderers:
        renderer.close()
    plain = statistics.median(times["plain"])
    return [
        {
            "size": f"{width}x{height}",
            "variant": name,
            "best_milliseconds": 1e3 * min(values),
            "milliseconds": 1e3 * statistics.median(values),
            "images_per_second": 1 / statistics.median(values),
            "over_plain": plain / statistics.median(values),
        }
        for name, values in times.items()
    ]


def frame(generator: Generator, scene: Any, index: int, view: int) -> Any:
    """A Frame as training sees it."""
    return to_frame(generator.view(scene, "train", index, view), scene, source="", key="", min_visible=0.0)


def plain_loop(settings: SimSettings, index: int) -> Any:
    """What a first script does: connect, load a plane and ten URDFs, 240 steps, one picture, disconnect."""
    import pybullet_data

    p = import_pybullet()
    rng = scene_rng(settings.seed, "plain", index)
    with captured():
        client = p.connect(p.DIRECT)
        p.setAdditionalSearchPath(pybullet_data.getDataPath(), physicsClientId=client)
        p.setGravity(0, 0, -9.81, physicsClientId=client)
        p.loadURDF("plane.urdf", physicsClientId=client)
        bodies = []
        for number in rng.integers(100, size=10):
            position = [*rng.uniform(-0.15, 0.15, 2), rng.uniform(0.05, 0.3)]
            path = f"random_urdfs/{number:03d}/{number:03d}.urdf"
            bodies.append(p.loadURDF(path, position, physicsClientId=client))
        for _ in range(240):
            p.stepSimulation(physicsClientId=client)
    origin = origin_scene()
    K, T_world_cam = draw_camera(settings.camera, origin, np.zeros(1), rng, 0.0)
    camera = settings.camera
    P = projection(K, camera.width, camera.height, camera.near, (0.0, 1.0))
    _, _, rgba, depth, seg = p.getCameraImage(
        camera.width,
        camera.height,
        view_matrix(T_world_cam),
        P,
        renderer=p.ER_TINY_RENDERER,
        physicsClientId=client,
    )
    masks = [np.reshape(seg, (camera.height, camera.width)) == body for body in bodies]
    poses = [p.getBasePositionAndOrientation(body, physicsClientId=client) for body in bodies]
    p.disconnect(physicsClientId=client)
    return rgba, depth, masks, poses


def origin_scene() -> Scene:
    """A scene of one object at the origin, for the camera to look at."""
    return Scene("plain", np.zeros(1, np.int64), np.ones(1), np.eye(4)[None], np.zeros((1, 3)), 1, 1)


def stream(images: int) -> float:
    """Frames a second of one process from a bank at 128x128."""
    generator = Generator(settings_for(128, 128))
    scenes = [generator.scene("train", index) for index in range(8)]
    for k in range(100):
        frame(generator, scenes[k % 8], 1, k)
    start = time.perf_counter()
    for k in range(images):
        frame(generator, scenes[k % 8], 0, k)
    return images / (time.perf_counter() - start)


def processes(count: int, images: int) -> dict[str, float]:
    """Images a second of `count` processes at once."""
    with multiprocessing.get_context("spawn").Pool(count) as pool:
        rates = pool.map(stream, [images] * count, chunksize=1)
    return {"processes": count, "images_per_second": sum(rates)}


def resident(images: int) -> dict[str, float]:
    """Resident memory in MB along so many images at 128x128, scenes settled anew every 100."""
    generator = Generator(settings_for(128, 128))
    memory = {}
    for k in range(images):
        if k % 100 == 0:
            scene = generator.scene("train", k // 100)
        generator.view(scene, "train", k // 100, k)
        if k in (images // 10, images // 2, images - 1):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            memory[str(k + 1)] = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    return memory


def waiting(steps: int, workers: int = 2) -> dict[str, float]:
    """Seconds of a small network's training on streamed frames, and those spent waiting for a batch."""
    cfg = compose(
        "train",
        [
            "experiment=quickstart",
            "data.source.fresh=true",
            f"data.workers={workers}",
            "data.sim.val_scenes=8",
        ],
    )
    data = make_data(cfg)
    data.progress = False
    model = make_model(cfg, make_task(cfg, data))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    batches = iter(itertools.chain.from_iterable(itertools.repeat(data.train_dataloader())))
    waited = []
    for step in range(-10, steps):
        if step == 0:
            start = time.perf_counter()
        before = time.perf_counter()
        batch = next(batches)
        waited.append(time.perf_counter() - before)
        optimizer.zero_grad()
        cross_entropy(model(batch.images), batch.labels).backward()
        optimizer.step()
    seconds = time.perf_counter() - start
    return {"workers": workers, "steps": steps, "seconds": seconds, "waiting_seconds": sum(waited[10:])}


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    table = Table(title="ten objects on a table, one core, all labels")
    columns = (
        ("size", "left"),
        ("variant", "left"),
        ("ms", "right"),
        ("best", "right"),
        ("images/s", "right"),
    )
    for name, side in (*columns, ("x", "right")):
        table.add_column(name, justify=side)  # type: ignore[arg-type]
    for row in sorted(result["rows"], key=lambda row: (row["size"], -row["milliseconds"])):
        numbers = [f"{row['milliseconds']:.2f}", f"{row['best_milliseconds']:.2f}"]
        numbers += [f"{row['images_per_second']:.0f}", f"{row['over_plain']:.1f}"]
        table.add_row(row["size"], NAMES[row["variant"]], *numbers)
    console = Console()
    console.print(table)
    for row in result.get("processes", []):
        console.print(f"{row['processes']} processes, 128x128: {row['images_per_second']:.0f} images/s")
    if "memory" in result:
        steps = ", ".join(
            f"{megabytes:.0f} MB after {count}" for count, megabytes in result["memory"].items()
        )
        console.print(f"resident memory: {steps}")
    if "waiting" in result:
        row = result["waiting"]
        share = row["waiting_seconds"] / row["seconds"]
        console.print(
            f"training on streamed frames, {row['workers']} workers: {share:.1%} of the time waiting"
        )


if __name__ == "__main__":
    main()
