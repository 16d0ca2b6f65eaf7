import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from deeprob.errors import InputError
from deeprob.tasks.classification.baselines import LINEAR_PENALTY, predict


def images_and_labels(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 4, 4, 3), generator=generator, dtype=torch.uint8)
    return images, (images[:, 0, 0, 0] // 64).long()


def test_majority_predicts_the_frequencies_of_the_training_set():
    images, _ = images_and_labels(4, 0)
    found = predict("majority", images, torch.tensor([1, 1, 0, 1]), images[:2], num_classes=3)
    np.testing.assert_allclose(found, [[0.25, 0.75, 0], [0.25, 0.75, 0]])


def test_knn_votes_equal_scikit_learn():
    images, labels = images_and_labels(200, 1)
    queries, _ = images_and_labels(50, 2)
    reference = KNeighborsClassifier(5, algorithm="brute").fit(images.flatten(1).double(), labels)
    found = predict("knn", images, labels, queries, num_classes=4)
    np.testing.assert_allclose(found, reference.predict_proba(queries.flatten(1).double()))


def test_knn_with_fewer_samples_than_neighbours_asks_them_all():
    images, _ = images_and_labels(3, 3)
    found = predict("knn", images, torch.tensor([0, 1, 1]), images[:1], num_classes=2)
    np.testing.assert_allclose(found, [[1 / 3, 2 / 3]])


def test_linear_equals_scikit_learns_regression():
    images, labels = images_and_labels(300, 6)
    queries, _ = images_and_labels(60, 7)
    scaler = StandardScaler().fit(images.flatten(1).double())
    reference = LogisticRegression(C=1 / (LINEAR_PENALTY * 300), tol=1e-8, max_iter=5000)
    reference.fit(scaler.transform(images.flatten(1).double()), labels)
    expected = reference.predict_proba(scaler.transform(queries.flatten(1).double()))
    found = predict("linear", images, labels, queries, num_classes=4)
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_linear_takes_pixels_that_never_change_and_classes_that_never_occur():
    images = torch.zeros(8, 2, 2, 3, dtype=torch.uint8)
    images[4:, 0, 0] = 200
    labels = torch.tensor([0] * 4 + [2] * 4)
    found = predict("linear", images, labels, images[[0, 7]], num_classes=3)
    assert found.argmax(axis=1).tolist() == [0, 2]
    assert np.isfinite(found).all()


def test_an_unknown_baseline_is_named_with_those_there_are():
    images, labels = images_and_labels(3, 4)
    with pytest.raises(InputError, match="no baseline named 'oracle'; expected majority, knn, linear"):
        predict("oracle", images, labels, images, num_classes=4)


def test_an_empty_training_split_is_named():
    images, labels = images_and_labels(0, 5)
    with pytest.raises(InputError, match="baseline knn: the training split is empty"):
        predict("knn", images, labels, images, num_classes=4)
