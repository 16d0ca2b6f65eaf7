"""Batch normalisation over the batches of several processes, as if they were one.

    y = w h + b,  h = (x - mu) r,  r = 1 / sqrt(var + eps)
    x (N, C, ...), this process's part   w, b (C)   mu, var (C): of all parts together
    m_p = entries a channel in part p,  m = sum of m_p

    mu = sum over p of m_p mu_p / m,  var = sum over p of m_p (var_p + (mu_p - mu)^2) / m

    dw = sum(dy h), db = sum(dy)                over this part: who averages gradients adds the others
    dx = w r (dy - S(dy) / m - h S(dy h) / m)   S: sum over all parts, which mu and var depend on

The sum over processes hands a gradient back as the sum of all processes' gradients: it is its own transpose.
Cost: batch_norm's, and one exchange of 2C + 1 numbers forward and of 2C backward.
Source: Ioffe and Szegedy, Batch normalization (2015); Chan et al., Updating formulae for variances (1979).
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ._fast import or_faster
from ._function import Function, expect, may_overwrite
from .batch_norm import (
    BatchNorm,
    batch_norm,
    check_batch_norm,
    moments,
    normalise,
    over_batch,
    per_channel,
)
from .kernels import channels as fast


class SyncBatchNormFunction(Function):
    """The normalisation above. Takes mu, var and m of all parts; the gradients of mu and var are in dx."""

    autocast_dtype = "unchanged"

    @staticmethod
    def forward(
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        var: Tensor,
        m: Tensor,
        eps: float,
    ) -> Tensor:
        return normalise(x, weight, bias, mean, var, eps)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, bias, mean, var, m, ctx.eps = inputs
        ctx.bias_dtype = None if bias is None else bias.dtype
        ctx.save_for_backward(x, weight, mean, var, m)
        ctx.save_for_forward(x, weight, mean, var, m)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, weight, mean, var, m = ctx.saved_tensors
        dx, dweight, dbias = sync_batch_norm_backward(dy, x, weight, mean, var, m, ctx.eps)
        need_x, need_weight, need_bias, *_ = ctx.needs_input_grad
        return (
            dx if need_x else None,
            dweight.to(weight.dtype) if need_weight else None,
            dbias.to(ctx.bias_dtype) if need_bias else None,
            *[None] * 4,
        )

    @staticmethod
    def tangent(ctx: Any, x_dot: Any, weight_dot: Any, bias_dot: Any, *_: Any) -> Any:
        x, weight, mean, var, m = ctx.saved_tensors
        rstd = (var + ctx.eps).rsqrt()
        h = (x - per_channel(mean, x)) * per_channel(rstd, x)
        y_dot = torch.zeros_like(x)
        if x_dot is not None:
            sums = torch.stack((over_batch(x_dot).sum(1), over_batch(x_dot * h).sum(1)))
            mean_dot, dot = over_processes(sums) / m
            x_dot = x_dot - per_channel(mean_dot, x) - h * per_channel(dot, x)
            y_dot = x_dot * per_channel(rstd if weight is None else rstd * weight, x)
        y_dot = y_dot if weight_dot is None else y_dot + h * per_channel(weight_dot, x)
        return y_dot if bias_dot is None else y_dot + per_channel(bias_dot, x)


def sync_batch_norm_backward(
    dy: Tensor, x: Tensor, weight: Tensor | None, mean: Tensor, var: Tensor, m: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return dx, dw and db, as above."""
    if not may_overwrite(dy):  # as functions of x, so that the second derivative sees them
        mean = over_processes(over_batch(x).sum(1)) / m
        var = over_processes((over_batch(x) - mean[:, None]).square().sum(1)) / m
    rstd = (var + eps).rsqrt()
    dbias, dot = sum_and_dot(dy, x, mean)
    dbias_of_all, dot_of_all = over_processes(torch.stack((dbias, dot))) / m
    a = rstd if weight is None else rstd * weight
    b = -a * rstd * rstd * dot_of_all
    return combine(dy, x, a, b, -a * dbias_of_all - b * mean), dot * rstd, dbias


