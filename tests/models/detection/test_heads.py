import torch

from deeprob.models.detection.heads import LevelHead, make_heads, rows


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


def test_levels_share_one_head_or_have_their_own():
    assert isinstance(make_heads(None, 3, 8, 1), LevelHead)
    own = make_heads(3, 3, 8, 1)
    assert len(own) == 3
    assert own[0].classification_head.cls_logits is not own[1].classification_head.cls_logits
