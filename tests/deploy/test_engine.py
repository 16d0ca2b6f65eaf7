"""A network run by onnxruntime predicts as before."""

import numpy as np
import pytest

import deeprob
from deeprob.deploy.engine import with_engine
from deeprob.deploy.trained import TrainedRun
from deeprob.errors import InputError

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'deeprob[export]'")


@pytest.mark.slow
def test_a_detector_finds_the_same_boxes(run_of, tmp_path):
    run = deeprob.load(run_of("detection").path)
    fast = TrainedRun(run.run, with_engine(run.experiment, "onnxruntime", tmp_path))
    frames = list(run.data.source.frames("val"))[:6]
    pairs = zip(*(each.predict_all(f.image for f in frames) for each in (run, fast)), strict=True)
    for a, b in pairs:
        assert [box.class_id for box in a] == [box.class_id for box in b]
        np.testing.assert_allclose([x.box_xyxy for x in a], [x.box_xyxy for x in b], atol=1e-3)
        np.testing.assert_allclose([x.score for x in a], [x.score for x in b], atol=1e-5)
    (kept,) = tmp_path.glob("network-*.onnx")
    stamp = kept.stat().st_mtime_ns
    with_engine(run.experiment, "onnxruntime", tmp_path)
    assert kept.stat().st_mtime_ns == stamp
    whole = kept.read_bytes()
    kept.write_bytes(whole[:1000])  # what is damaged is made again; what can be kept nowhere, each time
    with_engine(run.experiment, "onnxruntime", tmp_path)
    assert kept.read_bytes() == whole
    (tmp_path / "file").write_text("")
    with_engine(run.experiment, "onnxruntime", tmp_path / "file")


def test_an_engine_that_is_not_known_is_one_line(run_of, tmp_path):
    run = deeprob.load(run_of("detection").path)
    with pytest.raises(InputError, match="engine=tensorrt; expected torch or onnxruntime"):
        with_engine(run.experiment, "tensorrt", tmp_path)
