import pytest
import torch

from deeprob.errors import InputError
from deeprob.training.objectives import CrossEntropy, Hinge


@pytest.mark.parametrize("objective", [CrossEntropy(), Hinge()])
def test_boxes_in_place_of_classes_are_one_line(objective) -> None:
    with pytest.raises(InputError, match=r"several boxes a frame; choose data/view=classification"):
        objective(torch.nn.Identity(), torch.zeros(2, 3), [torch.zeros(1), torch.zeros(4)])
