"""Dense pose: each pixel of a crop says which point of the object it shows, and a head on that says the pose.

    image -> body, pyramid -> features, one a cell of some pixels
        of each cell, by the object's class:
            mask        is it the object?
            fragment    which of K parts of its surface is it? p_1 ... p_K
            point       x = sum_k p_k c_k + offset               c_k: the parts' centres
            distance    of the whole object, as a code (codes.py)
        features, points, mask, distance, place -> strided convolutions -> rotation (6-D, along the ray) and
        translation: its place in the crop, and the mean of the cells' distances, corrected

    loss = BCE(mask) + CE(fragment) + 3 |x - x'|_1 + 3 |d - d'|_1 over the visible object
         + 3 mean distance of model points under R and R', in diameters + |place - place'|_1 + 3 |d - d'|_1

each the least over the object's symmetries. The fragments are the helper that leaves the start behind:
distances of points alone stay long at the mean of all poses. What every cell says of the distance is learned
sooner than what the crop as a whole says.
Source: Wang et al., GDR-Net (2021), section 3; fragments: Hodan et al., EPOS (2020), section 3.2.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from deeprob import layers
from deeprob.errors import InputError
from deeprob.models.backend import check_least, check_positive, layers_of
from deeprob.models.bodies import conv_norm_relu
from deeprob.models.initialise import he_normal
from deeprob.models.pose import codes
from deeprob.models.pose.by_cells import refined_on_cells
from deeprob.models.pose.by_class import LinearByClass
from deeprob.models.pose.decode import DECODES, RENDERED, WITHOUT_DEPTH, Cells, Floats, solve
from deeprob.models.pose.objects import Objects, ObjectTable, allocentric, egocentric
from deeprob.models.pose.targets import DenseTargets, camera_points, dense_targets
from deeprob.models.pyramid import Backbone

WEIGHTS = {"mask": 1.0, "fragments": 1.0, "points": 3.0, "cell_distances": 3.0}
WEIGHTS |= {"rotation": 3.0, "place": 1.0, "distance": 3.0}


class DenseOutputs(NamedTuple):
    """What a crop's cells say of its own class, N of them, float32.

    mask: logits (B, N). fragments: logits (B, N, K). points: (B, N, 3), in diameters from the middle.
    distances: (B, N), the third of a `code`. rotation: (B, 3, 3), along the ray. code: (B, 3), codes.py.
    """

    mask: Tensor
    fragments: Tensor
    points: Tensor
    distances: Tensor
    rotation: Tensor
    code: Tensor


class PoseDense(nn.Module):
    """Crops float32 (B, 3, S, S) -> features (B, width, S / stride, S / stride); `read` says what they mean.

    objects: what is known of the classes; None: spheres, of which no pose can be learnt.
    backbone, widths, blocks, stem: see models/bodies.py. width: channels of the features. stride:
        pixels to a cell.
    fragments: parts of a surface; 0 leaves the helper away, and points are the offsets alone.
    head_widths: channels of the head's strided convolutions; hidden: of its linear layer.
    decode: `direct`, `pnp`, `render_rgb`, `depth`, `icp` or `render`: what becomes the pose (decode.py).
    image_size: side of the crops.
    backend: "deeprob" or "torch": whose layers to use; weights are interchangeable.
    Raises InputError where an argument is wrong.
    """

    decodes = DECODES

    def __init__(
        self,
        num_classes: int,
        objects: Objects | None = None,
        backbone: str = "compact",
        widths: Sequence[int] | None = (32, 64, 128, 192),
        blocks: Sequence[int] | None = (0, 2, 2, 1),
        stem: str | None = "patch",
        width: int = 96,
        stride: int = 8,
        fragments: int = 64,
        head_widths: Sequence[int] = (96, 128),
        hidden: int = 256,
        symmetries: bool = True,
        decode: str = "pnp",
        image_size: int = 128,
        fused: bool = False,
        in_channels: int = 3,
        backend: str = "deeprob",
    ) -> None:
        super().__init__()
        check_positive("model", num_classes=num_classes, width=width, hidden=hidden, image_size=image_size)
        check_positive("model", stride=stride)
        check_least("model", 0, fragments=fragments)
        objects = objects or Objects.spheres(num_classes)
        if image_size % stride or not 0 <= fragments <= objects.surface.shape[1]:
            raise InputError(
                f"image_size={image_size}, fragments={fragments}",
                where="model",
                expected=f"a multiple of stride={stride}, and 0 to {objects.surface.shape[1]}",
            )
        if decode not in DECODES:
            raise InputError(f"decode={decode!r}", where="model", expected=" or ".join(DECODES))
        self.image_size, self.fragments = image_size, fragments
        self.symmetries, self.decode = symmetries, decode
        self.table = ObjectTable(objects)
        self.became: Counter[str] = Counter()  # of poses that `render` refined
        body: dict[str, Any] = {
            "widths": widths,
            "blocks": blocks,
            "stem": stem,
            "fused": fused,
            "in_channels": in_channels,
        }
        self.backbone = Backbone(backbone, (stride,), width, norm=True, backend=backend, **body)
        self.cells = LinearByClass(num_classes, width, 1 + 3 + 1 + fragments)
        channels, head = width + 7, []
        for out in head_widths:
            head.append(conv_norm_relu(channels, out, backend, 2))
            channels = out
        side = image_size // stride
        for _ in head_widths:
            side = -(-side // 2)
        L = layers_of(backend)
        self.head = nn.Sequential(*head, nn.Flatten(), L.Linear(channels * side * side, hidden), L.ReLU())
        he_normal(self.head)
        self.pose = LinearByClass(num_classes, hidden, 9)
        with torch.no_grad():
            self.pose.weight.mul_(0.1)
            self.pose.bias.copy_(torch.tensor([1.0, 0, 0, 0, 1, 0, 0, 0, 0]).expand_as(self.pose.bias))

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[-2:] != (self.image_size, self.image_size):
            raise InputError(
                f"crops of {tuple(images.shape[-2:])} pixels",
                where="pose_dense",
                expected=f"{self.image_size} x {self.image_size}",
                fix="set model.image_size to data.view.size",
            )
        (features,) = self.backbone(images)
        found: Tensor = features
        return found

    def read(self, features: Tensor, labels: Tensor) -> DenseOutputs:
        """What the cells, and the head on them, say of objects of classes labels int64 (B,)."""
        B, _, height, width = features.shape
        said = self.cells(features.flatten(2), labels).float()
        mask, offset, distances, logits = layers.split(said, [1, 3, 1, self.fragments], 1)
        sure = layers.sigmoid(mask)
        points = offset
        with torch.autocast(features.device.type, enabled=False):
            share = sure.detach() / sure.detach().sum(2, keepdim=True).clamp_min(1e-6)
            distance = layers.matmul(distances, share.mT.contiguous()).flatten(1)
            if self.fragments:
                centres = self.table.fragments(labels, self.fragments).mT.contiguous()
                points = layers.add(offset, layers.matmul(centres, layers.softmax(logits, 1)))
        told = [o.reshape(B, -1, height, width).to(features.dtype) for o in (points, sure, distances)]
        seen = self.head(layers.concat([features, *told, _places(B, height, width, features)], 1))
        pose = self.pose(seen[..., None], labels).squeeze(-1).float()
        six, place, correction = layers.split(pose, [6, 2, 1], 1)
        code = layers.concat([place, layers.add(distance, correction)], 1)
        rotation = layers.rotation_6d_to_matrix(six)
        return DenseOutputs(mask.squeeze(1), logits.mT, points.mT, distances.squeeze(1), rotation, code)

    def losses(self, features: Tensor, batch: Any) -> dict[str, Tensor]:
        """The terms of the loss above for a batch of tasks/pose/view.py, each times its weight."""
        outputs = self.read(features, batch.labels)
        with torch.no_grad():
            targets = dense_targets(
                self.table,
                *(batch.labels, batch.T_cam_obj, batch.K, batch.depth, batch.mask, self.image_size),
            )
            if not self.symmetries:
                targets = targets._replace(points=targets.points[:, :1], poses=targets.poses[:, :1])
        direct, code = self._direct(outputs, targets, batch)
        terms = direct | self._dense(outputs, targets, batch.labels)
        terms["cell_distances"] = _of_cells(outputs.distances, code[:, 2], targets)
        return {name: WEIGHTS[name] * term for name, term in terms.items()}

    def _dense(self, outputs: DenseOutputs, targets: DenseTargets, labels: Tensor) -> dict[str, Tensor]:
        weight = targets.mask_known.float()
        bce = layers.binary_cross_entropy_with_logits(outputs.mask, targets.mask, weight, reduction="sum")
        terms = {"mask": bce / weight.sum().clamp_min(1)}
        rows = targets.known.nonzero(as_tuple=True)
        count = max(1, len(rows[0]))
        with torch.no_grad():
            apart = (outputs.points[:, None] - targets.points).abs().sum(-1)
            chosen = (apart * targets.known[:, None]).sum(-1).argmin(1)
            wanted = targets.points[torch.arange(len(labels), device=labels.device), chosen][rows]
        points = layers.take_rows(outputs.points, *rows)
        terms["points"] = layers.smooth_l1_loss(points, wanted, "sum", 0.0) / count
        if self.fragments:
            with torch.no_grad():
                centres = self.table.fragments(labels, self.fragments)[rows[0]]
                part = (wanted[:, None] - centres).square().sum(-1).argmin(1)
            logits = layers.take_rows(outputs.fragments, *rows)
            terms["fragments"] = layers.cross_entropy(logits, part, reduction="sum") / count
        return terms

    def _direct(
        self, outputs: DenseOutputs, targets: DenseTargets, batch: Any
    ) -> tuple[dict[str, Tensor], Tensor]:
        """The head's terms, and the code that it should have said."""
        table, labels, poses = self.table, batch.labels, targets.poses
        surface = table.surface[labels] / table.diameter[labels][:, None, None]
        none = torch.zeros_like(outputs.code)
        with torch.no_grad():
            R = allocentric(poses[..., :3, :3], poses[..., :3, 3])
            apart = (surface[:, None] @ (outputs.rotation[:, None] - R).mT).norm(dim=-1).mean(-1)
            chosen = (torch.arange(len(labels), device=labels.device), apart.argmin(1))
            side, diameter = self.image_size, table.diameter[labels]
            code = codes.encode(poses[chosen][:, :3, 3], batch.K, side, diameter)
        rotation = layers.add_loss(outputs.rotation, none, R[chosen], none, surface)
        (place, distance), (place_, distance_) = (layers.split(c, [2, 1], 1) for c in (outputs.code, code))
        terms = {
            "rotation": rotation,
            "place": layers.smooth_l1_loss(place, place_, "mean", 0.0),
            "distance": layers.smooth_l1_loss(distance, distance_, "mean", 0.0),
        }
        return terms, code

    def poses(self, features: Tensor, batch: Any, decode: str | None = None) -> tuple[Floats, Floats]:
        """Decode: poses float64 (B, 4, 4), metres, and scores (B,) from 0 to 1. decode: None: the model's."""
        labels = batch.labels.cpu()
        outputs = DenseOutputs(*(o.detach().cpu() for o in self.read(features, labels.to(features.device))))
        found, scores = self._direct_poses(outputs, labels, batch.K.cpu()), np.empty(len(labels))
        sure, decoding, depth = _array(outputs.mask.sigmoid()), decode or self.decode, batch.depth.cpu()
        if decoding == WITHOUT_DEPTH:
            decoding, depth = RENDERED, torch.zeros_like(depth)
        surfaces = self.table.surfaces() if decoding == "icp" else []
        for i, cells in enumerate(self._cells_of(outputs, labels, batch.K.cpu(), depth)):
            surface = surfaces[int(labels[i])] if decoding == "icp" else None
            found[i], agree = solve(cells, found[i], decoding, surface)
            scores[i] = agree * (cells.weight.mean() if len(cells.weight) else 0.5 * sure[i].max())
        if decoding == RENDERED:
            masks, K = outputs.mask.sigmoid().view_as(depth), batch.K.cpu()
            drawn = {c: self.table.drawn(c) for c in set(labels.tolist())}
            for i, c in enumerate(labels.tolist()):
                points = outputs.points[i].view(*depth.shape[1:], 3) * self.table.diameter[c].cpu()
                found[i], became = refined_on_cells(
                    found[i], K[i], masks[i], points, depth[i], drawn[c], self.image_size
                )
                self.became[became] += 1
        return found, scores

    def _direct_poses(self, outputs: DenseOutputs, labels: Tensor, K: Tensor) -> Floats:
        """The head's poses (B, 4, 4)."""
        t = codes.decode(outputs.code, K, self.image_size, self.table.diameter.cpu()[labels])
        T = torch.eye(4).repeat(len(t), 1, 1)
        T[:, :3, :3], T[:, :3, 3] = egocentric(outputs.rotation, t), t
        return _array(T)

    def _cells_of(self, outputs: DenseOutputs, labels: Tensor, K: Tensor, depth: Tensor) -> Iterator[Cells]:
        """What the cells on each object say."""
        grid, side = depth.shape[1], self.image_size
        here = labels.to(self.table.middle.device)
        points = _array(self.table.metric(outputs.points.to(here.device), here))
        read = depth.flatten(1)[..., None] > 0
        seen = _array(torch.where(read, camera_points(depth, K, side), torch.nan))
        sure, cameras, diameters = (
            _array(outputs.mask.sigmoid()),
            _array(K),
            _array(self.table.diameter[here]),
        )
        at = codes.cell_pixels(grid, side).numpy()
        pixels = np.stack(np.meshgrid(at, at), -1).reshape(-1, 2).astype(np.float64)
        for i in range(len(labels)):
            on = sure[i] > 0.5
            yield Cells(
                *(points[i][on], pixels[on], seen[i][on], sure[i][on]),
                *(cameras[i], side / grid, float(diameters[i])),
            )


def _of_cells(distances: Tensor, code: Tensor, targets: DenseTargets) -> Tensor:
    """Mean error of the distances (B, N) that cells on the visible objects tell, of codes (B,)."""
    rows = ((targets.mask > 0.5) & targets.mask_known).nonzero(as_tuple=True)
    told = layers.take_rows(distances, *rows)
    return layers.smooth_l1_loss(told, code[rows[0]], "sum", 0.0) / max(1, len(told))


def _array(x: Tensor) -> Floats:
    return np.asarray(x.cpu().numpy(), np.float64)


def _places(batch: int, height: int, width: int, like: Tensor) -> Tensor:
    """Where each cell lies in the crop, from -1 to 1: (batch, 2, height, width)."""
    y, x = (torch.linspace(-1, 1, n, device=like.device, dtype=like.dtype) for n in (height, width))
    v, u = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([u, v]).expand(batch, 2, height, width)
