"""PoseCNN: from a whole picture to the classes of its pixels, the centres of its objects, and their poses.

    image -> body -> a fine map and a coarse one
    classes     1x1 convolutions of both, the coarse one enlarged, added -> logits of background, C classes
    centres     the same -> of each class the unit direction to the object's centre, and its log distance
    rotation    RoIPool of both maps, each with its own scale, added -> linear layers -> a quaternion a class

    loss = CE(classes) + |direction, log distance|_1 over each object's pixels + ADD, of a symmetric object
           ADD-S, in diameters, over the boxes of the true objects and the boxes found that overlap one

Distances are told as log(100 z / (f d)): how often the object's image goes into a hundred pixels, so that
another camera changes nothing. Rotations are told along the ray to the object. Decoding takes each connected
part of a class in the label map for an object, lets its pixels vote for the centre (hough.py), and takes the
median distance of those that agree:

    hough    as said, from colours alone
    depth    then moved along the ray to what the depth image shows there
    icp      then the surface laid on the readings (icp.py)

Source: Xiang et al., PoseCNN (2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate as torch_interpolate

from deeprob import layers
from deeprob.errors import InputError
from deeprob.models.backend import check_positive, layers_of, operations_of
from deeprob.models.bodies import body_of
from deeprob.models.detection.boxes import iou
from deeprob.models.initialise import he_normal, small_classifier
from deeprob.models.pose.by_class import LinearByClass
from deeprob.models.pose.objects import Objects, ObjectTable, allocentric, egocentric
from deeprob.models.pose.placing import on_depth, place
from deeprob.models.pose.regions import Region, regions_of
from deeprob.models.pose.targets import UNKNOWN_OWNER, SceneTargets, scene_targets

Floats = np.ndarray[Any, np.dtype[np.float64]]

DECODES = ("hough", "depth", "icp")
WEIGHTS = {"classes": 1.0, "centres": 1.0, "rotation": 3.0}
OVERLAP = 0.5  # IoU with a true box, from which a box found is trained on


class SceneOutputs(NamedTuple):
    """Of B pictures. classes: (B, C + 1, H, W) logits. centres: (B, C, 3, H, W). fine, coarse: features."""

    classes: Tensor
    centres: Tensor
    fine: Tensor
    coarse: Tensor


class Found(NamedTuple):
    """An object in a picture. label: its class. score: 0 to 1. T: (4, 4), metres."""

    label: int
    score: float
    T: Floats


class Branch(nn.Module):
    """A fine and a coarse map -> maps of `width` channels, by 1x1 convolutions and rectifiers."""

    def __init__(self, channels: Sequence[int], width: int, backend: str) -> None:
        super().__init__()
        L = layers_of(backend)
        self.convs = nn.ModuleList(nn.Sequential(L.Conv2d(c, width, 1), L.ReLU()) for c in channels)
        self.add = operations_of(backend).add
        self.interpolate = torch_interpolate if backend == "torch" else layers.interpolate

    def forward(self, fine: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        return self.convs[0](fine), self.convs[1](coarse)

    def joined(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Their sum, the coarse map enlarged to the fine one."""
        a, b = self(fine, coarse)
        size = (a.shape[2], a.shape[3])
        return self.add(a, self.interpolate(b, size=size, mode="bilinear", align_corners=False))


