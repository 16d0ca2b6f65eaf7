"""Poses evaluated as the field does: on a real set against numbers of the public toolkit."""

import numpy as np
import pytest

from deeprob.data.predictions.files import read_predictions
from deeprob.data.readers.bop import BopSource
from deeprob.metrics.pose_matching import METRICS
from deeprob.tasks.pose.meter import PoseMeter


@pytest.mark.data
@pytest.mark.slow
def test_numbers_on_lmo_are_those_of_the_public_toolkit(data_dir):
    """ADD(-S) over 0.1 diameters, AR_MSSD and AR_MSPD, over the 737 listed targets."""
    targets = {"test": "test_targets_bop19.json"}
    source = BopSource(data_dir / "lmo", {"test": ["test/*"]}, targets)
    predicted = read_predictions(data_dir / "lmo" / "results_upenn_lmo-test.csv", source, "test")
    meter, frames = PoseMeter(source, "frame"), source.frames("test")
    for index in range(len(frames)):
        frame = frames[index]
        meter.add(index, frame, predicted.of(index, frame))
    scores = meter.scores()
    found = dict(zip(METRICS, scores.value, strict=True))
    assert scores.counts[0] == 737
    assert found["add_or_add_s_recall"] == pytest.approx(0.4315, abs=5e-5)
    assert found["average_recall_mssd"] == pytest.approx(0.5845, abs=5e-5)
    assert found["average_recall_mspd"] == pytest.approx(0.7967, abs=5e-5)
    assert np.isnan(found["average_recall_vsd"])  # there is no depth
