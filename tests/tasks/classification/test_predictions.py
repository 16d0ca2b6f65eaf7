import numpy as np
import pytest

from deeprob.errors import InputError
from deeprob.runs import Run
from deeprob.tasks.classification.predictions import (
    NUM_RIGHT,
    NUM_WRONG,
    THUMBNAIL_PIXELS,
    Predictions,
    most_telling,
    thumbnails,
)


def make_predictions() -> Predictions:
    return Predictions(
        np.array([[0.7, 0.3], [0.1, 0.9]]),
        np.array([0, 1]),
        np.array([0, 1]),
        ["first", "second"],
        ("a", "b"),
        {"majority": np.array([[0.5, 0.5], [0.5, 0.5]])},
        np.zeros((1, 2, 2, 3), np.uint8),
        np.array([1]),
    )


def test_predictions_come_back_as_saved(tmp_path):
    run = Run(tmp_path)
    make_predictions().save(run.path / "predictions_test.npz")
    loaded = Predictions.load(run.path / "predictions_test.npz")
    np.testing.assert_array_equal(loaded.probabilities, make_predictions().probabilities)
    np.testing.assert_array_equal(loaded.baselines["majority"], make_predictions().baselines["majority"])
    assert (loaded.keys, loaded.classes) == (["first", "second"], ["a", "b"])
    assert loaded.predicted.tolist() == [0, 1]


def test_a_missing_file_names_the_command_that_makes_it(tmp_path):
    with pytest.raises(InputError, match=r"no predictions of this split.*deeprob evaluate run="):
        Predictions.load(tmp_path / "predictions_val.npz")


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut off"])
def test_a_broken_file_is_one_line(tmp_path, content):
    (tmp_path / "predictions_test.npz").write_bytes(content)
    with pytest.raises(InputError, match="broken predictions"):
        Predictions.load(tmp_path / "predictions_test.npz")


def test_pickled_objects_are_refused(tmp_path):
    np.savez(tmp_path / "predictions_test.npz", logits=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match="broken predictions"):
        Predictions.load(tmp_path / "predictions_test.npz")


def test_an_incomplete_file_is_named(tmp_path):
    np.savez(tmp_path / "predictions_test.npz", logits=np.zeros((1, 2)), keys=[])
    with pytest.raises(InputError, match="incomplete predictions"):
        Predictions.load(tmp_path / "predictions_test.npz")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("probabilities", np.zeros((2, 3))),
        ("probabilities", np.array("x")),
        ("labels", np.array([0, 2])),
        ("labels", np.array([0.0, 1.0])),
        ("units", np.zeros(3, np.int64)),
        ("keys", np.array("a")),
        ("classes", np.array(["a"])),
        ("thumbnails", np.zeros((1, 2, 2, 3))),
        ("thumbnails", np.zeros((2, 2, 2, 3), np.uint8)),
        ("shown", np.array([2])),
        ("templates", np.array(5)),
        ("attributes", np.zeros((1, 3), np.float32)),
        ("baseline_majority", np.zeros((1, 2))),
    ],
)
def test_an_array_of_another_form_is_one_line(tmp_path, name, values):
    make_predictions().save(tmp_path / "predictions_test.npz")
    with np.load(tmp_path / "predictions_test.npz") as file:
        arrays = dict(file) | {name: values}
    np.savez(tmp_path / "predictions_test.npz", **arrays)
    with pytest.raises(
        InputError, match=r"predictions_test\.npz: .* of another form than the rest; run: deeprob"
    ):
        Predictions.load(tmp_path / "predictions_test.npz")


def test_wrong_samples_come_first_and_the_most_confident_of_them_first():
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.7, 0.3]])
    assert most_telling(probabilities, np.array([0, 0, 0, 0])).tolist() == [2, 1, 3, 0]


def test_no_more_samples_are_shown_than_a_page_holds():
    labels = np.arange(1000) % 2
    shown = most_telling(np.tile([0.6, 0.4], (1000, 1)), labels)
    assert len(shown) == NUM_WRONG + NUM_RIGHT
    assert (labels[shown[:NUM_WRONG]] == 1).all()


def test_large_images_shrink_and_keep_their_shape():
    assert thumbnails(np.zeros((2, 100, 400, 3), np.uint8)).shape == (2, 24, THUMBNAIL_PIXELS, 3)


def test_small_images_stay_as_they_are():
    images = np.random.default_rng(0).integers(256, size=(2, 8, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(thumbnails(images), images)
