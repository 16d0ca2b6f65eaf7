"""VICReg's three terms: views agree, and no dimension of the embedding is idle or redundant.

    z (N, D)     c = z - mean over the samples     C = c^T c / (N - 1) (D, D)     s_d = sqrt(C_dd + eps)

    invariance    mean (z1 - z2)^2                     mse_loss in regression_losses.py
    variance      mean_d of max(0, 1 - s_d)            dz = -c_d / (D (N - 1) s_d) where s_d < 1
    covariance    sum over i != j of C_ij^2, / D       dz = 4 c (C - diag C) / (D (N - 1))

Subtracting the mean has a gradient too, which subtracts the mean of dz: here it is 0, as the mean of c is.
With fewer samples than dimensions C is not formed: (N - 1) |C| = |c c^T| and (N - 1) c C = (c c^T) c.
Cost: covariance 2 N D min(N, D) FLOPs forward, twice that backward; saves z.
Source: Bardes et al. 2022, VICReg, equations 1 to 5.
"""

from typing import Any

import torch
from torch import Tensor

from .._function import Function, expect, expect_alike

EPS = 1e-4


class VarianceFunction(Function):
    """y = mean_d of max(0, 1 - s_d)."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(z: Tensor) -> Tensor:
        return (1 - deviation(centred(z))).clamp_min(0).mean()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (z,) = ctx.saved_tensors
        return dy * variance_slope(z)

    @staticmethod
    def tangent(ctx: Any, z_dot: Tensor) -> Any:
        (z,) = ctx.saved_tensors
        return (variance_slope(z) * z_dot).sum()


def variance_slope(z: Tensor) -> Tensor:
    """dy/dz = -c / (D (N - 1) s) in the dimensions where s < 1."""
    c = centred(z)
    s = deviation(c)
    return c * ((s < 1) / (-s * z.shape[1] * (len(z) - 1)))


class CovarianceFunction(Function):
    """y = (|C|^2 - |diag C|^2) / D."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(z: Tensor) -> Tensor:
        c = centred(z)
        products = c @ c.T if len(z) < z.shape[1] else c.T @ c  # the same sum of squares, either way
        squares = products.square().sum() - c.square().sum(0).square().sum()
        return squares / (z.shape[1] * (len(z) - 1) ** 2)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (z,) = ctx.saved_tensors
        return dy * covariance_slope(z)

    @staticmethod
    def tangent(ctx: Any, z_dot: Tensor) -> Any:
        (z,) = ctx.saved_tensors
        return (covariance_slope(z) * z_dot).sum()


def covariance_slope(z: Tensor) -> Tensor:
    """dy/dz = 4 c (C - diag C) / (D (N - 1))."""
    c = centred(z)
    product = (c @ c.T) @ c if len(z) < z.shape[1] else c @ (c.T @ c)
    return (product - c * c.square().sum(0)) * (4 / (z.shape[1] * (len(z) - 1) ** 2))


def centred(z: Tensor) -> Tensor:
    """Return c = z - mean over the samples."""
    return z - z.mean(0)


def deviation(c: Tensor) -> Tensor:
    """Return s (D,), the standard deviation of each dimension."""
    return (c.square().sum(0) / (len(c) - 1) + EPS).sqrt()


def vicreg_variance(z: Tensor) -> Tensor:
    """Return how far the deviations of embeddings z (N, D) fall short of 1, ().

    Raises ValueError for N < 2.
    """
    _expect_embeddings("vicreg_variance", z)
    y: Tensor = VarianceFunction.apply(z)
    return y


def vicreg_covariance(z: Tensor) -> Tensor:
    """Return how much dimensions of embeddings z (N, D) repeat each other, ().

    Raises ValueError for N < 2.
    """
    _expect_embeddings("vicreg_covariance", z)
    y: Tensor = CovarianceFunction.apply(z)
    return y


def _expect_embeddings(layer: str, z: Tensor) -> None:
    expect(z.dim() == 2 and len(z) > 1, layer, "z (N, D), N of at least 2", z)
    expect_alike(layer, z=z)
