"""Losses that compare the samples of a batch with each other: self-supervised learning."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..losses.nt_xent import nt_xent_loss
from ..losses.vicreg import vicreg_covariance, vicreg_variance
from ._entry import Draw, Layer, bench, kink, real, tiny


def composed_nt_xent(z1: Tensor, z2: Tensor, temperature: float = 0.5) -> Tensor:
    """NT-Xent as cross-entropy over the similarities to all other views."""
    if len(z1) == 0:
        raise ValueError("no sample")
    u = F.normalize(torch.cat([z1, z2]), dim=1)
    itself = torch.eye(len(u), dtype=torch.bool, device=u.device)
    partner = torch.arange(len(u), device=u.device).roll(len(z1))
    return F.cross_entropy((u @ u.T / temperature).masked_fill(itself, -torch.inf), partner)


def composed_variance(z: Tensor) -> Tensor:
    """The paper's hinge on the standard deviation."""
    if len(z) < 2:
        raise ValueError("no variance")
    return F.relu(1 - (z.var(0) + 1e-4).sqrt()).mean()


def composed_covariance(z: Tensor) -> Tensor:
    """The paper's sum over the covariance matrix off its diagonal."""
    if len(z) < 2:
        raise ValueError("no variance")
    c = z - z.mean(0)
    matrix = c.T @ c / (len(z) - 1)
    return (matrix - torch.diag(matrix.diagonal())).square().sum() / z.shape[1]


def _some_idle(d: Draw, *shape: int) -> list[Tensor]:
    """Draw some dimensions of a deviation below 1 and some above."""
    return [d(*shape) * torch.linspace(0.1, 2.5, shape[1], dtype=d.dtype, device=d.device)]


LAYERS = [
    Layer(
        "nt_xent_loss",
        nt_xent_loss,
        composed_nt_xent,
        samples=[
            tiny("four samples", lambda d: [d(4, 3), d(4, 3)]),
            tiny("two samples, cold", lambda d: [d(2, 5), d(2, 5)], temperature=0.1),
            real("a batch", lambda d: [d(32, 16), d(32, 16)]),
            bench("256x128", lambda d: [d(256, 128), d(256, 128)]),
        ],
        rejects=[
            (lambda d: [d(4, 3), d(3, 3)], {}),
            (lambda d: [d(0, 3), d(0, 3)], {}),
            (lambda d: [d(4, 3), d(4, 3).float()], {}),
            (lambda d: [d(4, 3), d(4, 3)], {"temperature": 0.0}),
        ],
        batched=(0, 1),
    ),
    Layer(
        "vicreg_variance",
        vicreg_variance,
        composed_variance,
        samples=[
            tiny("idle dimensions", lambda d: _some_idle(d, 6, 5)),
            kink("one that never moves", lambda d: [d(5, 3) * torch.tensor([1, 0, 0.2], dtype=d.dtype)]),
            real("a batch", lambda d: _some_idle(d, 32, 16)),
            bench("256x2048", lambda d: _some_idle(d, 256, 2048)),
        ],
        rejects=[(lambda d: [d(1, 3)], {}), (lambda d: [d(3)], {}), (lambda d: [d.classes(3, 4, 3)], {})],
    ),
    Layer(
        "vicreg_covariance",
        vicreg_covariance,
        composed_covariance,
        samples=[
            tiny("more samples than dimensions", lambda d: [d(6, 4)]),
            tiny("fewer samples than dimensions", lambda d: [d(3, 7)]),
            real("a batch", lambda d: [d(32, 16)]),
            bench("256x2048", lambda d: [d(256, 2048)]),
        ],
        rejects=[(lambda d: [d(1, 3)], {}), (lambda d: [d(3)], {}), (lambda d: [d.classes(3, 4, 3)], {})],
        autocast=False,  # ours stays in float32
    ),
]
