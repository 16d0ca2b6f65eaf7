"""A checkpoint with a damaged entry ends in one line that names it, not in Lightning's words."""

import copy

import pytest
import torch

from deeprob.errors import InputError
from deeprob.training.changes import NEW_RUN
from deeprob.training.run import train_run

LEFT_OUT = object()
DAMAGED = [
    ("loops", 5, "loops is 5; expected names with values"),
    ("loops", LEFT_OUT, "without loops"),
    ("loops", {}, "loops without fit_loop"),
    ("loops", {"fit_loop": {"epoch_progress": 5}}, "an entry is damaged"),
    ("lr_schedulers", [], r"lr_schedulers is \[\]; expected a list of 1"),  # would start the schedule anew
    ("lr_schedulers", [{}], r"lr_schedulers\[0\] without last_epoch"),
    ("lr_schedulers", [{"last_epoch": "many"}], r"last_epoch is 'many'; expected a whole number"),
    ("lr_schedulers", [{"last_epoch": 2}], "an entry is damaged"),
    ("optimizer_states", [], "expected a list of 1"),
    ("optimizer_states", [{"state": 5, "param_groups": []}], r"optimizer_states\[0\].state is 5"),
    ("callbacks", 5, "callbacks is 5"),
    ("callbacks", {"RandomState": {"cpu": 5}}, r"callbacks\.RandomState\.cpu is 5; expected a tensor"),
    ("pytorch-lightning_version", "many", "an entry is damaged"),
]


@pytest.fixture(scope="module")
def whole():
    """What a checkpoint of this module's training holds, once it is trained."""
    return {}


@pytest.mark.parametrize(("entry", "value", "said"), DAMAGED)
def test_a_damaged_entry_is_one_line(trained, new_run, squares_config, whole, entry, value, said):
    if not whole:
        run = trained("whole", "trainer.max_epochs=1")
        whole |= torch.load(run.checkpoint("last"), weights_only=True)
    run, content = new_run("damaged"), copy.copy(whole)
    content.pop(entry)
    run.checkpoints.mkdir()
    torch.save(content if value is LEFT_OUT else {**content, entry: value}, run.checkpoint("last"))
    with pytest.raises(InputError, match=said) as caught:
        train_run(squares_config("trainer.max_epochs=2"), run, [])
    assert str(caught.value).startswith(f"{run.checkpoint('last')}: ")
    assert str(caught.value).endswith(NEW_RUN)
    assert "\n" not in str(caught.value)
