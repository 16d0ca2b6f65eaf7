import pytest
import torch

from deeprob.graphs.flow import Flow, flow_of, words


def test_dead_units_are_zero_for_the_whole_batch():
    y = torch.zeros(4, 5, 3, 3)
    y[2, 1, 0, 0] = 1.0
    y[:, 4] = 1.0
    assert flow_of(y, "ReLU").dead == pytest.approx(3 / 5)
    assert flow_of(torch.tensor([[0.0, 1], [0, 0]]), "relu").dead == pytest.approx(0.5)
    assert flow_of(y, "Conv2d").dead is None


def test_saturated_entries_lie_at_a_limit():
    assert flow_of(torch.tensor([0.001, 0.5, 0.999, 0.9]), "Sigmoid").saturated == pytest.approx(0.5)
    assert flow_of(torch.tensor([-0.999, 0.0, 0.999, 0.001]), "tanh").saturated == pytest.approx(0.5)


def test_the_norm_is_euclidean_in_every_precision():
    assert flow_of(torch.tensor([3.0, 4.0]).half(), "Linear").norm == pytest.approx(5)
    assert flow_of(torch.full((10000,), 300.0).half(), "Linear").norm == pytest.approx(30000)


@pytest.mark.parametrize(
    ("flow", "gradient", "at_output", "told"),
    [
        (Flow(1.0), 1.0, 1.0, []),
        (Flow(1.0), 1e-6, 1.0, ["vanishing gradient: 1e-06 of that at the output"]),
        (Flow(1.0), 1e6, 1.0, ["exploding gradient: 1e+06 times that at the output"]),
        (Flow(1.0), 0.0, 1.0, ["no gradient reaches it"]),
        (Flow(1.0), float("nan"), 1.0, ["gradient is not finite"]),
        (Flow(float("inf")), None, None, ["activation is not finite"]),
        (Flow(1.0, dead=0.75), 1.0, 1.0, ["dead: 75 % of its units are zero for the whole batch"]),
        (Flow(1.0, dead=0.25), 1.0, 1.0, []),
        (Flow(1.0, saturated=0.9), 1.0, 1.0, ["saturated: 90 % of its entries lie at a limit"]),
        (None, 0.0, 0.0, []),
    ],
)
def test_what_is_wrong_is_said_in_words(flow, gradient, at_output, told):
    assert words(flow, gradient, at_output) == told
