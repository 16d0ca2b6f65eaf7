"""Linear maps."""

import torch.nn.functional as F

from ..linear import linear
from ._entry import Layer, bench, module, real, tiny

LAYERS = [
    Layer(
        "linear",
        linear,
        F.linear,
        samples=[
            tiny("rows", lambda d: [d(3, 5), d(4, 5), d(4)]),
            tiny("no bias, two batch axes", lambda d: [d(2, 3, 5), d(4, 5), None]),
            tiny("one row without a batch axis", lambda d: [d(5), d(1, 5), d(1)]),
            real("tokens", lambda d: [d(4, 17, 48), d(96, 48), d(96)]),
            bench("64x3072 to 1024", lambda d: [d(64, 3072), d(1024, 3072), d(1024)]),
            bench("4096x256 to 256", lambda d: [d(4096, 256), d(256, 256), d(256)]),
            bench("ViT tokens 32x65x192 to 768", lambda d: [d(32, 65, 192), d(768, 192), d(768)]),
        ],
        modules=[
            module("Linear", lambda d: [d(3, 5)], 5, 4),
            module("Linear", lambda d: [d(2, 3, 5)], 5, 4, bias=False),
        ],
        rejects=[
            (lambda d: [d(3, 6), d(4, 5), d(4)], {}),
            (lambda d: [d(3, 5), d(4, 5), d(3)], {}),
            (lambda d: [d(3, 5), d(4, 5).float(), d(4)], {}),
        ],
    ),
]
