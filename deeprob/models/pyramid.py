"""Feature pyramid: what is seen coarsely goes back up to the finer maps.

    p_i = W_i * (l_i + up(l_{i+1} + up(...)))     l_i = L_i * c_i, a 1x1 convolution of the body's map c_i

Above the body's coarsest map, further levels are strided convolutions of p. Parameter names are torchvision's
(inner_blocks.0.0, layer_blocks.0.0, extra_blocks.p6), so its detectors' state dicts load.
Source: Lin et al., Feature pyramid networks for object detection (2017); the levels above: Lin et al., Focal
loss for dense object detection (2017), section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn.functional import interpolate as torch_interpolate

from deeprob import layers
from deeprob.errors import InputError
from deeprob.models.backend import layers_of, operations_of
from deeprob.models.bodies import body_of


class FeaturePyramid(nn.Module):
    """Maps of a body -> `num_out` maps of `width` channels.

    channels: of each map, finest first. num_out: levels to give; fewer than maps: the finest ones; more: the
    last are made by strided convolutions ("conv") or every other cell is taken ("pool"), at most two.
    norm: batch norm, and a rectifier after W_i.
    """

    def __init__(
        self,
        channels: Sequence[int],
        width: int,
        num_out: int,
        norm: bool = False,
        extra: str = "conv",
        backend: str = "deeprob",
    ) -> None:
        super().__init__()
        L = layers_of(backend)
        self.num_extra = max(0, num_out - len(channels))
        self.inner_blocks, self.layer_blocks = nn.ModuleList(), nn.ModuleList()
        for i, given in enumerate(channels):
            inner: list[nn.Module] = [L.Conv2d(given, width, 1, bias=not norm)]
            layer: list[nn.Module] = [L.Conv2d(width, width, 3, padding=1, bias=not norm)]
            if norm:
                inner, layer = [*inner, L.BatchNorm2d(width)], [*layer, L.BatchNorm2d(width), L.ReLU()]
            self.inner_blocks.append(nn.Sequential(*inner))
            if i < num_out:
                self.layer_blocks.append(nn.Sequential(*layer))
        self.pool = L.MaxPool2d(1, stride=2) if extra == "pool" else None
        if self.num_extra and self.pool is None:
            names = [f"p{6 + i}" for i in range(self.num_extra)]
            self.extra_blocks = nn.ModuleDict({n: L.Conv2d(width, width, 3, 2, padding=1) for n in names})
        self.relu, self.add = L.ReLU(), operations_of(backend).add
        self.interpolate = torch_interpolate if backend == "torch" else layers.interpolate
        for module in self.modules():
            if isinstance(module, L.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        above: Tensor | None = None
        levels: list[Tensor] = []
        for i in reversed(range(len(maps))):
            here: Tensor = self.inner_blocks[i](maps[i])
            if above is not None:
                here = self.add(here, self.interpolate(above, size=tuple(here.shape[2:]), mode="nearest"))
            above = here
            if i < len(self.layer_blocks):
                levels.insert(0, self.layer_blocks[i](here))
        for i in range(self.num_extra):
            top = self.relu(levels[-1]) if i and self.pool is None else levels[-1]
            levels.append(self.pool(top) if self.pool is not None else self.extra_blocks[f"p{6 + i}"](top))
        return levels


class Backbone(nn.Module):
    """A body and a pyramid on it: images (N, C, H, W) -> maps of `width` channels, at `strides`.

    Arguments: see FeaturePyramid and the body's class. `maps` of the levels, the first, are the body's own.
    Raises InputError where the body has no map of the first stride, or strides do not double.
    """

    def __init__(
        self,
        name: str,
        strides: Sequence[int],
        width: int,
        widths: Sequence[int] | None = None,
        blocks: Sequence[int] | None = None,
        stem: str | None = None,
        norm: bool = False,
        extra: str = "conv",
        fused: bool = False,
        in_channels: int = 3,
        backend: str = "deeprob",
    ) -> None:
        super().__init__()
        options = {"stem": stem, "fused": fused, "in_channels": in_channels, "backend": backend}
        self.body = body_of(name, widths, blocks, **options)
        offered: tuple[int, ...] = tuple(self.body.strides)  # type: ignore[arg-type]
        channels: list[int] = self.body.channels  # type: ignore[assignment]
        doubling = all(b == 2 * a for a, b in pairwise(strides))
        if not strides or strides[0] not in offered or not doubling or strides[-1] > 4 * offered[-1]:
            raise InputError(
                f"strides={list(strides)}",
                where=f"backbone {name}",
                expected=f"doubling strides from one of {list(offered)} to at most {4 * offered[-1]}",
            )
        self.first = offered.index(strides[0])
        self.maps = min(len(strides), len(offered) - self.first)
        self.fpn = FeaturePyramid(channels[self.first :], width, len(strides), norm, extra, backend)

    def forward(self, images: Tensor) -> list[Tensor]:
        levels: list[Tensor] = self.fpn(self.body(images)[self.first :])
        return levels
