import pytest
import torch

from deeprob.errors import InputError
from deeprob.graphs.jacobian import CASES, draw_pattern, form, measure_product


@pytest.mark.parametrize("name", CASES)
def test_the_formed_jacobian_gives_the_layers_backward(name):
    formed = form(name, 3, 5, 4)
    assert formed.error < 1e-12


@pytest.mark.parametrize("name", CASES)
def test_the_formed_jacobian_agrees_with_finite_differences(name):
    formed = form(name, 2, 3, 2, seed=1)
    case = CASES[name]
    generator = torch.Generator().manual_seed(1)
    inputs = {
        k: torch.randn(s, generator=generator, dtype=torch.float64) for k, s in case.shapes(2, 3, 2).items()
    }
    x, step = inputs["x"], 1e-6
    columns = []
    for e in torch.eye(x.numel()).double():
        sides = [case.call(*{**inputs, "x": x + s * step * e.reshape(x.shape)}.values()) for s in (1, -1)]
        columns.append(((sides[0] - sides[1]) / (2 * step)).flatten())
    torch.testing.assert_close(formed.matrix, torch.stack(columns, 1), rtol=1e-5, atol=1e-7)


def test_the_lectures_jacobian_takes_256_gib():
    product = measure_product("linear", 64, 4096, 4096)
    assert product.explicit_bytes["x"] == 256 * 2**30
    assert product.implicit_bytes < 200 * 2**20
    assert product.output_shape == (64, 4096)


def test_a_large_jacobian_is_not_formed():
    assert form("linear", 64, 64, 64) is None


def test_a_rectifiers_jacobian_is_diagonal():
    formed = form("relu", 2, 4, 1)
    assert formed.words.startswith("diagonal")
    assert set(formed.matrix.diag().tolist()) == {0.0, 1.0}


def test_a_linear_layers_jacobian_has_one_block_a_sample():
    formed = form("linear", 2, 3, 4)
    assert formed.nonzero == 0.5
    assert formed.words.startswith("sparse")
    assert form("softmax", 1, 4, 1).words == "dense"


def test_the_picture_has_a_cell_for_every_entry_that_is_not_zero():
    formed = form("relu", 2, 4, 1)
    picture = draw_pattern(formed, "relu")
    assert picture.count("fill-opacity") == int((formed.matrix != 0).sum())


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: measure_product("rleu", 2, 2, 2), "no layer 'rleu'; expected linear"),
        (lambda: measure_product("relu", 0, 2, 2), "expected positive numbers"),
        (lambda: measure_product("linear", 10**6, 10**6, 10**6), "too large; expected at most 8 GiB"),
        (lambda: draw_pattern(form("relu", 10, 10, 1), "relu"), "100 x 100 Jacobian is too large to draw"),
    ],
)
def test_bad_input_is_one_line(call, said):
    with pytest.raises(InputError, match=said):
        call()
