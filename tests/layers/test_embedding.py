import pytest
import torch

from deeprob.layers import Embedding, embedding


def test_rows_read_twice_collect_twice():
    weight = torch.zeros(3, 2, requires_grad=True)
    (dweight,) = torch.autograd.grad(embedding(torch.tensor([2, 0, 2]), weight).sum(), weight)
    assert dweight.tolist() == [[1, 1], [0, 0], [2, 2]]


def test_the_padding_row_starts_at_zero_and_stays():
    table = Embedding(4, 3, padding_idx=-1)
    assert table.weight[3].tolist() == [0, 0, 0]
    table(torch.tensor([3, 1])).sum().backward()
    assert table.weight.grad[3].tolist() == [0, 0, 0]
    assert table.weight.grad[1].tolist() == [1, 1, 1]


@pytest.mark.parametrize("index", [-1, 3])
def test_an_index_outside_the_table_is_named(index):
    with pytest.raises(
        ValueError, match=rf"embedding: expected indices in \[0, 3\), got {min(index, 1)} to {max(index, 1)}"
    ):
        embedding(torch.tensor([1, index]), torch.zeros(3, 2))