@or_faster(fast.sum_and_dot)
def sum_and_dot(dy: Tensor, x: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Return sum(dy) and sum(dy (x - mu)), each (C)."""
    rows = over_batch(dy)
    return rows.sum(1), (rows * (over_batch(x) - mean[:, None])).sum(1)


@or_faster(fast.combine)
def combine(dy: Tensor, x: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Return a dy + b x + c, one number a channel each, in x's dtype."""
    return (dy * per_channel(a, x) + x * per_channel(b, x) + per_channel(c, x)).to(x.dtype)


class SumOverProcesses(Function):
    """y = sum over p of x_p;  dx = sum over p of dy_p."""

    autocast_dtype = "unchanged"

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        y = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(y)
        return y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Remember nothing: the sum is linear."""

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        return over_processes(dy)

    @staticmethod
    def tangent(ctx: Any, x_dot: Tensor) -> Tensor:
        return over_processes(x_dot)


def over_processes(x: Tensor) -> Tensor:
    """Sum x over all processes; x itself where there is one."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return x
    y: Tensor = SumOverProcesses.apply(x)
    return y


def moments_of_all(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean (C), biased variance (C) and entries a channel (), over the parts of all processes."""
    count = x.numel() // max(1, x.shape[1])
    mean, var = moments(x) if count else x.new_zeros(2, x.shape[1]).unbind()
    m = mean.new_tensor(count)
    if over_processes(m) is m:
        return mean, var, m
    # of each process: its mean, variance, and number, in one exchange
    own = torch.cat((mean, var, m[None])).double()
    parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, own)
    means, variances, counts = torch.split(torch.stack(parts), [x.shape[1], x.shape[1], 1], dim=1)
    shares = counts / counts.sum()
    of_all = (shares * means).sum(0)
    spread = (shares * (variances + (means - of_all).square())).sum(0)
    return of_all.to(mean.dtype), spread.to(var.dtype), counts.sum().to(mean.dtype)


def sync_batch_norm(
    x: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise x (N, C, ...), whose batch goes on in other processes; all must call it, in the same order.

    Outside training nothing is exchanged: it is `batch_norm`. Raises ValueError as `batch_norm` does.
    """
    if not training:
        return batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
    expect(eps > 0, "sync_batch_norm", "eps above 0", eps)
    check_batch_norm("sync_batch_norm", x, running_mean, running_var, weight, bias)
    with torch.no_grad():
        mean, var, m = moments_of_all(x)
        if x.numel() == x.shape[1]:  # looked at only then: on a GPU it waits for the others
            expect(bool(m != 1), "sync_batch_norm", "more than one value per channel in training", x)
        if running_mean is not None and running_var is not None:
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_((var * (m / (m - 1))).to(running_var.dtype), momentum)
    y: Tensor = SyncBatchNormFunction.apply(x, weight, bias, mean, var, m, eps)
    return y


class SyncBatchNorm(BatchNorm):
    """As torch.nn.SyncBatchNorm, over x (N, C, ...) of all processes, on CPUs too."""

    expected = ("(N, C, ...)", (2, 3, 4, 5))
    functional = staticmethod(sync_batch_norm)

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: object = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        bias: bool = True,
    ) -> None:
        expect(process_group is None, "SyncBatchNorm", "process_group=None", repr(process_group))
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    @classmethod
    def convert_sync_batchnorm(cls, module: nn.Module, process_group: object = None) -> nn.Module:
        """Do as `convert` does; all processes are one group."""
        expect(process_group is None, cls.__name__, "process_group=None", repr(process_group))
        return convert(module)


def convert(model: nn.Module) -> nn.Module:
    """Turn the batch norms of `model` into synchronised ones that hold the same parameters and statistics.

    Ours become ours, torch's torch's. Returns the model, or, where it is a batch norm itself, what takes its
    place.
    """
    if isinstance(model, BatchNorm):
        if not isinstance(model, SyncBatchNorm):
            synchronised = SyncBatchNorm(1, model.eps, model.momentum)
            synchronised.__dict__.update(model.__dict__)
            return synchronised
    elif isinstance(model, nn.modules.batchnorm._BatchNorm):
        theirs: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return theirs
    for name, child in model.named_children():
        setattr(model, name, convert(child))
    return model
