from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from deeprob.errors import InputError
from deeprob.sim.source import PyBulletSource
from deeprob.sim.stream import FrameStream

from .conftest import small


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("bank")


@pytest.fixture(scope="module")
def stream(folder):
    stream = FrameStream(small(), folder, "train")
    stream.prepare(workers=0, progress=False)
    return stream


def test_the_first_visit_is_the_picture_that_a_rendered_data_set_has(stream, tmp_path):
    rendered = PyBulletSource(small(), tmp_path, workers=0).frames("train")
    assert len(stream) == len(rendered)
    for a, b in zip(stream, rendered, strict=True):
        assert a.key == b.key
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_allclose(a.depth_m, b.depth_m, rtol=0, atol=5.1e-5)  # kept in 0.1 mm


def test_every_visit_is_another_look_at_the_same_scene(stream):
    first, second = stream.visit(1, 0), stream.visit(1, 1)
    assert first.group == second.group
    assert first.key != second.key
    assert (first.image != second.image).any()


def test_a_visit_is_the_same_whatever_was_rendered_before_and_in_any_thread(stream):
    visits = [(index, number) for number in range(3) for index in range(len(stream))]
    alone = [stream.visit(*visit).image for visit in visits]
    with ThreadPoolExecutor(2) as pool:
        shared = list(pool.map(lambda visit: stream.visit(*visit).image, reversed(visits)))
    for a, b in zip(alone, reversed(shared), strict=True):
        np.testing.assert_array_equal(a, b)


def test_streaming_writes_settled_scenes_and_no_picture(folder, tmp_path):
    source = PyBulletSource(small(), tmp_path, workers=0, fresh=True)
    source.prepare(progress=False, splits=("train",))
    source.visit("train", 0, 5)
    assert {path.relative_to(tmp_path).parts[0][:5] for path in tmp_path.rglob("*.npz")} == {"bank-"}


def test_only_our_own_renderer_streams(tmp_path):
    with pytest.raises(InputError, match="cannot render while training"):
        FrameStream(replace(small(), renderer="tiny"), tmp_path, "train")
