import torch

from deeprob.training.totals import Totals


class TwoProcesses:
    """Stands in for Lightning's strategy: another process has as much again, and one sample more."""

    def reduce(self, sums, reduce_op):
        assert reduce_op == "sum"
        return 2 * sums + torch.tensor([3.0, 0.0, 1.0], dtype=sums.dtype)


class OneProcess:
    def reduce(self, sums, reduce_op):
        return sums


def test_means_are_over_samples_not_over_batches():
    totals = Totals()
    totals.add(torch.tensor(1.0), torch.tensor(2), 4)
    totals.add(torch.tensor(4.0), torch.tensor(1), 1)
    loss, accuracy = totals.means(OneProcess())
    torch.testing.assert_close(loss, torch.tensor((4 * 1.0 + 4.0) / 5))
    torch.testing.assert_close(accuracy, torch.tensor(3 / 5))


def test_processes_add_their_sums():
    totals = Totals()
    totals.add(torch.tensor(1.0), torch.tensor(2), 4)
    loss, accuracy = totals.means(TwoProcesses())
    torch.testing.assert_close(loss, torch.tensor((2 * 4 + 3) / 9))
    torch.testing.assert_close(accuracy, torch.tensor(4 / 9))
    assert totals.sums[2] == 4


def test_sums_stay_exact_over_many_batches():
    totals = Totals()
    for _ in range(1000):
        totals.add(torch.tensor(0.1), torch.tensor(1), 3)
    loss, _ = totals.means(OneProcess())
    assert loss == torch.tensor(0.1)


def test_a_new_epoch_starts_from_nothing():
    totals = Totals()
    totals.add(torch.tensor(9.0), torch.tensor(0), 2)
    totals.reset()
    assert totals.merged(OneProcess()) is None
    totals.add(torch.tensor(1.0), torch.tensor(2), 2)
    assert totals.means(OneProcess())[0] == 1.0
