"""Residual networks whose sums are not kept: what the next block reads is made again in the backward.

    x = max(0, n(z) + s)      n: batch_norm of a convolution's output z
    y_i = W_i * x             the next block's convolutions
    s: an earlier x, or n'(z') of a projection, or nothing (the stem, whose z is made again from the image)

    dx = dy_1 W_1^T + dy_2 W_2^T + ... + what comes back along the shortcut,  dW_i = dy_i x^T      conv.py
    dn = dx where x > 0, else 0;  ds = dn                              an add gate hands it to both
    dz, dw, db: of n                                                    batch_norm.py

Layer by layer, a block with two convolutions keeps four maps: z for each norm, and x for each convolution
(the rectifiers' gates are read off x). Here it keeps the two z: an x is a chain of sums of what other blocks
keep, back to the stage's projection or to the image,

    x_3 = max(0, n_3(z_3) + x_2),  x_2 = max(0, n_2(z_2) + x_1),  ...

one pass over memory a link, of at most LONGEST links: then an x is kept, and starts the next chain.
Cost: as the layers, and in the backward one pass a link, and for chains that reach the image its convolution.
Source: He et al., Deep residual learning (2015), equation 2; Chen et al., Training deep nets with sublinear
memory cost (2016), on making activations again.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .._function import Function, expect, expect_alike, is_autocast_on, may_overwrite
from .._window import Geometry, Pair, pair
from ..batch_norm import (
    BatchNorm2d,
    BatchNormFunction,
    batch_norm_backward,
    batch_norm_tangent,
    check_batch_norm,
    statistics,
)
from ..conv import conv2d, input_gradient, weight_gradient
from ..relu import relu, relu_backward
from ._residual_chain import LONGEST, Activation, Link, Norm, chain_of, convolve, make
from .add_relu import add_relu


@dataclass(frozen=True)
class Form:
    """The chain of a join's x, newest link first, and stride and padding of each convolution of x."""

    links: tuple[Link, ...]
    geometries: tuple[Any, ...]


class ResidualJoinFunction(Function):
    """x and the y_i. `given`: s of a sum or z of a stem, not kept. tensors: the chain's, then each W_i."""

    @staticmethod
    def forward(form: Form, given: Tensor | None, *tensors: Tensor) -> tuple[Tensor, ...]:
        x = make(form.links, tensors, given)
        weights = tensors[len(tensors) - len(form.geometries) :]
        ys = (convolve(x, w, g) for w, g in zip(weights, form.geometries, strict=True))
        return x, *ys

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.form, _, *tensors = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, dx: Tensor | None, *dys: Tensor | None) -> Any:
        form, tensors = ctx.form, ctx.saved_tensors
        link, num_weights = form.links[0], len(form.geometries)
        chain, weights = tensors[: len(tensors) - num_weights], tensors[len(tensors) - num_weights :]
        need_chain = ctx.needs_input_grad[1 : 2 + link.num_kept]
        need_weights = ctx.needs_input_grad[len(ctx.needs_input_grad) - num_weights :]
        x = make(form.links, chain)
        dweights: list[Tensor | None] = []
        parts = [] if dx is None else [dx]
        for dy, weight, geometry, need in zip(dys, weights, form.geometries, need_weights, strict=True):
            whole = Geometry(*geometry)
            dweights.append(weight_gradient(dy, x, weight.shape, whole) if dy is not None and need else None)
            if dy is not None and any(need_chain):
                parts.append(input_gradient(dy, weight, x.shape, whole))
        if not parts or not any(need_chain):
            return None, None, *[None] * len(chain), *dweights
        ds, gradients = through(link, relu_backward(x, total(parts)), chain, ctx.needs_input_grad[2])
        rest = [None] * (len(chain) - len(gradients))
        return None, ds, *gradients, *rest, *dweights

    @staticmethod
    def tangent(ctx: Any, _: Any, given_dot: Any, *dots: Any) -> Any:
        form, tensors = ctx.form, ctx.saved_tensors
        link, num_weights = form.links[0], len(form.geometries)
        weights, weight_dots = (t[len(t) - num_weights :] for t in (tensors, dots))
        x = make(form.links, tensors)
        x_dot = x.sign() * tangent_of(link, given_dot, tensors, dots)
        y_dots = []
        for w, w_dot, g in zip(weights, weight_dots, form.geometries, strict=True):
            y_dot = convolve(x_dot, w, g)
            y_dots.append(y_dot if w_dot is None else y_dot + convolve(x, w_dot, g))
        return x_dot, *y_dots


def through(
    link: Link, dn: Tensor, chain: Any, need_first: bool
) -> tuple[Tensor | None, list[Tensor | None]]:
    """Return ds, and gradients of the link's own tensors, of dn; need_first: whether an image needs one."""
    nothing = [None, None]
    if link.kind == "stem":
        image, kernel, scale, _, mean, var = chain[:6]
        z = convolve(image, kernel, link.geometry)
        dz, dscale, dshift = batch_norm_backward(dn, z, scale, mean, var, link.eps[0], link.training[0])
        whole = Geometry(*link.geometry)
        dimage = input_gradient(dz, kernel, image.shape, whole) if need_first else None
        return None, [dimage, weight_gradient(dz, image, kernel.shape, whole), dscale, dshift, *nothing]
    gradients: list[Tensor | None] = []
    for i in range(len(link.eps)):
        z, scale, _, mean, var = chain[5 * i : 5 * i + 5]
        gradients += batch_norm_backward(dn, z, scale, mean, var, link.eps[i], link.training[i])
        gradients += nothing
    return dn if link.kind == "sum" else None, gradients


