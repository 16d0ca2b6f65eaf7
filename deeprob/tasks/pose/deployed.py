"""A dense pose network as one graph: crops, their objects' classes and cameras in, poses out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from deeprob.models.pose import codes
from deeprob.models.pose.decode import DECODES, FEWEST, PIXELS, TRIALS
from deeprob.models.pose.objects import egocentric
from deeprob.tasks.deployed import Beside, Deployed


class PoseGraph(nn.Module):
    """Crops (N, 3, S, S), classes int64 (N,), cameras (N, 3, 3) -> what `OUTPUTS` names."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, labels: Tensor, K: Tensor) -> tuple[Tensor, ...]:
        found = self.network.read(self.network(images), labels)
        table, K = self.network.table, K.float()
        t = codes.decode(found.code, K, self.network.image_size, table.diameter[labels])
        mask = found.mask.sigmoid()
        on = (mask > 0.5).to(mask)
        inside = (mask * on).sum(1) / on.sum(1).clamp_min(1)
        scores = torch.where(on.sum(1) > 0, inside, 0.5 * mask.amax(1))
        return egocentric(found.rotation, t), t, scores, table.metric(found.points, labels), mask


OUTPUTS = {
    "rotation": "float32 (N, 3, 3), from the object's frame to the crop's camera",
    "translation": "float32 (N, 3), metres, of the object's origin in the crop's camera",
    "scores": "float32 (N,), 0 to 1: mean of the mask over the cells on the object",
    "points": "float32 (N, G, 3), metres, the object's frame: the point that each cell shows, row by row",
    "mask": "float32 (N, G), 0 to 1: whether the cell shows the object",
}


def deployed(network: Any) -> Deployed:
    """The graph of a network, and what is left outside of it."""
    side = int(network.image_size)
    camera = torch.tensor([[2.0 * side, 0, (side - 1) / 2], [0, 2.0 * side, (side - 1) / 2], [0, 0, 1]])
    beside = {
        "labels": Beside(
            "int64 (N,), index into classes: which object each crop is around", torch.zeros(1).long()
        ),
        "K": Beside("float32 (N, 3, 3), the crop's camera matrix, M K of the frame's", camera[None]),
    }
    decode = {
        "run": network.decode,
        "in_the_graph": "direct: rotation and translation",
        "not_in_the_graph": ", ".join(DECODES[1:]),
        "pnp": "of the cells with mask > 0.5: PnP in RANSAC (OpenCV's solvePnPRansac, EPnP) of points and "
        "the cells' pixels under K, refined on its inliers; then its translation times (z of the graph / its "
        "z), and the score times the share of inliers",
        "pixel": "of cell (i, j), both axes alike: (i + 0.5) cell - 0.5",
        "cell": side / round(_cells(network) ** 0.5),
        "fewest": FEWEST,
        "iterations": TRIALS,
        "reprojection_error": f"{PIXELS:g} cell",
    }
    return Deployed(PoseGraph(network), OUTPUTS, decode, beside=beside)


def _cells(network: Any) -> int:
    with torch.no_grad():
        image = torch.zeros(1, 3, network.image_size, network.image_size)
        parameter = next(network.parameters())
        return int(network(image.to(parameter))[0, 0].numel())
