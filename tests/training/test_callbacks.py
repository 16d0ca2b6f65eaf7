from types import SimpleNamespace

import torch

from deeprob.training.callbacks import RandomState


def test_each_process_goes_on_from_its_own_random_state():
    states = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        states.append(torch.get_rng_state())
    for rank, seed in enumerate((1, 2)):
        callback = RandomState()
        callback.load_state_dict({"cpu": torch.stack(states)})
        callback.on_train_start(SimpleNamespace(global_rank=rank, world_size=2), None)
        drawn = torch.rand(3)
        torch.manual_seed(seed)
        assert torch.equal(drawn, torch.rand(3))


def test_a_process_more_than_before_draws_numbers_of_its_own():
    torch.manual_seed(1)
    callback = RandomState()
    callback.load_state_dict({"cpu": torch.get_rng_state()[None]})
    callback.on_train_start(SimpleNamespace(global_rank=1, world_size=2), None)
    drawn = torch.rand(3)
    torch.manual_seed(1)
    assert not torch.equal(drawn, torch.rand(3))
