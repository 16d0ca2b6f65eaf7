"""What a notebook does with a trained run."""

import numpy as np
import pytest
import torch

import deeprob
from deeprob.errors import InputError


def test_a_trained_run_is_loaded_and_predicts(squares_config, tmp_path):
    from deeprob.runs import Run
    from deeprob.training.run import train_run

    folder = tmp_path / "runs" / "squares" / "a"
    folder.mkdir(parents=True)
    train_run(squares_config("trainer.max_epochs=1"), Run(folder), [])
    loaded = deeprob.load(folder)
    val = loaded.data.split("val")
    found = np.concatenate([rows for _, rows in loaded.predict(val, progress=False)])
    assert found.shape == (len(val), len(loaded.data.classes))
    batch = next(iter(loaded.data.loader("val")))
    with torch.inference_mode():
        np.testing.assert_array_equal(loaded.task.predict(loaded.model, batch), found[: len(batch.indices)])


def test_a_folder_that_is_no_run_is_one_line(tmp_path):
    with pytest.raises(InputError, match="no such run folder"):
        deeprob.load(tmp_path / "nothing")
