"""Each of several runs in one process tells its own peak."""

import sys

import numpy as np
import pytest

from deeprob.training.memory import FORGET, forget_peak, peak_memory

MIB = 2**20


@pytest.mark.skipif(sys.platform != "linux" or not FORGET.exists(), reason="needs Linux's /proc")
def test_the_peak_is_that_since_it_was_forgotten():
    forget_peak()
    before = peak_memory()
    held = np.ones(300 * MIB, np.uint8)
    high = peak_memory()
    assert 290 * MIB < high - before < 400 * MIB
    del held
    assert abs(peak_memory() - high) < 8 * MIB  # the kernel counts on each core, and adds up now and then
    forget_peak()
    assert peak_memory() < high - 250 * MIB
