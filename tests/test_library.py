"""What a notebook does with a trained run."""

import shutil

import cv2
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
    frames = list(loaded.data.source.frames("val"))
    boxes = [[i.box_xyxy for i in frame.instances] for frame in frames]
    found = list(loaded.predict_all([frame.image for frame in frames], boxes))
    probabilities = np.stack([one.probabilities for said in found for one in said])
    batch = next(iter(loaded.data.loader("val")))
    with torch.inference_mode():
        expected = loaded.task.predict(loaded.model, batch)
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)  # norms are folded for predictions
    assert len(val) == len(expected)
    (alone,) = loaded.predict(frames[0].image, boxes[0])
    np.testing.assert_allclose(alone.probabilities, expected[0], atol=1e-6)
    assert alone.class_id == expected[0].argmax()
    (whole,) = loaded.predict(frames[0].image)
    assert whole.box_xyxy.tolist() == [-0.5, -0.5, 39.5, 39.5]


def test_a_run_predicts_where_its_data_are_gone(squares_config, squares, tmp_path):
    from deeprob.runs import Run
    from deeprob.training.run import train_run

    folder = tmp_path / "runs" / "squares" / "a"
    folder.mkdir(parents=True)
    train_run(squares_config("trainer.max_epochs=1"), Run(folder), [])
    image = cv2.imread(str(next(squares.glob("val/*.png"))))
    before = deeprob.load(folder).predict(image)
    shutil.rmtree(squares)
    loaded = deeprob.load(folder)
    np.testing.assert_array_equal(loaded.predict(image)[0].probabilities, before[0].probabilities)
    with pytest.raises(InputError, match="squares"):
        loaded.data.split("val")


@pytest.mark.parametrize("image", [np.zeros((4, 4)), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_image_is_one_line(run_of, image):
    with pytest.raises(InputError, match=r"expected uint8 \(H, W, 3\)"):
        deeprob.load(run_of("detection").path).predict(image)


def test_predictions_are_scored_from_python(run_of):
    run = deeprob.load(run_of("detection").path)
    frames = list(run.data.source.frames("val"))
    scores = run.evaluate(frames, run.predict_all(frame.image for frame in frames))
    metrics = run.run.read_results()["metrics"]
    assert (
        dict(zip(scores.names, scores.value.tolist(), strict=True))["mean_ap"] == metrics["mean_ap"]["value"]
    )


def test_a_folder_that_is_no_run_is_one_line(tmp_path):
    with pytest.raises(InputError, match="no such run folder"):
        deeprob.load(tmp_path / "nothing")
