"""Fused blocks, against their compositions in torch."""

import torch.nn.functional as F
from torch import Tensor

from ..fused._residual_chain import Norm
from ..fused.add_relu import add_relu
from ..fused.attention_block import attention_block
from ..fused.batch_norm_relu_conv import batch_norm_relu_conv2d
from ..fused.linear_cross_entropy import linear_cross_entropy
from ..fused.linear_relu import linear_relu
from ..fused.mlp_block import mlp_block
from ..fused.point_mlp_max import point_mlp_max
from ..fused.residual import batch_norm_later, convolved, of_image, residual_join
from ._entry import Draw, Layer, bench, kink, real, tiny


def composed_loss(
    x: Tensor, weight: Tensor, target: Tensor, ignore_index: int = -100, rows: int = 0
) -> Tensor:
    """Compose linear and cross-entropy."""
    return F.cross_entropy(F.linear(x, weight), target, ignore_index=ignore_index)


def composed_points(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Compose linear, relu and the maximum over points."""
    return F.linear(x, weight, bias).relu().amax(1)


def composed_convolution(
    z: Tensor,
    mean: Tensor | None,
    var: Tensor | None,
    scale: Tensor,
    shift: Tensor,
    weight: Tensor,
    training: bool = False,
    stride: int = 1,
    padding: int = 0,
) -> Tensor:
    """Compose batch_norm, relu and conv2d."""
    activation = F.batch_norm(z, mean, var, scale, shift, training).relu()
    return F.conv2d(activation, weight, None, stride, padding)


def residual_stem(
    image: Tensor,
    kernel: Tensor,
    weights: Tensor,
    projection: Tensor,
    scales: Tensor,
    shifts: Tensor,
    mean: Tensor | None = None,
    var: Tensor | None = None,
    stride: int = 2,
) -> Tensor:
    """Join a stem, two blocks of one convolution each, the second with a projection, and a third."""
    (w1, w2, w3), scale, shift = weights.unbind(), scales.unbind(), shifts.unbind()

    def norm(i: int, z: Tensor) -> Norm:
        return batch_norm_later(z, mean, var, scale[i], shift[i], training=mean is None)

    start = of_image(norm(0, convolved(image, kernel, 1, 1)), image, kernel, 1, 1)
    x, (z,) = residual_join(start, None, (w1, 1, 1))
    _, (z, side) = residual_join(norm(1, z), x, (w2, stride, 1), (projection, stride, 0))
    x, (z,) = residual_join(norm(2, z), norm(3, side), (w3, 1, 1))
    return residual_join(norm(4, z), x)[0].x


def composed_stem(
    image: Tensor,
    kernel: Tensor,
    weights: Tensor,
    projection: Tensor,
    scales: Tensor,
    shifts: Tensor,
    mean: Tensor | None = None,
    var: Tensor | None = None,
    stride: int = 2,
) -> Tensor:
    """Compose the same of batch_norm, relu, conv2d and sums."""

    def norm(i: int, z: Tensor) -> Tensor:
        return F.batch_norm(z, mean, var, scales[i], shifts[i], mean is None)

    x = norm(0, F.conv2d(image, kernel, padding=1)).relu()
    x = (norm(1, F.conv2d(x, weights[0], padding=1)) + x).relu()
    side = norm(3, F.conv2d(x, projection, stride=stride))
    x = (norm(2, F.conv2d(x, weights[1], stride=stride, padding=1)) + side).relu()
    return (norm(4, F.conv2d(x, weights[2], padding=1)) + x).relu()


def composed_mlp(
    x: Tensor, scale: Tensor, shift: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, eps: float = 1e-5
) -> Tensor:
    """Compose layer_norm, linear, gelu, linear and the residual."""
    return x + F.linear(F.gelu(F.linear(F.layer_norm(x, x.shape[-1:], scale, shift, eps), w1, b1)), w2, b2)


def composed_attention(
    x: Tensor,
    scale: Tensor,
    shift: Tensor,
    w: Tensor,
    b: Tensor,
    w_out: Tensor,
    b_out: Tensor,
    heads: int,
    eps: float = 1e-5,
) -> Tensor:
    """Compose layer_norm, linear, attention, linear and the residual."""
    qkv = F.linear(F.layer_norm(x, x.shape[-1:], scale, shift, eps), w, b)
    q, k, v = (t.reshape(*x.shape[:2], heads, x.shape[2] // heads).transpose(1, 2) for t in qkv.chunk(3, 2))
    return x + F.linear(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2), w_out, b_out)


def normed(d: Draw, *shape: int, out: int, running: bool = False) -> list[Tensor | None]:
    """Draw a map, its norm and a kernel, with the rectifier's inputs away from zero."""
    channels = shape[1]
    statistics = [d(channels) / 4, d.positive(channels)] if running else [None, None]
    weight = d(out, channels, 3, 3) / (3 * channels**0.5)
    return [d.nonzero(*shape), *statistics, d.positive(channels), d(channels) / 8, weight]


def stem(
    d: Draw, num: int, channels: int, size: tuple[int, int], running: bool = False
) -> list[Tensor | None]:
    """Draw an image and the parameters of `residual_stem`."""
    kernels = [d(*shape, channels, 3, 3) / (3 * channels**0.5) for shape in ((channels,), (3, channels))]
    vectors = [0.5 + d.positive(5, channels), d(5, channels)]
    statistics = [d(channels) / 4, d.positive(channels)] if running else []
    return [d(num, channels, *size), *kernels, d(channels, channels, 1, 1), *vectors, *statistics]


def attention(d: Draw, *rows: int, width: int) -> list[Tensor | None]:
    """Draw tokens and the parameters of an attention block."""
    w, w_out = d(3 * width, width) / width**0.5, d(width, width) / width**0.5
    return [d(*rows, width), d.positive(width), d(width), w, d(3 * width), w_out, d(width)]


def mlp(d: Draw, *rows: int, width: int, wide: int) -> list[Tensor | None]:
    """Draw tokens and the parameters of an MLP block."""
    w1, w2 = d(wide, width) / width**0.5, d(width, wide) / wide**0.5
    return [d(*rows, width), d.positive(width), d(width), w1, d(wide), w2, d(width)]


LAYERS = [
    Layer(
        "linear_relu",
        linear_relu,
        lambda x, w, b: F.linear(x, w, b).relu(),
        samples=[
            tiny("rows", lambda d: [d(3, 5), d(4, 5), d(4)]),
            tiny("no bias, two batch axes", lambda d: [d(2, 3, 5), d(4, 5), None]),
            real("tokens", lambda d: [d(4, 17, 48), d(96, 48), d(96)]),
            bench("256x3072 to 1024", lambda d: [d(256, 3072), d(1024, 3072), d(1024)]),
            bench("4096x256 to 256", lambda d: [d(4096, 256), d(256, 256), d(256)]),
        ],
        rejects=[(lambda d: [d(3, 6), d(4, 5), d(4)], {})],
    ),
    Layer(
        "add_relu",
        add_relu,
        lambda a, b: (a + b).relu(),
        batched=(0, 1),
        maps=True,
        samples=[
            tiny("rows", lambda d: [d(3, 5), d(3, 5)]),
            real("map", lambda d: [d(4, 8, 6, 6), d(4, 8, 6, 6)]),
            bench("map 32x64x32x32", lambda d: [d(32, 64, 32, 32), d(32, 64, 32, 32)]),
        ],
        rejects=[(lambda d: [d(3, 5), d(5)], {})],
    ),
    Layer(
        "linear_cross_entropy",
        linear_cross_entropy,
        composed_loss,
        batched=(0, 2),
        samples=[
            tiny("rows", lambda d: [d(5, 4), d(3, 4), d.classes(3, 5)], rows=2),
            tiny("class 1 ignored", lambda d: [d(6, 4), d(3, 4), d.classes(3, 6)], rows=4, ignore_index=1),
            kink("all ignored", lambda d: [d(6, 4), d(3, 4), d.classes(1, 6) - 100]),
            bench(
                "2048x256 to 16384 classes",
                lambda d: [d(2048, 256), d(16384, 256) / 16, d.classes(16384, 2048)],
            ),
        ],
        rejects=[
            (lambda d: [d(5, 4), d(3, 5), d.classes(3, 5)], {}),
            (lambda d: [d(5, 4), d(3, 4), d.classes(3, 5) + 7], {}),
        ],
    ),
    Layer(
        "point_mlp_max",
        point_mlp_max,
        composed_points,
        samples=[
            tiny("points", lambda d: [d(2, 7, 3), d(5, 3), d(5)]),
            real("points", lambda d: [d(3, 64, 16), d(32, 16), d(32)]),
            bench("32x1024 points, 128 to 1024", lambda d: [d(32, 1024, 128), d(1024, 128), d(1024)]),
        ],
        rejects=[(lambda d: [d(2, 3), d(5, 3), d(5)], {}), (lambda d: [d(2, 7, 3), d(5, 3), d(4)], {})],
    ),
    Layer(
        "batch_norm_relu_conv2d",
        batch_norm_relu_conv2d,
        composed_convolution,
        constants=(1, 2),
        maps=True,
        samples=[
            tiny("training", lambda d: normed(d, 3, 3, 4, 5, out=2), training=True, padding=1),
            tiny("stride 2", lambda d: normed(d, 2, 2, 5, 4, out=3), training=True, stride=2),
            tiny("evaluation", lambda d: normed(d, 2, 3, 4, 4, out=2, running=True), padding=1),
            real("training", lambda d: normed(d, 3, 8, 9, 8, out=8), training=True, padding=1),
            bench("64 ch 32 px", lambda d: normed(d, 32, 64, 32, 32, out=64), training=True, padding=1),
        ],
        rejects=[(lambda d: [d(2, 4, 5, 5), None, None, d(4), d(4), d(2, 3, 3, 3)], {"training": True})],
    ),
    Layer(
        "residual_join",
        residual_stem,
        composed_stem,
        constants=(6, 7),
        maps=True,
        samples=[
            tiny("training", lambda d: stem(d, 2, 2, (5, 4))),
            tiny("evaluation", lambda d: stem(d, 2, 2, (4, 4), running=True)),
            real("training", lambda d: stem(d, 3, 4, (9, 8))),
            real("training, planes for the loops", lambda d: stem(d, 3, 8, (16, 16)), stride=1),
            bench("64 ch 32 px", lambda d: stem(d, 32, 64, (32, 32))),
        ],
        rejects=[(lambda d: [*stem(d, 2, 2, (4, 4))[:3], d(2, 3, 1, 1), *stem(d, 2, 2, (4, 4))[4:]], {})],
    ),
    Layer(
        "mlp_block",
        mlp_block,
        composed_mlp,
        samples=[
            tiny("rows", lambda d: mlp(d, 3, width=4, wide=5)),
            tiny("two batch axes", lambda d: mlp(d, 2, 3, width=3, wide=4), eps=1e-2),
            real("tokens", lambda d: mlp(d, 3, 17, width=24, wide=48)),
            bench("tokens 32x65x192", lambda d: mlp(d, 32, 65, width=192, wide=768)),
        ],
        rejects=[(lambda d: [d(2, 4), d(4), d(4), d(5, 4), d(5), d(5, 4), d(4)], {})],
    ),
    Layer(
        "attention_block",
        attention_block,
        composed_attention,
        samples=[
            tiny("two heads", lambda d: attention(d, 2, 3, width=4), heads=2),
            tiny("one head", lambda d: attention(d, 3, 4, width=3), heads=1, eps=1e-2),
            real("tokens", lambda d: attention(d, 3, 17, width=24), heads=3),
            real("long rows", lambda d: attention(d, 2, 400, width=8), heads=2),
            bench("tokens 32x65x192", lambda d: attention(d, 32, 65, width=192), heads=3),
        ],
        rejects=[
            (lambda d: attention(d, 2, 3, width=4), {"heads": 3}),
            (lambda d: [*attention(d, 2, 3, width=4)[:5], d(3, 4), d(4)], {"heads": 2}),
        ],
    ),
]
