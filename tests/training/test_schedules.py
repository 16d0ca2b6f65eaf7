import pytest
import torch

from deeprob.training.schedules import Constant, Cosine, OneCycle


def test_one_cycle_equals_torchs():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=101, pct_start=0.3, div_factor=25, final_div_factor=4e2
    )
    # torch puts the peak at step pct_start * total - 1; the same progress of ours is that step over 100
    ours = OneCycle(peak=(0.3 * 101 - 1) / 100, start=1 / 25, final=1 / 25 / 4e2)
    for step in range(101):
        assert ours(step / 100) == pytest.approx(reference.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        if step < 100:
            reference.step()


def test_cosine_without_warm_up_equals_torchs():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50, eta_min=0.1)
    ours = Cosine(warmup=0.0, final=0.1)
    for step in range(51):
        assert ours(step / 50) == pytest.approx(reference.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        reference.step()


@pytest.mark.parametrize(
    "schedule", [Constant(), Cosine(), OneCycle(), OneCycle(peak=0.0), OneCycle(peak=1.0)]
)
def test_factors_stay_between_zero_and_one(schedule):
    assert all(0.0 <= schedule(step / 1000) <= 1.0 for step in range(1001))


def test_warm_up_rises_from_zero():
    schedule = Cosine(warmup=0.1)
    assert schedule(0.0) == 0.0
    assert schedule(0.05) == pytest.approx(0.5)
    assert schedule(0.1) == pytest.approx(1.0)
