import torch

from deeprob.tasks.base import Loss
from deeprob.training.totals import Totals


def loss_of(total, accuracy):
    return Loss(torch.tensor(total), {"accuracy": torch.tensor(accuracy)})


class TwoProcesses:
    """Stands in for Lightning's strategy: another process has as much again, and one sample more."""

    def reduce(self, sums, reduce_op):
        assert reduce_op == "sum"
        return 2 * sums + torch.tensor([3.0, 0.0, 1.0], dtype=sums.dtype)

    def all_gather(self, sums):
        return torch.stack((sums, sums + torch.tensor([3.0, 0.0, 1.0], dtype=sums.dtype)))


class OneProcess:
    def reduce(self, sums, reduce_op):
        return sums

    def all_gather(self, sums):
        return sums


def test_means_are_over_samples_not_over_batches():
    totals = Totals()
    totals.add(loss_of(1.0, 2 / 4), 4)
    totals.add(loss_of(4.0, 1 / 1), 1)
    loss, terms = totals.means(OneProcess())
    torch.testing.assert_close(loss, torch.tensor((4 * 1.0 + 4.0) / 5))
    torch.testing.assert_close(terms["accuracy"], torch.tensor(3 / 5))


def test_processes_add_their_sums():
    totals = Totals()
    totals.add(loss_of(1.0, 2 / 4), 4)
    loss, terms = totals.means(TwoProcesses())
    torch.testing.assert_close(loss, torch.tensor((2 * 4 + 3) / 9))
    torch.testing.assert_close(terms["accuracy"], torch.tensor(4 / 9))
    assert totals.sums[2] == 4


def test_sums_stay_exact_over_many_batches():
    totals = Totals()
    for _ in range(1000):
        totals.add(loss_of(0.1, 1 / 3), 3)
    loss, _ = totals.means(OneProcess())
    assert loss == torch.tensor(0.1)


def test_a_new_epoch_starts_from_nothing():
    totals = Totals()
    totals.add(loss_of(9.0, 0 / 2), 2)
    totals.reset()
    assert totals.gathered(OneProcess()) is None
    totals.add(loss_of(1.0, 2 / 2), 2)
    assert totals.means(OneProcess())[0] == 1.0


def test_each_process_goes_on_from_its_own_sums():
    totals = Totals()
    totals.add(loss_of(0.1, 2 / 3), 3)
    rows = totals.gathered(TwoProcesses())
    restored = [Totals(), Totals()]
    for rank, other in enumerate(restored):
        other.restore(rows, rank, processes=2)
    assert torch.equal(restored[0].sums, totals.sums)
    torch.testing.assert_close(restored[1].sums, totals.sums + torch.tensor([3.0, 0.0, 1.0]).double())
    restored[0].add(loss_of(0.2, 1 / 1), 1)
    totals.add(loss_of(0.2, 1 / 1), 1)
    assert torch.equal(restored[0].sums, totals.sums)


def test_another_number_of_processes_goes_on_from_the_sums_of_all():
    totals = Totals()
    totals.add(loss_of(1.0, 2 / 4), 4)
    rows = totals.gathered(TwoProcesses())
    restored = [Totals() for _ in range(3)]
    for rank, other in enumerate(restored):
        other.restore(rows, rank, processes=3)
    assert restored[0].sums.tolist() == [11.0, 4.0, 9.0]
    assert all(not other.sums.any() for other in restored[1:])


def test_one_process_goes_on_and_a_run_without_sums_starts_from_nothing():
    totals, other = Totals(), Totals()
    totals.add(loss_of(1.0, 2 / 4), 4)
    other.restore(totals.gathered(OneProcess()), 0, processes=1)
    assert torch.equal(other.sums, totals.sums)
    other.restore(None, 0, processes=1)
    assert other.sums is None
