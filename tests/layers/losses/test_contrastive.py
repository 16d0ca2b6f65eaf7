import math

import pytest
import torch

from deeprob.layers import NTXentLoss, nt_xent_loss, vicreg_covariance, vicreg_variance


def test_views_that_all_look_alike_are_guessed_by_chance():
    z = torch.ones(4, 3)
    assert nt_xent_loss(z, z).item() == pytest.approx(math.log(7))


def test_perfect_partners_at_a_low_temperature_cost_nothing():
    z = torch.eye(4)
    assert NTXentLoss(temperature=0.02)(z, 3 * z).item() == pytest.approx(0, abs=1e-6)


def test_the_length_of_an_embedding_does_not_matter():
    z1, z2 = torch.randn(5, 3).double().requires_grad_(), torch.randn(5, 3).double()
    torch.testing.assert_close(nt_xent_loss(z1, z2), nt_xent_loss(10 * z1, 0.1 * z2))
    (dz,) = torch.autograd.grad(nt_xent_loss(z1, z2), z1)
    torch.testing.assert_close((dz * z1).sum(1), torch.zeros(5).double())


def test_variance_asks_for_a_deviation_of_one():
    z = torch.tensor([[1.0, 0.0], [-1.0, 0.0]]) * math.sqrt(0.5)  # deviations 1 and 0
    assert vicreg_variance(z).item() == pytest.approx(0.5 * (1 - math.sqrt(1e-4)), abs=1e-4)
    assert vicreg_variance(2 * torch.tensor([[1.0, 1.0], [-1.0, -1.0]])).item() == 0


def test_covariance_of_independent_dimensions_is_zero():
    z = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    assert vicreg_covariance(z).item() == pytest.approx(0, abs=1e-6)


def test_covariance_of_a_repeated_dimension():
    z = torch.tensor([[1.0, 1.0], [-1.0, -1.0], [0.0, 0.0]])  # both variances and the covariance are 1
    assert vicreg_covariance(z).item() == pytest.approx((1 + 1) / 2)


@pytest.mark.parametrize("loss", [vicreg_variance, vicreg_covariance])
def test_one_sample_has_no_variance(loss):
    with pytest.raises(ValueError, match=r"N of at least 2, got \(1, 4\)"):
        loss(torch.zeros(1, 4))
