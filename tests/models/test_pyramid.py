import pytest
import torch
from torch import nn

from deeprob.models.pyramid import Backbone, FeaturePyramid

SMALL = {"name": "compact", "width": 8, "widths": (8, 8, 8), "blocks": (1, 1, 1)}


def ones(pyramid):
    """Let every 1x1 copy its input's channel and every 3x3 its middle."""
    for module in pyramid.modules():
        if getattr(module, "weight", None) is not None and module.weight.dim() == 4:
            nn.init.zeros_(module.weight)
            middle = module.weight.shape[2] // 2
            module.weight.data[0, 0, middle, middle] = 1
    return pyramid


def maps(*values):
    return [torch.full((1, 1, 8 >> i, 8 >> i), v) for i, v in enumerate(values)]


def test_each_level_is_the_sum_of_what_lies_above():
    levels = ones(FeaturePyramid([1, 1, 1], 1, 3))(maps(1.0, 10.0, 100.0))
    assert [level.unique().tolist() for level in levels] == [[111], [110], [100]]


def test_fewer_levels_are_the_finest_and_see_all_maps():
    levels = ones(FeaturePyramid([1, 1, 1], 1, 2))(maps(1.0, 10.0, 100.0))
    assert [level.unique().tolist() for level in levels] == [[111], [110]]


def test_further_levels_halve_the_coarsest_and_the_second_is_rectified_first():
    levels = ones(FeaturePyramid([1, 1], 1, 4))(maps(-1.0, -2.0))
    assert [tuple(level.shape[2:]) for level in levels] == [(8, 8), (4, 4), (2, 2), (1, 1)]
    assert [level.unique().tolist() for level in levels[1:]] == [[-2], [-2], [0]]


def test_maps_of_odd_sizes_fit_together():
    x = [torch.zeros(1, 4, 7, 5), torch.zeros(1, 4, 4, 3)]
    assert [tuple(level.shape[2:]) for level in FeaturePyramid([4, 4], 4, 2)(x)] == [(7, 5), (4, 3)]


@pytest.mark.parametrize("strides", [(4, 8), (8, 16), (8, 16, 32, 64)])
def test_levels_have_the_strides_asked_for(strides):
    levels = Backbone(strides=strides, **SMALL).eval()(torch.zeros(1, 3, 64, 128))
    assert [128 // level.shape[3] for level in levels] == list(strides)
