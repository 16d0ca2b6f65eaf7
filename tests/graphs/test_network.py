import re
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

from deeprob import layers as L
from deeprob.errors import InputError
from deeprob.graphs.network import (
    blocks_of,
    draw_network,
    mistakes_of,
    network_page,
    rows,
    short,
    summary,
)
from deeprob.graphs.trace import trace
from deeprob.models.resnet import ResNet


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    return trace(ResNet(10, blocks=(1, 1), width=8, stem="small"), torch.randn(4, 3, 16, 16))


def test_a_network_folds_into_the_blocks_of_its_modules(resnet):
    top = blocks_of(resnet)
    assert [b.path[0] for b in top if b.folded] == ["layer1", "layer2"]
    assert sum(len(b.layers) for b in top) == len(resnet.layers)
    assert [b.path[2] for b in blocks_of(resnet, ("layer2", "0"))][:3] == ["downsample", "conv1", "bn1"]
    assert len(blocks_of(resnet, depth=9)) == len(resnet.layers)


def test_the_picture_shows_shapes_costs_and_flow(resnet):
    picture = ElementTree.fromstring(draw_network(resnet, "resnet"))
    text = " ".join("".join(t.itertext()) for t in picture.iter("{http://www.w3.org/2000/svg}text"))
    for shown in ("conv1", "Conv2d 8×16×16", "216 weights", "layer1", "input", "4×3×16×16", "‖y‖", "‖dy‖"):
        assert shown in re.sub(r"\s+", " ", text)


def test_every_dashed_box_of_the_page_opens_a_block(resnet):
    page = network_page(resnet, "resnet", [summary(resnet)])
    anchors = set(re.findall(r'href="#([\w-]+)"', page))
    assert {"block-layer1", "block-layer1-0", "block-layer2-0-downsample"} <= anchors
    assert anchors <= set(re.findall(r'<details id="([\w-]+)"', page))
    assert not re.search(r'(src|href)="(?!data:|#)', page)


def test_the_table_has_a_row_a_layer(resnet):
    table = rows(resnet)
    assert len(table) == len(resnet.layers)
    assert next(row for row in table if row[0] == "conv1")[:4] == ["conv1", "Conv2d", "4×8×16×16", "216"]


def test_blocks_that_start_as_the_identity_let_no_gradient_in(resnet):
    """The last norm of each block starts at zero: backward, its branch gets nothing yet."""
    told = {layer.name: m for layer, m in zip(resnet.layers, mistakes_of(resnet), strict=True)}
    assert told["layer1.0.conv1"] == ["no gradient reaches it"]
    assert told["conv1"] == []


def test_vanishing_saturated_and_dead_layers_are_named():
    torch.manual_seed(0)
    deep = nn.Sequential(*[m for _ in range(12) for m in (L.Linear(8, 8), L.Sigmoid())], L.Linear(8, 3))
    found = trace(deep, torch.randn(16, 8))
    assert mistakes_of(found)[0][0].startswith("vanishing gradient")
    assert mistakes_of(found)[-1] == []
    wide = nn.Sequential(L.Linear(8, 8), L.Tanh(), L.Linear(8, 6), L.ReLU(), L.Linear(6, 3))
    nn.init.constant_(wide[0].bias, 30.0)
    nn.init.constant_(wide[2].bias, -300.0)
    told = mistakes_of(trace(wide, torch.randn(16, 8)))
    assert told[1][0] == "saturated: 100 % of its entries lie at a limit"
    assert told[3][0] == "dead: 100 % of its units are zero for the whole batch"


def test_too_many_boxes_are_refused():
    found = trace(nn.Sequential(*[L.ReLU() for _ in range(201)]), torch.randn(2, 3))
    with pytest.raises(InputError, match="201 boxes are too many to draw; expected at most 200"):
        draw_network(found, "long")
    folded = nn.Sequential(*[nn.Sequential(*[L.ReLU() for _ in range(50)]) for _ in range(5)])
    assert "50 layers" in draw_network(trace(folded, torch.randn(2, 3)), "folded")


def test_counts_are_short():
    assert [short(n) for n in (950, 11_173_962, 1.2e9)] == ["950 ", "11.2 M", "1.2 G"]
