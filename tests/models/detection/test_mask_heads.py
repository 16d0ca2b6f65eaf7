import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from deeprob.models.detection.mask_heads import cut_masks, mask_loss


def test_a_cell_is_to_say_which_share_of_it_is_covered():
    """A mask of the columns 10 to 14; boxes that begin and end within pixels."""
    mask = torch.zeros(1, 20, 30, dtype=torch.bool)
    mask[:, :, 10:15] = True
    whole = cut_masks(mask, torch.tensor([[9.5, 2.5, 14.5, 7.5]]), 5)
    torch.testing.assert_close(whole, torch.ones(1, 5, 5))
    part = cut_masks(mask, torch.tensor([[7.5, 2.5, 17.5, 12.5]]), 2)
    torch.testing.assert_close(part[0, 0], torch.tensor([0.6, 0.4]))


def test_each_mask_is_cut_by_its_own_box():
    masks = torch.zeros(2, 16, 16, dtype=torch.bool)
    masks[1] = True
    boxes = torch.tensor([[1.5, 1.5, 9.5, 9.5]]).repeat(2, 1)
    assert cut_masks(masks, boxes, 4).mean((1, 2)).tolist() == [0, 1]


def test_the_loss_asks_for_the_plane_of_the_class_only():
    logits = torch.randn(3, 4, 2, 2, requires_grad=True)
    labels, wanted = torch.tensor([1, 3, 1]), torch.rand(3, 2, 2)
    loss = mask_loss(logits, labels, wanted)
    own = torch.stack([logits[0, 1], logits[1, 3], logits[2, 1]])
    torch.testing.assert_close(loss, binary_cross_entropy_with_logits(own, wanted))
    loss.backward()
    asked = torch.nn.functional.one_hot(labels, 4).bool()
    assert torch.equal(logits.grad.flatten(2).any(2), asked)
