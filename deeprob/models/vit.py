"""Vision transformer: an image as a sequence of patches, each a token that reads from all others.

    t = [class token, W p_1 + b, ..., W p_n + b] + positions      p_i: pixels of a patch
    t = t + attention(norm(t)),  t = t + mlp(norm(t))             in every block ("pre-norm")
    logits = head(norm(t)[class token]), or of the patches' mean

Source: Dosovitskiy et al., An image is worth 16x16 words (2021); sine positions and the mean: Beyer et al.,
Better plain ViT baselines for ImageNet-1k (2022); stochastic depth: Huang et al. (2016).

Parameter names are timm's (patch_embed.proj, blocks.0.attn.qkv, ..., head), so its state dicts load.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deeprob import layers
from deeprob.errors import InputError
from deeprob.models.backend import (
    check_images,
    check_positive,
    input_norm_of,
    layers_of,
    operations_of,
)
from deeprob.models.initialise import transformer

EPS = 1e-6  # of the norms, as in the published weights


class PatchEmbed(nn.Module):
    """x (N, C, H, W) -> tokens (N, H W / patch^2, dim): a convolution that reads every patch once."""

    def __init__(self, in_channels: int, dim: int, patch: int, backend: str) -> None:
        super().__init__()
        self.proj = layers_of(backend).Conv2d(in_channels, dim, patch, patch)

    def forward(self, x: Tensor) -> Tensor:
        tokens: Tensor = self.proj(x).flatten(2).transpose(1, 2)
        return tokens.contiguous()  # once here, where every layer would have to do it


class Attention(nn.Module):
    """Multi-head self-attention of tokens (N, L, dim), its three projections in one product."""

    def __init__(self, dim: int, heads: int, backend: str) -> None:
        super().__init__()
        L = layers_of(backend)
        self.heads, self.attend = heads, operations_of(backend).attention
        self.qkv = L.Linear(dim, 3 * dim)
        self.proj = L.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(x).unflatten(2, (3, self.heads, x.shape[2] // self.heads))
        q, k, v = (part.transpose(1, 2) for part in qkv.unbind(2))
        y: Tensor = self.proj(self.attend(q, k, v).transpose(1, 2).flatten(2))
        return y


class Mlp(nn.Module):
    """Two linear layers with a gate between, on every token: (N, L, dim) -> (N, L, dim)."""

    def __init__(self, dim: int, hidden: int, dropout: float, backend: str) -> None:
        super().__init__()
        L = layers_of(backend)
        self.fc1, self.act, self.fc2 = L.Linear(dim, hidden), L.GELU(), L.Linear(hidden, dim)
        self.drop = L.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.drop(self.fc2(self.act(self.fc1(x))))
        return y


class Block(nn.Module):
    """A pre-norm transformer block on tokens (N, L, dim).

    fused: where nothing is dropped, its halves are one layer each, which keep half of what their parts would
    (layers/fused/attention_block.py, mlp_block.py). The numbers are the same; hooks do not see the parts.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        mlp_ratio: float,
        dropout: float,
        drop_path: float,
        fused: bool,
        backend: str,
    ) -> None:
        super().__init__()
        L = layers_of(backend)
        operations = operations_of(backend)
        self.add, self.mul = operations.add, operations.mul
        self.norm1, self.norm2 = L.LayerNorm(dim, eps=EPS), L.LayerNorm(dim, eps=EPS)
        self.attn = Attention(dim, heads, backend)
        self.mlp = Mlp(dim, int(mlp_ratio * dim), dropout, backend)
        self.drop = L.Dropout(dropout)
        self.drop_path = L.Dropout(drop_path)
        self.fused = fused and backend == "deeprob"
        self.drops = dropout > 0 or drop_path > 0

    def forward(self, x: Tensor) -> Tensor:
        if self.fused and not (self.training and self.drops):
            n, qkv, proj = self.norm1, self.attn.qkv, self.attn.proj
            weights = (n.weight, n.bias, qkv.weight, qkv.bias, proj.weight, proj.bias)
            x = layers.attention_block(x, *weights, self.attn.heads, EPS)
            n, fc1, fc2 = self.norm2, self.mlp.fc1, self.mlp.fc2
            return layers.mlp_block(x, n.weight, n.bias, fc1.weight, fc1.bias, fc2.weight, fc2.bias, EPS)
        x = self.add(x, self._sometimes(self.drop(self.attn(self.norm1(x)))))
        return self.add(x, self._sometimes(self.mlp(self.norm2(x))))

    def _sometimes(self, branch: Tensor) -> Tensor:
        """Stochastic depth: a sample skips the branch with the probability of drop_path."""
        if not self.training or self.drop_path.p == 0:
            return branch
        return self.mul(branch, self.drop_path(branch.new_ones(len(branch), 1, 1)))


