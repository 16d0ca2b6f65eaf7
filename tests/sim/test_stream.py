import numpy as np
import pytest
from torch.utils.data import DataLoader

from deeprob.errors import InputError
from deeprob.sim.bank import SceneBank
from deeprob.sim.stream import SimulatedStream

from .conftest import small


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    bank = SceneBank(small(), tmp_path_factory.mktemp("bank"))
    bank.prepare("train", 3, workers=0, progress=False)
    return bank


def test_a_stream_goes_on_in_the_middle_as_if_it_had_never_stopped(bank):
    whole = list(SimulatedStream(bank, "train", scenes=3, length=8))
    rest = list(SimulatedStream(bank, "train", scenes=3, length=3, start=5))
    assert [frame.key for frame in whole[5:]] == [frame.key for frame in rest]
    for a, b in zip(whole[5:], rest, strict=True):
        np.testing.assert_array_equal(a.image, b.image)


def test_every_visit_of_a_scene_is_another_look(bank):
    frames = list(SimulatedStream(bank, "train", scenes=3, length=6))
    assert [frame.key for frame in frames] == [f"train/{k % 3:06d}/{k // 3}" for k in range(6)]
    assert (frames[0].image != frames[3].image).any()


@pytest.mark.slow
def test_workers_share_the_frames_without_a_gap_or_a_double(bank):
    stream = SimulatedStream(bank, "train", scenes=3, length=7)
    loader = DataLoader(stream, batch_size=None, num_workers=2, multiprocessing_context="spawn")
    alone = {frame.key: frame.image for frame in stream}
    shared = {frame.key: frame.image for frame in loader}
    assert alone.keys() == shared.keys()
    for key, image in alone.items():
        np.testing.assert_array_equal(image, shared[key])


def test_an_empty_stream_is_refused(bank):
    with pytest.raises(InputError, match="a stream of 0 scenes"):
        SimulatedStream(bank, "train", scenes=0, length=1)
