"""k-NN as a model: it remembers, chooses k over whole groups, and comes back from its state dict."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from sklearn.model_selection import PredefinedSplit, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from deeprob.data.batches.divide import assign_folds
from deeprob.errors import InputError
from deeprob.models.knn_classifier import KNNClassifier, cross_validate


class Batch(NamedTuple):
    images: torch.Tensor
    labels: torch.Tensor


def samples(count, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (count,), generator=generator)
    images = torch.randn(count, 3, 4, 4, generator=generator) + labels[:, None, None, None]
    return images, labels


def batches(images, labels):
    return [Batch(*part) for part in zip(images.split(16), labels.split(16), strict=True)]


def fitted(**arguments):
    images, labels = samples(90, 0)
    model = KNNClassifier(3, image_size=4, **arguments)
    model.fit(batches(images, labels), torch.arange(90) // 9)
    return model


def test_its_predictions_are_scikit_learns():
    (x, y), (q, _) = samples(90, 0), samples(40, 1)
    reference = KNeighborsClassifier(7, algorithm="brute").fit(x.flatten(1).numpy(), y.numpy())
    logits = fitted(k=7)(q)
    np.testing.assert_array_equal(logits.argmax(1), reference.predict(q.flatten(1).numpy()))


def test_its_softmax_is_laplaces_rule():
    (x, y), (q, _) = samples(90, 0), samples(5, 1)
    shares = KNeighborsClassifier(4, algorithm="brute").fit(x.flatten(1).numpy(), y.numpy())
    votes = 4 * torch.from_numpy(shares.predict_proba(q.flatten(1).numpy()))
    torch.testing.assert_close(fitted(k=4)(q).softmax(1), ((votes + 1 / 3) / 5).float())


def test_it_comes_back_from_its_state_dict():
    q, _ = samples(20, 1)
    model = fitted(k=None, candidates=(1, 5), metric="l1")
    again = KNNClassifier(3, image_size=4, k=None, candidates=(1, 5), metric="l1")
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(q), model(q))


def test_before_fitting_it_says_so():
    with pytest.raises(InputError, match="remembers nothing yet; train it first"):
        KNNClassifier(3, image_size=4)(torch.zeros(1, 3, 4, 4))


def test_cross_validation_equals_scikit_learns_on_the_same_folds():
    x, y = samples(90, 0)
    groups = torch.arange(90) // 9
    found = cross_validate(x.flatten(1), y, groups, [1, 4, 9], num_folds=5, seed=2)
    folds = PredefinedSplit(assign_folds(groups, 5, 2).numpy())
    for k, accuracy in zip([1, 4, 9], found.accuracy, strict=True):
        model = KNeighborsClassifier(k, algorithm="brute")
        expected = cross_val_score(model, x.flatten(1).numpy(), y.numpy(), cv=folds)
        np.testing.assert_allclose(accuracy, expected, atol=1e-12)
    np.testing.assert_allclose(found.mean, found.accuracy.numpy().mean(1))
    np.testing.assert_allclose(found.spread, found.accuracy.numpy().std(1, ddof=1))
    assert found.best == [1, 4, 9][int(found.mean.argmax())]


def test_k_is_the_one_of_the_best_mean():
    model = fitted(k=None, candidates=(1, 7, 21))
    assert int(model.chosen_k) == model.cross_validation.best
    assert fitted(k=3).cross_validation is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"k": 0}, "k=0; expected at least 1"),
        ({"k": 91}, "k=91; expected 1 to 90"),
        ({"metric": "l7"}, "unknown metric"),
        ({"memory_mib": 0}, "memory_mib=0"),
        ({"features": "sift"}, "no features named 'sift'; expected pixels, histogram, hog"),
        ({"k": None, "folds": 11}, "11 folds of 10 groups"),
        ({"k": None, "candidates": ()}, "candidates are"),
    ],
)
def test_wrong_arguments_say_what_was_expected(arguments, said):
    with pytest.raises(InputError, match=said):
        fitted(**arguments)
