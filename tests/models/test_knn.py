"""k-nearest neighbours against scikit-learn and against the definition, ties and rounding included."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from deeprob.errors import InputError
from deeprob.models.knn import KNearestNeighbours, distances_of


def random_images(count: int, seed: int, size: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, size, size, 3), generator=generator, dtype=torch.uint8)


def by_definition(x: np.ndarray, q: np.ndarray, k: int, metric: str) -> tuple[np.ndarray, np.ndarray]:
    x, q = x.reshape(len(x), -1).astype(np.float64), q.reshape(len(q), -1).astype(np.float64)
    if metric == "cosine":
        distances = 1 - (q @ x.T) / np.outer(np.linalg.norm(q, axis=1), np.linalg.norm(x, axis=1))
    else:
        difference = np.abs(q[:, None] - x[None])
        distances = difference.sum(-1) if metric == "l1" else np.sqrt((difference**2).sum(-1))
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, order, 1), order


@pytest.mark.parametrize("metric", ["l2", "l1", "cosine"])
def test_neighbours_equal_the_definition(metric):
    x, q = random_images(80, 0), random_images(30, 1)
    model = KNearestNeighbours(x, torch.zeros(80, dtype=torch.long), k=7, metric=metric)
    distances, indices = model.neighbours(q)
    expected_distances, expected_indices = by_definition(x.numpy(), q.numpy(), 7, metric)
    np.testing.assert_array_equal(indices, expected_indices)
    np.testing.assert_allclose(distances, expected_distances, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("metric", "name"), [("l2", "euclidean"), ("l1", "manhattan"), ("cosine", "cosine")])
def test_neighbours_equal_scikit_learn(metric, name):
    x, q = random_images(300, 2), random_images(50, 3)
    reference = NearestNeighbors(n_neighbors=5, algorithm="brute", metric=name)
    reference.fit(x.flatten(1).double().numpy())
    expected_distances, expected_indices = reference.kneighbors(q.flatten(1).double().numpy())
    distances, indices = KNearestNeighbours(x, torch.zeros(300).long(), k=5, metric=metric).neighbours(q)
    np.testing.assert_array_equal(indices, expected_indices)
    np.testing.assert_allclose(distances, expected_distances, rtol=1e-9)


@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_predictions_equal_scikit_learns(weights):
    generator = torch.Generator().manual_seed(8)
    x, q = torch.randn(300, 6, generator=generator), torch.randn(80, 6, generator=generator)
    y = torch.randint(0, 4, (300,), generator=generator)
    reference = KNeighborsClassifier(7, weights=weights, algorithm="brute").fit(x.numpy(), y.numpy())
    model = KNearestNeighbours(x, y, k=7, weights=weights)
    np.testing.assert_array_equal(model.predict(q), reference.predict(q.numpy()))
    np.testing.assert_allclose(model.votes(q), reference.predict_proba(q.numpy()), atol=1e-6)


def test_a_neighbour_at_distance_zero_outvotes_all_others():
    x, y = torch.tensor([[0.0], [0.1], [0.2]]), torch.tensor([1, 0, 0])
    votes = KNearestNeighbours(x, y, k=3, weights="distance").votes(torch.tensor([[0.0]]))
    assert votes.tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize("metric", ["l2", "l1", "cosine"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_the_loops_equal_the_formula(metric, dtype):
    x, q = random_images(30, 9).flatten(1).to(dtype), random_images(7, 10).flatten(1).to(dtype)
    candidates = torch.arange(30).repeat(7, 1)
    model = KNearestNeighbours(x, torch.zeros(30).long(), metric=metric)
    torch.testing.assert_close(model._distances(q, candidates), distances_of(metric, q, x[candidates]))


@pytest.mark.parametrize("metric", ["l2", "l1", "cosine"])
def test_more_near_ties_than_were_proposed_are_all_considered(metric):
    # A hundred samples as near as float32 can tell, the nearest last.
    direction = torch.tensor([3.0, -4.0], dtype=torch.float64)
    turned = torch.tensor([4.0, 3.0], dtype=torch.float64)
    steps = torch.arange(100, 0, -1, dtype=torch.float64)[:, None]
    x = 100 * direction + (1e-4 * steps * turned if metric == "cosine" else 1e-7 * steps * direction)
    x = torch.cat([x, -x])
    q = direction[None] * 50
    _, indices = KNearestNeighbours(x, torch.zeros(200).long(), k=3, metric=metric).neighbours(q)
    assert indices.tolist() == [[99, 98, 97]]


def test_equal_distances_are_taken_in_training_order():
    x = torch.zeros(40, 4)
    _, indices = KNearestNeighbours(x, torch.zeros(40).long(), k=3).neighbours(torch.ones(2, 4))
    assert indices.tolist() == [[0, 1, 2], [0, 1, 2]]


def test_samples_that_float32_cannot_tell_apart_are_ordered_exactly():
    # Forty distances that differ by parts in 1e12, the nearest last: a float32 product sees one.
    steps = torch.arange(40, 0, -1, dtype=torch.float64) * 1e-9
    x = torch.stack([1000 + steps, torch.zeros(40, dtype=torch.float64)], 1)
    x = torch.cat([x, torch.full((1, 2), -5000.0, dtype=torch.float64)])
    _, indices = KNearestNeighbours(x, torch.zeros(41).long(), k=3).neighbours(torch.zeros(1, 2).double())
    assert indices.tolist() == [[39, 38, 37]]


def test_a_tied_vote_goes_to_the_smallest_class():
    x = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    model = KNearestNeighbours(x, torch.tensor([2, 1, 2, 1]), k=4)
    assert model.predict(torch.tensor([[0.0]])).tolist() == [1]


def test_votes_are_shares_of_the_neighbours():
    x = torch.tensor([[0.0], [1.0], [2.0], [50.0]])
    model = KNearestNeighbours(x, torch.tensor([0, 2, 2, 1]), k=3, num_classes=4)
    torch.testing.assert_close(
        model.votes(torch.tensor([[0.0]])), torch.tensor([[1, 0, 2, 0]]) / 3.0, check_dtype=False
    )


def test_the_memory_budget_changes_nothing_but_the_chunks():
    x, q, y = random_images(200, 4), random_images(60, 5), torch.arange(200) % 7
    tight = KNearestNeighbours(x, y, memory_budget=1).neighbours(q)
    loose = KNearestNeighbours(x, y).neighbours(q)
    assert torch.equal(tight[0], loose[0])
    assert torch.equal(tight[1], loose[1])


def test_a_lower_matmul_precision_outside_is_left_as_it_was():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        x, q = random_images(60, 6), random_images(10, 7)
        _, indices = KNearestNeighbours(x, torch.zeros(60).long(), k=5).neighbours(q)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    np.testing.assert_array_equal(indices, by_definition(x.numpy(), q.numpy(), 5, "l2")[1])


def test_a_zero_vector_is_at_cosine_distance_one():
    distances, _ = KNearestNeighbours(torch.eye(3), torch.arange(3), k=3, metric="cosine").neighbours(
        torch.zeros(1, 3)
    )
    assert distances.tolist() == [[1.0, 1.0, 1.0]]


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_directions_of_very_short_and_long_vectors_are_told_apart(scale):
    x = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]]) * scale
    model = KNearestNeighbours(x, torch.arange(3), k=1, metric="cosine")
    assert model.neighbours(torch.tensor([[0.7, 0.6], [0.1, 1.0]]) * scale)[1].tolist() == [[1], [2]]


def test_no_queries_give_no_neighbours():
    distances, indices = KNearestNeighbours(torch.eye(3), torch.arange(3), k=2).neighbours(torch.zeros(0, 3))
    assert distances.shape == indices.shape == (0, 2)


def test_k_equal_to_the_training_set_is_allowed():
    assert KNearestNeighbours(torch.eye(3), torch.tensor([0, 1, 1]), k=3).predict(torch.eye(3)).tolist() == [
        1,
        1,
        1,
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 4}, "k=4; expected 1 to 3"),
        ({"k": 0}, "k=0"),
        ({"metric": "l3"}, "unknown metric 'l3'"),
        ({"weights": "rank"}, "unknown weights 'rank'; expected one of uniform, distance"),
        ({"labels": torch.arange(2)}, "do not fit"),
    ],
)
def test_a_wrong_argument_is_named(change, message):
    arguments = {"features": torch.eye(3), "labels": torch.arange(3), "k": 1, **change}
    with pytest.raises(InputError, match=message):
        KNearestNeighbours(**arguments)


def test_queries_of_another_size_are_refused():
    with pytest.raises(InputError, match="queries have 2 features; expected 3"):
        KNearestNeighbours(torch.eye(3), torch.arange(3), k=1).neighbours(torch.zeros(1, 2))
