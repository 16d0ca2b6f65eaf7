import torch

from deeprob.models.segmentation.fpn import FPNSegmenter

TINY = {"widths": [4, 6, 8], "blocks": [1, 1, 1], "strides": [4, 8, 16], "width": 5, "head_width": 4}


def test_both_backends_share_weights_outputs_and_gradients(compare, images):
    compare(FPNSegmenter(3, **TINY), FPNSegmenter(3, **TINY, backend="torch"), images(24))


def test_every_level_goes_up_one_size_at_a_time():
    model = FPNSegmenter(3, **TINY)
    assert [len(convs) for convs in model.scales] == [1, 1, 2]
    assert model(torch.randn(1, 3, 37, 50)).shape == (1, 3, 37, 50)
