"""The example that finds a camera which was moved."""

from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples" / "renderer"


@pytest.fixture
def calibration(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import calibration

    return calibration


def test_a_camera_that_was_moved_is_found_to_1_mm_and_a_tenth_of_a_degree(calibration):
    T = calibration.moved(calibration.camera(), np.random.default_rng(1))
    before, after = calibration.calibrated(calibration.table(), T)
    assert before == pytest.approx((20, 3))
    assert after[0] < 1
    assert after[1] < 0.1
