"""The BOP format, scenewise: https://github.com/thodan/bop_toolkit/blob/master/docs/bop_datasets_format.md

Lengths are millimetres; a box is x, y, right - left, bottom - top of its first and last pixels, as
bop_toolkit counts. Each settled scene is a scene of the data set.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from deeprob.geometry.boxes import from_pixels, of_mask, to_coco, to_span
from deeprob.geometry.mesh_files import write_ply
from deeprob.geometry.transform import invert_transform
from deeprob.sim.export.files import View, amodal_mask, depth_steps, mask_picture, put, put_json, put_png
from deeprob.sim.object_model import ObjectModel
from deeprob.sim.settings import SimSettings

FOLDERS = {"train": "train_pbr", "val": "val", "test": "test"}
DEPTH_STEP = 1e-4  # metres; in the files, depth_scale 0.1 to millimetres
MM = 1000.0
TARGET_VISIBILITY = 0.1  # an object less visible than this is no target


def begin(out: Path, objects: tuple[ObjectModel, ...], settings: SimSettings) -> None:
    """Write models/, models_eval/ (the same, for tools that look there), camera.json and dataset_info.md."""
    camera = settings.camera
    info = {str(number): model_info(model) for number, model in enumerate(objects, start=1)}
    for folder in ("models", "models_eval"):
        for number, model in enumerate(objects, start=1):
            write_ply(model.mesh, out / folder / f"obj_{number:06d}.ply", MM)
        put_json(out / folder / "models_info.json", info)
    put(out / "dataset_info.md", describe(objects, settings).encode())
    names = {str(number): model.name for number, model in enumerate(objects, start=1)}
    put_json(out / "models" / "names.json", names)
    if camera.K:
        fx, fy, cx, cy = camera.K
    else:
        fx = fy = float(camera.width / 2 / np.tan(np.radians(sum(camera.field_of_view) / 4)))
        cx, cy = (camera.width - 1) / 2, (camera.height - 1) / 2
    values = {"cx": cx, "cy": cy, "depth_scale": DEPTH_STEP * MM, "fx": fx, "fy": fy}
    put_json(out / "camera.json", values | {"height": camera.height, "width": camera.width})


def describe(objects: tuple[ObjectModel, ...], settings: SimSettings) -> str:
    """The text of dataset_info.md: what the pictures are, and what their numbers mean."""
    camera = settings.camera
    centre = (
        "a pixel's centre" if camera.pixel_center == 0 else "a pixel's corner: its centre is half farther"
    )
    names = "\n".join(f"| {number} | {model.name} |" for number, model in enumerate(objects, start=1))
    return f"""# {settings.name}

Rendered scenes, written by deeprob; `render.json` holds every setting. Each folder of a split is one settled
scene, seen in up to {settings.views} views of {camera.width} x {camera.height} pixels.

- An integer coordinate under `cam_K` is {centre} (`pixel_center={camera.pixel_center:g}`).
- Depth times `depth_scale` is millimetres; 0 is no reading.
- `px_count_all`, `bbox_obj` and `visib_fract` count the whole silhouette, also outside the picture, within
  one picture's size around it. Boxes are left, top, right - left, bottom - top of first and last pixels.
- `scene_gt_coco.json` holds visible masks, and boxes of the silhouettes inside the picture; categories are
  objects.
- Models are in millimetres, in each object's own frame, with normals and the colour of each vertex; textures
  are not beside them. `models_eval` holds the same meshes, not resampled.
- Objects of no class and furniture are in the pictures without a label.

