import torch

from deeprob.models.detection.heads import LevelHead, own_heads, rows


def test_rows_go_level_by_level_and_each_row_by_row():
    maps = [torch.arange(8.0).reshape(1, 2, 2, 2), torch.tensor([[[[8.0]], [[9.0]]]])]
    assert rows(maps).tolist() == [[[0, 4], [1, 5], [2, 6], [3, 7], [8, 9]]]


def test_depth_is_the_number_of_convolutions_in_each_tower():
    head = LevelHead(3, 8, 2, "batch")
    for tower in (head.classification_head.conv, head.regression_head.conv):
        assert sum(type(m).__name__ == "Conv2d" for m in tower) == 2


def test_a_separable_tower_has_fewer_weights():
    counts = [sum(p.numel() for p in LevelHead(3, 32, 2, separable=s).parameters()) for s in (False, True)]
    assert counts[0] - counts[1] == 4 * (32 * 32 * 9 - 32 * 32 - 32 * 9)


def test_every_level_may_have_its_own_head():
    own = own_heads(3, num_classes=3, width=8, depth=1)
    assert len(own) == 3
    assert own[0].classification_head.cls_logits is not own[1].classification_head.cls_logits


def test_a_distribution_has_a_logit_a_bin_and_one_for_nothing():
    _, distances, _ = LevelHead(3, 8, 1, bins=4)(torch.zeros(1, 8, 2, 2))
    assert distances.shape == (1, 4 * 5, 2, 2)
