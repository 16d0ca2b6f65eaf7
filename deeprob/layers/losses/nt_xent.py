"""Contrastive loss: normalised temperature-scaled cross-entropy (NT-Xent), an InfoNCE.

    z (2 N, D): two views of N samples, rows i and i + N of the same one      u_i = z_i / |z_i|
    S = U U^T / temperature, without its diagonal      P = softmax(S), row by row
    y = mean_i of -ln P[i, partner(i)]                 each view must find its partner among all others

    dS = (P - Y) / (2 N)                               Y one-hot at the partner: near with it, others away
    dU = (dS + dS^T) U / temperature                   each S_ij is read in two rows of U
    dz = (du - u <u, du>) / |z|                        a unit vector moves only across itself

Cost: forward 2 (2 N)^2 D FLOPs, backward three times that; saves z, and computes S again.
Source: Chen et al. 2020, SimCLR, equation 1; van den Oord et al. 2018, CPC, equation 4 (InfoNCE).
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from .._function import Function, expect, expect_alike, may_overwrite


class NTXentFunction(Function):
    """The loss above, of the views z (2 N, D)."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(z: Tensor, temperature: float) -> Tensor:
        return -partner_of(similarity(normalized(z)[0], temperature).log_softmax(1)).mean()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        z, ctx.temperature = inputs
        ctx.save_for_backward(z)
        ctx.save_for_forward(z)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (z,) = ctx.saved_tensors
        return dy * nt_xent_slope(z, ctx.temperature), None

    @staticmethod
    def tangent(ctx: Any, z_dot: Tensor, _: None) -> Any:
        (z,) = ctx.saved_tensors
        return (nt_xent_slope(z, ctx.temperature) * z_dot).sum()


def nt_xent_slope(z: Tensor, temperature: float) -> Tensor:
    """dy/dz (2 N, D)."""
    u, length = normalized(z)
    p = similarity(u, temperature).softmax(1)
    half = len(z) // 2
    ds = p + p.T  # both rows that read S_ij; the partner's one-hot is symmetric: twice
    du = (ds @ u - 2 * u.roll(half, 0)) / (len(z) * temperature)
    return (du - u * (u * du).sum(1, keepdim=True)) / length


def normalized(z: Tensor) -> tuple[Tensor, Tensor]:
    """Return u (2 N, D) and |z| (2 N, 1), no smaller than 1e-12."""
    length = torch.linalg.vector_norm(z, dim=1, keepdim=True).clamp_min(1e-12)
    return z / length, length


def similarity(u: Tensor, temperature: float) -> Tensor:
    """S (2 N, 2 N), -inf on its diagonal: no view is its own partner."""
    s = (u / temperature) @ u.T
    if may_overwrite(u):
        return s.fill_diagonal_(-math.inf)
    return s.masked_fill(torch.eye(len(u), dtype=torch.bool, device=u.device), -math.inf)


def partner_of(s: Tensor) -> Tensor:
    """Pick s[i, partner(i)] (2 N,) of s (2 N, 2 N)."""
    half = len(s) // 2
    return torch.cat([s.diagonal(half), s.diagonal(-half)])


def nt_xent_loss(z1: Tensor, z2: Tensor, temperature: float = 0.5) -> Tensor:
    """Return the contrastive loss () of two views z1 and z2 (N, D) of the same N samples.

    Raises ValueError where shapes, dtypes or devices do not fit, without a sample, and for temperature <= 0.
    """
    expect(z1.dim() == 2 and len(z1) > 0, "nt_xent_loss", "z1 (N, D), N of at least 1", z1)
    expect(z1.shape == z2.shape, "nt_xent_loss", f"z2 {tuple(z1.shape)}", z2)
    expect_alike("nt_xent_loss", z1=z1, z2=z2)
    expect(temperature > 0, "nt_xent_loss", "temperature above 0", temperature)
    y: Tensor = NTXentFunction.apply(torch.cat([z1, z2]), temperature)
    return y


class NTXentLoss(nn.Module):
    """The loss above."""

    def __init__(self, temperature: float = 0.5) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, z1: Tensor, z2: Tensor) -> Tensor:
        return nt_xent_loss(z1, z2, self.temperature)