def tangent_of(link: Link, given_dot: Any, tensors: Any, dots: Any) -> Tensor:
    """Return the tangent of n(z) + s."""
    if link.kind == "stem":
        image, kernel, scale, _, mean, var = tensors[:6]
        image_dot, kernel_dot, *norm_dots = dots[:4]
        z = convolve(image, kernel, link.geometry)
        z_dot = torch.zeros_like(z)
        z_dot = z_dot if image_dot is None else z_dot + convolve(image_dot, kernel, link.geometry)
        z_dot = z_dot if kernel_dot is None else z_dot + convolve(image, kernel_dot, link.geometry)
        return batch_norm_tangent((z_dot, *norm_dots), z, scale, mean, var, link.eps[0], link.training[0])
    x_dot = given_dot
    for i in range(len(link.eps)):
        z, scale, _, mean, var = tensors[5 * i : 5 * i + 5]
        norm_dots = tuple(dots[5 * i : 5 * i + 3])
        n_dot = batch_norm_tangent(norm_dots, z, scale, mean, var, link.eps[i], link.training[i])
        x_dot = n_dot if x_dot is None else x_dot + n_dot
    return x_dot  # type: ignore[no-any-return]


def total(parts: list[Tensor]) -> Tensor:
    """Return the sum; the last may be written over."""
    if len(parts) == 1:
        return parts[0]
    if may_overwrite(parts[-1]):
        for part in parts[:-1]:
            parts[-1].add_(part)
        return parts[-1]
    return sum(parts[1:], parts[0])


def residual_join(
    norm: Norm, shortcut: Activation | Norm | None, *convolutions: tuple[Tensor, Pair, Pair]
) -> tuple[Activation, tuple[Tensor, ...]]:
    """Return x = relu(batch_norm(z) + s), which can be made again, and its convolutions y_i.

    norm: of z (N, C, H, W). shortcut: an earlier x, a projection's norm, or None. convolutions: weight
    (O, C, KH, KW), stride and padding of each.
    Raises ValueError where shapes, dtypes or devices do not fit.
    """
    name = "residual_join"
    if shortcut is not None:
        side = shortcut.z if isinstance(shortcut, Norm) else shortcut.x
        expect(side.shape == norm.z.shape, name, f"a shortcut {tuple(norm.z.shape)} as z", side)
        expect_alike(name, z=norm.z, shortcut=side)
    channels = norm.z.shape[1]
    for weight, *_ in convolutions:
        fits = weight.dim() == 4 and weight.shape[1] == channels
        expect(fits, name, f"weight (O, {channels}, KH, KW)", weight)
        expect_alike(name, z=norm.z, weight=weight)
    if torch.compiler.is_compiling() or is_autocast_on(norm.z.device.type):
        return composed(norm, shortcut, convolutions)
    links, kept, given = chain_of(norm, shortcut)
    weights = [weight for weight, *_ in convolutions]
    form = Form(links, tuple((pair(stride), pair(padding)) for _, stride, padding in convolutions))
    x, *ys = ResidualJoinFunction.apply(form, given, *kept, *weights)
    if len(links) > LONGEST or not torch.is_grad_enabled():
        return Activation.keep(x), tuple(ys)
    return Activation(x, links, kept), tuple(ys)


def composed(
    norm: Norm, shortcut: Activation | Norm | None, convolutions: tuple[tuple[Tensor, Pair, Pair], ...]
) -> tuple[Activation, tuple[Tensor, ...]]:
    """Do the same by layers: a compiler decides for itself what to make again, and autocast casts each."""
    z = norm.z if norm.image is None else conv2d(norm.image, norm.kernel, None, *norm.geometry)  # type: ignore[arg-type]
    x = BatchNormFunction.apply(z, *norm[1:7])
    if shortcut is None:
        x = relu(x)
    else:
        projected = isinstance(shortcut, Norm)
        side = BatchNormFunction.apply(*shortcut[:7]) if projected else shortcut.x  # type: ignore[union-attr]
        x = add_relu(x, side)
    return Activation.keep(x), tuple(conv2d(x, w, None, s, a) for w, s, a in convolutions)


def batch_norm_later(
    z: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Norm:
    """Do batch_norm's statistics of z (N, C, H, W), and put the rest off: `residual_join` does it.

    Raises ValueError where shapes, dtypes or devices do not fit, or one value a channel is left to normalise.
    """
    name = "batch_norm_later"
    check_batch_norm(name, z, running_mean, running_var, weight, bias)
    mean, var = statistics(name, z, running_mean, running_var, training, momentum)
    return Norm(z, weight, bias, mean, var, eps, training)


def norm_of(z: Tensor, norm: BatchNorm2d) -> Norm:
    """Do the same for a module, as its forward would."""
    fits = norm.weight is not None and norm.bias is not None
    expect(fits, "norm_of", "a norm with weight and bias", repr(norm))
    running_mean, running_var, training, momentum = norm.count_batch()
    vectors = (running_mean, running_var, norm.weight, norm.bias)
    return batch_norm_later(z, *vectors, training, momentum, norm.eps)


def convolved(image: Tensor, kernel: Tensor, stride: Pair = 1, padding: Pair = 0) -> Tensor:
    """Return conv2d(image, kernel) for a norm whose z is made again, with `of_image`."""
    with torch.no_grad():
        return conv2d(image, kernel, None, pair(stride), pair(padding))


def of_image(norm: Norm, image: Tensor, kernel: Tensor, stride: Pair = 1, padding: Pair = 0) -> Norm:
    """Say of which image's convolution z is: z is then not kept."""
    return norm._replace(image=image, kernel=kernel, geometry=(pair(stride), pair(padding)))