class PoseCNN(nn.Module):
    """Pictures float32 (B, 3, H, W) -> what SceneOutputs says, on cells of `cell` pixels.

    objects: what is known of the classes; None: spheres, of which no pose can be learnt.
    backbone, widths, blocks, stem: see models/bodies.py. strides: of the fine map, and of the
        coarse one, the body's last. cell: pixels to a cell of label map and centres, the fine stride or a
        part of it.
    class_width, centre_width, pool_width: channels of the three branches. pool: bins a side of a box's
        features. hidden: of the linear layers.
    min_cells: cells that an object has at least.
    decode: `hough`, `depth` or `icp`.
    backend: "deeprob" or "torch": whose layers to use; weights are interchangeable.
    Raises InputError where an argument is wrong.
    """

    decodes = DECODES

    def __init__(
        self,
        num_classes: int,
        objects: Objects | None = None,
        backbone: str = "compact",
        widths: Sequence[int] | None = (32, 64, 128),
        blocks: Sequence[int] | None = (1, 2, 3),
        stem: str | None = "patch",
        strides: Sequence[int] = (8, 16),
        cell: int = 4,
        class_width: int = 64,
        centre_width: int = 128,
        pool_width: int = 128,
        pool: int = 7,
        hidden: int = 256,
        min_cells: int = 12,
        decode: str = "hough",
        fused: bool = False,
        in_channels: int = 3,
        backend: str = "deeprob",
    ) -> None:
        super().__init__()
        sizes = {"num_classes": num_classes, "hidden": hidden, "pool": pool}
        check_positive("posecnn", **sizes, min_cells=min_cells, cell=cell)
        check_positive("posecnn", class_width=class_width, centre_width=centre_width, pool_width=pool_width)
        if decode not in DECODES:
            raise InputError(f"decode={decode!r}", where="model", expected=" or ".join(DECODES))
        body: dict[str, Any] = {"stem": stem, "fused": fused, "in_channels": in_channels, "backend": backend}
        self.body = body_of(backbone, widths, blocks, **body)
        offered: tuple[int, ...] = tuple(self.body.strides)  # type: ignore[arg-type]
        if len(strides) != 2 or strides[0] not in offered[:-1] or strides[1] != offered[-1]:
            raise InputError(
                f"strides={list(strides)}",
                where="posecnn",
                expected=f"a fine one of {list(offered[:-1])} and the body's last, {offered[-1]}",
                fix="widths and blocks say how many stages the body has",
            )
        if strides[0] % cell:
            raise InputError(f"cell={cell}", where="posecnn", expected=f"a part of the stride {strides[0]}")
        self.num_classes, self.strides, self.cell, self.pool = num_classes, tuple(strides), cell, pool
        self.min_cells, self.decode = min_cells, decode
        self.maps = [offered.index(s) for s in strides]
        channels = [int(self.body.channels[i]) for i in self.maps]  # type: ignore[index]
        self.table = ObjectTable(objects or Objects.spheres(num_classes))
        L = layers_of(backend)
        self.class_branch = Branch(channels, class_width, backend)
        self.centre_branch = Branch(channels, centre_width, backend)
        self.pool_branch = Branch(channels, pool_width, backend)
        self.class_head = L.Conv2d(class_width, num_classes + 1, 1)
        self.centre_head = L.Conv2d(centre_width, 3 * num_classes, 1)
        self.hidden = nn.Sequential(
            *(nn.Flatten(), L.Linear(pool_width * pool * pool, hidden), L.ReLU()),
            *(L.Linear(hidden, hidden), L.ReLU()),
        )
        for part in (self.class_branch, self.centre_branch, self.pool_branch, self.hidden):
            he_normal(part)
        small_classifier(self.class_head)
        small_classifier(self.centre_head)
        self.quaternion = LinearByClass(num_classes, hidden, 4)
        with torch.no_grad():
            self.quaternion.bias[:, 0] = 1.0

    def forward(self, images: Tensor) -> SceneOutputs:
        maps = self.body(images)
        fine, coarse = (maps[i] for i in self.maps)
        size = tuple(side // self.cell for side in images.shape[2:])
        classes = self.class_head(self.class_branch.joined(fine, coarse))
        centres = self.centre_head(self.centre_branch.joined(fine, coarse))
        if self.cell != self.strides[0]:  # a 1x1 convolution and an enlargement may change places
            enlarge = self.class_branch.interpolate
            classes, centres = (
                enlarge(x, size=size, mode="bilinear", align_corners=False) for x in (classes, centres)
            )
        centres = centres.reshape(len(images), self.num_classes, 3, *centres.shape[2:])
        return SceneOutputs(classes.float(), centres.float(), fine, coarse)

    def rotations(self, outputs: SceneOutputs, boxes: Tensor, labels: Tensor) -> Tensor:
        """Rotations (K, 3, 3) along the rays to objects of classes labels (K,).

        boxes: (K, 5), picture, left, top, right, bottom in pixels.
        """
        maps = self.pool_branch(outputs.fine, outputs.coarse)
        a, b = (
            layers.roi_pool(x.float(), boxes, self.pool, 1 / stride)
            for x, stride in zip(maps, self.strides, strict=True)
        )
        q = self.quaternion(self.hidden(layers.add(a, b))[..., None], labels).squeeze(-1)
        return layers.quaternion_to_matrix(q.float())

    def losses(self, outputs: SceneOutputs, batch: Any) -> dict[str, Tensor]:
        """The terms of the loss above for a batch of tasks/pose/frame_view.py, each times its weight."""
        with torch.no_grad():
            targets = scene_targets(self.table, batch, self.cell)
        terms = {"classes": layers.cross_entropy(outputs.classes, targets.classes, ignore_index=-100)}
        if not (targets.classes >= 0).any():
            terms["classes"] = 0 * outputs.classes.sum()
        label = (targets.classes - 1).clamp_min(0)
        own = layers.class_channels(outputs.centres, label).permute(0, 2, 3, 1)
        told = layers.take_rows(own, *targets.rows)
        count = max(1, len(targets.centres))
        terms["centres"] = layers.smooth_l1_loss(told, targets.centres, "sum", 0.0) / count
        terms["rotation"] = self._rotation_loss(outputs, targets)
        return {name: WEIGHTS[name] * term for name, term in terms.items()}

    def _rotation_loss(self, outputs: SceneOutputs, targets: SceneTargets) -> Tensor:
        boxes, owners = self._trained_boxes(outputs, targets)
        labels = targets.labels[owners]
        if not len(labels):
            return 0 * outputs.fine.sum()
        R = self.rotations(outputs, boxes, labels)
        T = targets.poses[owners]
        wanted = allocentric(T[:, :3, :3], T[:, :3, 3])
        points = self.table.surface[labels] / self.table.diameter[labels].view(-1, 1, 1)
        none = torch.zeros_like(wanted[:, :, 0])
        symmetric = self.table.is_symmetric[labels]
        total = 0 * R.sum()
        for loss, chosen in ((layers.add_loss, ~symmetric), (layers.add_s_loss, symmetric)):
            rows = chosen.nonzero()[:, 0]
            if len(rows):
                of = (layers.take_rows(R, rows), none[rows], wanted[rows], none[rows], points[rows])
                total = layers.add(total, loss(*of, "sum"))
        return total / len(labels)

    def _trained_boxes(self, outputs: SceneOutputs, targets: SceneTargets) -> tuple[Tensor, Tensor]:
        """Boxes (K, 5) that rotations are learnt on, true and found, and the object (K,) of each."""
        boxes, owners = [], []
        for b, (map_, first) in enumerate(zip(targets.owners, targets.first, strict=True)):
            for region in _whole(map_):
                if len(region.rows) >= self.min_cells:
                    boxes.append([float(b), *region.box(self.cell)])
                    owners.append(first + region.label - 1)
        true = torch.tensor(boxes, dtype=torch.float32).view(-1, 5)
        of = torch.tensor(owners, dtype=torch.int64)
        classes = targets.labels.cpu()[of]
        for b, found in enumerate(outputs.classes.detach().argmax(1).cpu().numpy()):
            for region in regions_of(found, self.min_cells):
                box = torch.tensor([float(b), *region.box(self.cell)])
                may = (true[:, 0] == b) & (classes == region.label - 1)
                overlap = iou(true[:, 1:], box[1:]) * may
                if len(overlap) and float(overlap.max()) > OVERLAP:
                    boxes.append(box.tolist())
                    owners.append(int(of[int(overlap.argmax())]))
        device = outputs.fine.device
        return (
            torch.tensor(boxes, dtype=torch.float32, device=device).view(-1, 5),
            torch.tensor(owners, dtype=torch.int64, device=device),
        )

    def estimates(self, outputs: SceneOutputs, batch: Any, decode: str | None = None) -> list[list[Found]]:
        """Decode: the objects of each picture, the best score first. decode: None: the model's."""
        decoding = decode or self.decode
        sure, labels = outputs.classes.softmax(1).max(1)
        told = outputs.centres.cpu().numpy()
        K, depth = batch.K.double().cpu(), batch.depth.cpu().numpy()
        seen = [
            (b, region, float(sure[b].cpu().numpy()[region.rows, region.columns].mean()))
            for b, map_ in enumerate(labels.cpu().numpy())
            for region in regions_of(map_, self.min_cells)
        ]
        found: list[list[Found]] = [[] for _ in range(len(K))]
        if not seen:
            return found
        surfaces = self.table.surfaces()
        at = [[float(b), *region.box(self.cell)] for b, region, _ in seen]
        boxes = torch.tensor(at, device=outputs.fine.device)
        classes = torch.tensor([r.label - 1 for _, r, _ in seen], device=boxes.device)
        R = self.rotations(outputs, boxes, classes).double().cpu()
        for i, (b, region, confidence) in enumerate(seen):
            c, camera = region.label - 1, K[b : b + 1]
            t, agree = place(told[b, c], region, camera, surfaces[c].diameter, self.cell)
            T = np.eye(4)
            T[:3, :3], T[:3, 3] = egocentric(R[i : i + 1], t)[0].numpy(), t[0].numpy()
            if decoding != "hough":
                T = on_depth(T, region, depth[b], camera, surfaces[c], self.cell, decoding == "icp")
            found[b].append(Found(c, confidence * agree, T))
        return [sorted(each, key=lambda one: -one.score) for each in found]


def _whole(owners: Tensor) -> list[Region]:
    """The cells of each object of a map of owners (H, W), connected or not."""
    map_ = owners.cpu().numpy()
    marked = np.unique(map_[(map_ > 0) & (map_ != UNKNOWN_OWNER)]).tolist()
    return [Region(label, *np.nonzero(map_ == label)) for label in marked]
