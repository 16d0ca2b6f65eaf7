import math

import pytest
import torch
from torch import nn

from deeprob.errors import InputError
from deeprob.graphs.cost import predict
from deeprob.models.vit import ViT, sine_positions

SMALL = {"patch": 4, "dim": 16, "depth": 2, "heads": 2, "image_size": 8}


class Published(nn.Module):
    """A vision transformer as Dosovitskiy et al. (2021) write it, under timm's names, in plain torch."""

    class Encoder(nn.Module):
        def __init__(self, dim):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
            self.attn, self.mlp = nn.Module(), nn.Module()
            self.attn.qkv, self.attn.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
            self.mlp.fc1, self.mlp.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

        def forward(self, x, heads):
            d = x.shape[2]
            q, k, v = self.attn.qkv(self.norm1(x)).split(d, 2)
            parts = []
            for h in range(heads):
                at = slice(h * d // heads, (h + 1) * d // heads)
                scores = q[..., at] @ k[..., at].transpose(1, 2) / math.sqrt(d // heads)
                parts.append(scores.softmax(2) @ v[..., at])
            x = x + self.attn.proj(torch.cat(parts, 2))
            return x + self.mlp.fc2(nn.functional.gelu(self.mlp.fc1(self.norm2(x))))

    def __init__(self, num_classes, patch, dim, depth, heads, image_size, pool="token"):
        super().__init__()
        tokens = (image_size // patch) ** 2
        self.heads = heads
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, dim, patch, patch)
        if pool == "token":
            self.cls_token, tokens = nn.Parameter(torch.zeros(1, 1, dim)), tokens + 1
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, dim))
        self.blocks = nn.ModuleList(self.Encoder(dim) for _ in range(depth))
        self.norm, self.head, self.pool = nn.LayerNorm(dim, eps=1e-6), nn.Linear(dim, num_classes), pool

    def forward(self, x):
        tokens = self.patch_embed.proj(x).flatten(2).transpose(1, 2)
        if self.pool == "token":
            tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), tokens], 1)
        tokens = tokens + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens, self.heads)
        tokens = self.norm(tokens)
        return self.head(tokens[:, 0] if self.pool == "token" else tokens.mean(1))


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("pool", ["token", "mean"])
def test_logits_and_gradients_are_those_of_the_published_network(compare, images, pool, fused):
    compare(ViT(5, **SMALL, pool=pool, fused=fused), Published(5, **SMALL, pool=pool), images(8))


def test_fused_blocks_keep_less_than_half_of_what_torch_keeps():
    options = {"dim": 48, "heads": 3, "pool": "mean"}
    ours, theirs = (
        predict(ViT(10, **options, **kind), (3, 32, 32), 4).saved_bytes
        for kind in ({"fused": True}, {"backend": "torch"})
    )
    assert 0.4 * theirs < ours < 0.5 * theirs


@pytest.mark.parametrize("positions", ["learned", "sine"])
def test_both_backends_share_weights_outputs_and_gradients(compare, images, positions):
    options = {**SMALL, "positions": positions, "input_norm": True}
    compare(ViT(5, **options, fused=True), ViT(5, **options, backend="torch"), images(8))


@pytest.mark.parametrize(("dim", "heads", "parameters"), [(192, 3, 5_717_416), (384, 6, 22_050_664)])
def test_parameter_names_and_shapes_are_those_of_timms_weights(dim, heads, parameters):
    expected = {
        "cls_token": (1, 1, dim),
        "pos_embed": (1, 197, dim),
        "patch_embed.proj.weight": (dim, 3, 16, 16),
        "patch_embed.proj.bias": (dim,),
        "norm.weight": (dim,),
        "norm.bias": (dim,),
        "head.weight": (1000, dim),
        "head.bias": (1000,),
    }
    inside = {"norm1": (dim,), "norm2": (dim,), "attn.qkv": (3 * dim, dim), "attn.proj": (dim, dim)}
    inside |= {"mlp.fc1": (4 * dim, dim), "mlp.fc2": (dim, 4 * dim)}
    for i in range(12):
        for name, shape in inside.items():
            expected |= {f"blocks.{i}.{name}.weight": shape, f"blocks.{i}.{name}.bias": shape[:1]}
    with torch.device("meta"):
        model = ViT(1000, patch=16, dim=dim, depth=12, heads=heads, image_size=224)
    assert {name: tuple(t.shape) for name, t in model.state_dict().items()} == expected
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_dropping_is_for_training_only(images):
    torch.manual_seed(0)
    model = ViT(5, **SMALL, dropout=0.2, drop_path=0.3, fused=True)
    x = images(8)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


def test_stochastic_depth_skips_a_branch_for_whole_samples(images):
    torch.manual_seed(0)
    block = ViT(5, **SMALL, drop_path=0.5).blocks[-1]
    branch = torch.ones(200, 4, 16)
    dropped = block._sometimes(branch)
    assert set(dropped.flatten(1).amax(1).tolist()) == {0.0, 2.0}
    assert torch.equal(dropped.flatten(1).amin(1), dropped.flatten(1).amax(1))


def test_sine_positions_differ_by_place_and_are_not_trained():
    model = ViT(5, **SMALL, positions="sine")
    assert "pos_embed" not in dict(model.named_parameters())
    assert "pos_embed" in model.state_dict()
    positions = sine_positions(4, 16)[0]
    distances = torch.cdist(positions, positions) + torch.eye(16)
    assert distances.min() > 0.1
    assert not sine_positions(4, 16, prefix=1)[0, 0].any()
    rows = positions.view(4, 4, 16)
    assert torch.equal(rows[0, :, :8], rows[3, :, :8])  # one half tells the column,
    assert torch.equal(rows[:, 0, 8:], rows[:, 3, 8:])  # the other one the row


@pytest.mark.parametrize("pool", ["token", "mean"])
def test_a_few_images_are_learned_by_heart(by_heart, pool):
    torch.manual_seed(0)
    assert by_heart(ViT(5, patch=4, dim=32, depth=2, heads=2, pool=pool, fused=True, image_size=16))


def test_an_image_of_another_size_is_one_line(images):
    with pytest.raises(InputError, match=r"vit: images of shape \(3, 12, 12\); expected \(3, 8, 8\)"):
        ViT(5, **SMALL)(images(12))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"image_size": 30}, "image_size=30; expected a multiple of patch=4"),
        ({"image_size": 2}, "image_size=2; expected a multiple of patch=4"),
        ({"heads": 3}, "dim=16; expected a multiple of heads=3"),
        ({"pool": "max"}, "pool=max; expected token or mean"),
        ({"positions": "random"}, "expected learned or sine"),
        ({"dim": 6, "heads": 2, "positions": "sine"}, "a multiple of 4 for positions=sine"),
        ({"depth": 0}, "depth=0; expected at least 1"),
    ],
)
def test_wrong_arguments_say_what_was_expected(arguments, said):
    with pytest.raises(InputError, match=said):
        ViT(5, **{**SMALL, **arguments})
