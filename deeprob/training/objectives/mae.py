"""Masked autoencoder: patches of an image from those that were left.

    tokens of all patches, with their places     a random part of them is kept
    y = encoder(kept tokens)                     the vision transformer sees nothing else
    t = y where a patch was kept, m where not    m: one learned token; then places are added
    loss = mean over the patches that were left out of |head(decoder(t)) - p|^2

p: the pixels of a patch, at mean 0 and variance 1. The decoder is small and thrown away after. Tokens are
taken and put back by `take_rows`, whose gradient adds up what was read of each. Source: He et al. 2022,
Masked autoencoders are scalable vision learners.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from deeprob import layers
from deeprob.errors import InputError
from deeprob.models.vit import EPS, Block, ViT, sine_positions
from deeprob.tasks.base import Loss, Task
from deeprob.training.objectives.base import Objective
from deeprob.training.objectives.encoder import encoder_of, spread


class MaskedAutoencoder(Objective):
    """mask: the part of the patches that is left out. dim, depth, heads: of the decoder."""

    needs_labels: ClassVar[bool] = False
    strategy: ClassVar[str] = (
        "Self-supervised: masked autoencoder, the network fills in patches that were left out"
    )

    def __init__(self, mask: float = 0.75, dim: int = 64, depth: int = 1, heads: int = 4) -> None:
        super().__init__()
        if not 0 < mask < 1:
            raise InputError(f"objective.mask is {mask:g}", expected="more than 0, less than 1")
        if dim % heads:
            raise InputError(f"objective.dim is {dim}", expected=f"a multiple of heads={heads}")
        self.mask, self.dim, self.depth, self.heads = mask, dim, depth, heads

    def attach(self, task: Task, model: nn.Module) -> None:
        if not isinstance(model, ViT):
            raise InputError(
                f"a masked autoencoder of {type(model).__name__}", expected="a vision transformer, model=vit"
            )
        dim = encoder_of(model).num_features
        projection = model.patch_embed.proj
        self.patch, channels = projection.kernel_size[0], model.shape[0]
        side = model.shape[1] // self.patch
        self.num_patches, self.prefix = side**2, int(model.cls_token is not None)
        self.embed = layers.Linear(dim, self.dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, self.dim))
        self.places: Tensor
        self.register_buffer("places", sine_positions(side, self.dim, self.prefix))
        self.blocks = nn.Sequential(
            *(Block(self.dim, self.heads, 4.0, 0.0, 0.0, False, "deeprob") for _ in range(self.depth))
        )
        self.norm = layers.LayerNorm(self.dim, eps=EPS)
        self.head = layers.Linear(self.dim, self.patch**2 * channels)

    def validation(self, task: Task, model: nn.Module, batch: Any) -> Loss | None:
        return None

    def forward(self, task: Task, model: nn.Module, batch: Any) -> Loss:
        images, vit = batch[0], model
        assert isinstance(vit, ViT)
        kept, masked = self.draw(len(images), images.device)
        seen = vit.encode(self._take(vit.embed(images), self._with_prefix(kept)))
        found = self._decoded(self.embed(seen), kept)
        target = normalised_patches(images, self.patch)
        loss = layers.mse_loss(self._take(found, masked), self._take(target, masked))
        return Loss(loss, spread(seen[:, 0] if self.prefix else seen.mean(1)))

    def draw(self, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Draw the patches that are kept and left out: int64 (count, k) and (count, n - k), each in order."""
        order = torch.rand(count, self.num_patches).argsort(1).to(device)
        k = max(1, round((1 - self.mask) * self.num_patches))
        return order[:, :k].sort(1).values, order[:, k:].sort(1).values

    def _decoded(self, tokens: Tensor, kept: Tensor) -> Tensor:
        """Pixels of all patches (N, n, P) from tokens (N, prefix + k, dim) of the kept ones."""
        table = layers.concat([tokens, self.mask_token.expand(len(tokens), -1, -1)], 1)
        rows = torch.full(
            (len(tokens), self.prefix + self.num_patches), tokens.shape[1], device=tokens.device
        )
        rows[:, : self.prefix] = torch.arange(self.prefix, device=tokens.device)
        places = torch.arange(self.prefix, tokens.shape[1], device=tokens.device)
        rows.scatter_(1, kept + self.prefix, places.expand(len(kept), -1))
        whole = layers.add(self._take(table, rows), self.places)
        pixels: Tensor = self.head(self.norm(self.blocks(whole)))
        return pixels[:, self.prefix :]

    def _with_prefix(self, kept: Tensor) -> Tensor:
        if not self.prefix:
            return kept
        return torch.cat([kept.new_zeros(len(kept), 1), kept + 1], 1)

    @staticmethod
    def _take(x: Tensor, rows: Tensor) -> Tensor:
        """x[i, rows[i]] (N, k, D)."""
        samples = torch.arange(len(x), device=x.device)[:, None].expand_as(rows)
        return layers.take_rows(x, samples, rows)


def normalised_patches(images: Tensor, patch: int) -> Tensor:
    """Images (N, C, H, W) as patches (N, n, C patch^2), row by row, each of mean 0 and variance 1."""
    count, channels, height, width = images.shape
    cells = images.reshape(count, channels, height // patch, patch, width // patch, patch)
    patches = cells.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
    variance, mean = torch.var_mean(patches, 2, keepdim=True)
    normalised: Tensor = (patches - mean) / (variance + 1e-6).sqrt()
    return normalised