| obj_id | name |
|---|---|
{names}
"""


def model_info(model: ObjectModel) -> dict[str, Any]:
    """An entry of models_info.json: diameter, bounding box and symmetries, millimetres."""
    points = MM * model.mesh.vertices
    low, size = points.min(axis=0), np.ptp(points, axis=0)
    flat = size.min() < 1e-6 * size.max()
    info: dict[str, Any] = {
        "diameter": float(pdist(points if flat else points[ConvexHull(points).vertices]).max())
    }
    info |= {f"min_{axis}": float(low[k]) for k, axis in enumerate("xyz")}
    info |= {f"size_{axis}": float(size[k]) for k, axis in enumerate("xyz")}
    if model.symmetries.discrete:
        transforms = [T.copy() for T in model.symmetries.discrete]
        for T in transforms:
            T[:3, 3] *= MM
        info["symmetries_discrete"] = [T.reshape(-1).tolist() for T in transforms]
    if model.symmetries.continuous:
        info["symmetries_continuous"] = [
            {"axis": axis.tolist(), "offset": (MM * point).tolist()}
            for axis, point in model.symmetries.continuous
        ]
    return info


def write_scene(
    out: Path, split: str, index: int, views: list[View], objects: tuple[ObjectModel, ...]
) -> Any:
    """Write one scene's folder; returns its targets."""
    folder = out / FOLDERS[split] / f"{index:06d}"
    cameras: dict[str, Any] = {}
    truth: dict[str, list[Any]] = {}
    infos: dict[str, list[Any]] = {}
    targets: list[dict[str, int]] = []
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (scene, rendering) in enumerate(views):
        put_png(folder / "rgb" / f"{number:06d}.png", rendering.image)
        put_png(folder / "depth" / f"{number:06d}.png", depth_steps(rendering.depth_m, DEPTH_STEP))
        T_cam_world = invert_transform(rendering.T_world_cam)
        cameras[str(number)] = {
            "cam_K": rendering.K.reshape(-1).tolist(),
            "depth_scale": DEPTH_STEP * MM,
            "cam_R_w2c": T_cam_world[:3, :3].reshape(-1).tolist(),
            "cam_t_w2c": (MM * T_cam_world[:3, 3]).tolist(),
        }
        truth[str(number)], infos[str(number)] = [], []
        height, width = rendering.owner.shape
        images.append({"id": number, "file_name": f"rgb/{number:06d}.png", "width": width, "height": height})
        for i in range(scene.labelled):
            name = f"{number:06d}_{i:06d}.png"
            silhouette, visible = amodal_mask(rendering, i), rendering.owner == i
            put_png(folder / "mask" / name, mask_picture(silhouette))
            put_png(folder / "mask_visib" / name, mask_picture(visible))
            if visible.any():
                fraction = float(rendering.visible_fraction[i])
                entry = {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": int(scene.models[i]) + 1,
                }
                annotations.append(entry | annotation(silhouette, visible, fraction))
            T = T_cam_world @ scene.T_world_obj[i]
            truth[str(number)].append(
                {
                    "cam_R_m2c": T[:3, :3].reshape(-1).tolist(),
                    "cam_t_m2c": (MM * T[:3, 3]).tolist(),
                    "obj_id": int(scene.models[i]) + 1,
                }
            )
            infos[str(number)].append(
                {
                    "bbox_obj": _box(rendering.whole[i]),
                    "bbox_visib": _box(rendering.visible[i]),
                    "px_count_all": int(rendering.whole[i, 0]),
                    "px_count_valid": int((rendering.depth_m[silhouette] > 0).sum()),
                    "px_count_visib": int(rendering.visible[i, 0]),
                    "visib_fract": float(rendering.visible_fraction[i]),
                }
            )
        targets += _targets(index, number, scene.models[: scene.labelled] + 1, rendering.visible_fraction)
    put_json(folder / "scene_camera.json", cameras)
    put_json(folder / "scene_gt.json", truth)
    put_json(folder / "scene_gt_info.json", infos)
    categories = [{"id": number, "name": model.name} for number, model in enumerate(objects, start=1)]
    put_json(
        folder / "scene_gt_coco.json",
        {"images": images, "categories": categories, "annotations": annotations},
    )
    return targets


def annotation(
    silhouette: NDArray[np.bool_], visible: NDArray[np.bool_], visible_fraction: float
) -> dict[str, Any]:
    """An object of scene_gt_coco.json, as bop_toolkit makes them: visible mask, box of the silhouette.

    silhouette, visible: bool (H, W). The mask is run lengths down the columns, from background on.
    """
    height, width = visible.shape
    down = visible.ravel(order="F")
    ends = [*(np.flatnonzero(down[1:] != down[:-1]) + 1).tolist(), down.size]
    counts = [0] * bool(down[0]) + np.diff([0, *ends]).tolist()
    box = of_mask(silhouette)
    assert box is not None, "an object that is seen has a silhouette"
    return {
        "bbox": to_coco(box).astype(int).tolist(),
        "area": int(visible.sum()),
        "segmentation": {"size": [height, width], "counts": counts},
        "iscrowd": 0,
        "ignore": visible_fraction < TARGET_VISIBILITY,
        "width": width,
        "height": height,
    }


def _targets(scene_id: int, im_id: int, obj_ids: Any, fractions: Any) -> list[dict[str, int]]:
    seen = obj_ids[fractions >= TARGET_VISIBILITY]
    return [
        {
            "im_id": im_id,
            "inst_count": int((seen == obj_id).sum()),
            "obj_id": int(obj_id),
            "scene_id": scene_id,
        }
        for obj_id in np.unique(seen)
    ]


def _box(row: Any) -> list[int]:
    return to_span(from_pixels(row[1:])) if row[0] else [-1, -1, -1, -1]


def finish(out: Path, split: str, parts: list[Any]) -> None:
    """Write the targets file."""
    put_json(out / f"{split}_targets_bop19.json", [target for part in parts for target in part])