class ViT(nn.Module):
    """A vision transformer: images (N, in_channels, image_size, image_size) -> logits (N, num_classes).

    patch: side of a patch in pixels. dim: width of a token. depth: blocks. heads: of each attention.
    mlp_ratio: hidden width of a block's MLP over dim.
    pool: "token" reads the class token, "mean" the mean of the patches; then there is no class token.
    positions: "learned", or "sine": fixed, two-dimensional sines and cosines.
    dropout: probability behind every attention and MLP, and before the head. drop_path: of a sample skipping
        the last block's branches, falling linearly to 0 at the first's.
    input_norm: see backend.input_norm_of. fused: see Block.
    backend: "deeprob" or "torch": whose layers to use; weights are interchangeable.
    Raises InputError where an argument, or an image, does not fit.
    """

    def __init__(
        self,
        num_classes: int,
        patch: int = 4,
        dim: int = 128,
        depth: int = 4,
        heads: int = 4,
        mlp_ratio: float = 4.0,
        pool: str = "token",
        positions: str = "learned",
        dropout: float = 0.0,
        drop_path: float = 0.0,
        input_norm: bool = False,
        fused: bool = False,
        image_size: int = 32,
        in_channels: int = 3,
        backend: str = "deeprob",
    ) -> None:
        super().__init__()
        check_positive("vit", patch=patch, dim=dim, depth=depth, heads=heads, in_channels=in_channels)
        check_positive("vit", num_classes=num_classes, mlp_ratio_times_dim=int(mlp_ratio * dim))
        if image_size < patch or image_size % patch:
            raise InputError(f"image_size={image_size}", where="vit", expected=f"a multiple of patch={patch}")
        if dim % heads:
            raise InputError(f"dim={dim}", where="vit", expected=f"a multiple of heads={heads}")
        if pool not in ("token", "mean"):
            raise InputError(f"pool={pool}", where="vit", expected="token or mean")
        if positions not in ("learned", "sine"):
            raise InputError(f"positions={positions}", where="vit", expected="learned or sine")
        L, side = layers_of(backend), image_size // patch
        self.shape = (in_channels, image_size, image_size)
        self.add = operations_of(backend).add
        self.input_norm = input_norm_of(input_norm, in_channels, backend)
        self.patch_embed = PatchEmbed(in_channels, dim, patch, backend)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim)) if pool == "token" else None
        prefix = int(pool == "token")
        if positions == "learned":
            self.pos_embed = nn.Parameter(torch.zeros(1, prefix + side**2, dim))
        else:
            self.register_buffer("pos_embed", sine_positions(side, dim, prefix))
        self.pos_drop = L.Dropout(dropout)
        rates = [drop_path * i / max(1, depth - 1) for i in range(depth)]
        self.blocks = nn.Sequential(
            *(Block(dim, heads, mlp_ratio, dropout, r, fused, backend) for r in rates)
        )
        self.norm = L.LayerNorm(dim, eps=EPS)
        self.mean = L.AdaptiveAvgPool2d(1)
        self.head_drop = L.Dropout(dropout)
        self.head = L.Linear(dim, num_classes)
        self._initialise()

    def _initialise(self) -> None:
        """As transformers start; the patches' projection by fan in and out (Glorot and Bengio, 2010)."""
        transformer(self)
        nn.init.xavier_uniform_(self.patch_embed.proj.weight.view(len(self.patch_embed.proj.weight), -1))
        nn.init.zeros_(self.patch_embed.proj.bias)
        if isinstance(self.pos_embed, nn.Parameter):
            nn.init.normal_(self.pos_embed, std=0.02)
        if self.cls_token is not None:
            nn.init.normal_(self.cls_token, std=1e-6)

    def embed(self, x: Tensor) -> Tensor:
        """Make the tokens (N, L, dim) of images, in their places; a class token comes first."""
        check_images("vit", x, *self.shape)
        tokens = self.patch_embed(self.input_norm(x))
        if self.cls_token is not None:
            tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), tokens], 1)
        placed: Tensor = self.add(tokens, self.pos_embed)
        return placed

    def encode(self, tokens: Tensor) -> Tensor:
        """Let tokens (N, L, dim), all of them or some, read from each other."""
        y: Tensor = self.norm(self.blocks(self.pos_drop(tokens)))
        return y

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.encode(self.embed(x))
        if self.cls_token is None:
            pooled = self.mean(tokens.transpose(1, 2)[..., None]).flatten(1)
        else:
            pooled = tokens[:, 0]
        logits: Tensor = self.head(self.head_drop(pooled))
        return logits


def sine_positions(side: int, dim: int, prefix: int = 0) -> Tensor:
    """Fixed positions (1, prefix + side^2, dim) of a square of patches; the `prefix` first tokens have zero.

    A quarter each: sine and cosine of the column, sine and cosine of the row, at wavelengths from 2 pi to
    10,000 times that. Raises InputError where dim is no multiple of 4. Source: Beyer et al. (2022).
    """
    if dim % 4:
        raise InputError(f"dim={dim}", where="vit", expected="a multiple of 4 for positions=sine")
    omega = 10_000 ** -(torch.arange(dim // 4) / max(1, dim // 4 - 1))
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    angles = [place.flatten()[:, None] * omega for place in (column, row)]
    grid = torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], 1)
    return torch.cat([torch.zeros(prefix, dim), grid])[None]
