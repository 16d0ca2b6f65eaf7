"""K-nearest neighbours: exact, in chunks of bounded memory, deterministic down to ties.

    l2:      d(q, x) = sqrt(sum_i (q_i - x_i)^2)          l1: sum_i |q_i - x_i|
    cosine:  d(q, x) = 1 - q.x / (|q| |x|)                (1 where q or x is zero)

For l2 and cosine the order of the neighbours of q is the order of o(x) = b(x) - q.x, with b(x) = |x|^2 / 2 or
0: one matrix product. It runs in float32 and only proposes candidates; their distances are then computed in
float64, and the rounding bound of the product (Higham and Mary, A new approach to probabilistic rounding
error analysis, SIAM J. Sci. Comput. 41(5), 2019, theorem 2.4 with lambda = 8) tells whether a sample that was
not proposed could be nearer. Where it could, all such samples of that query become candidates.
Training samples at the same distance are taken by smallest index; a tied vote goes to the smallest class.

Cost: 2 N M D FLOPs for N training samples, M queries, D features. Source: Cover and Hart, Nearest neighbor
pattern classification, IEEE Trans. Information Theory 13(1), 1967.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from deeprob.errors import InputError
from deeprob.layers.kernels.loops import run
from deeprob.models import kernels

METRICS = {"l2": kernels.exact_l2, "l1": kernels.exact_l1, "cosine": kernels.exact_cosine}
WEIGHTS = ("uniform", "distance")
SPARE_CANDIDATES = 8  # proposed beyond k, so that rounding rarely asks for more


class KNearestNeighbours:
    """A classifier that votes among the `k` training samples nearest to a query.

    features: (N, D...) any real dtype, flattened to D; labels: int64 (N,), 0..num_classes - 1.
    weights: of the votes, `uniform`, or `distance` for 1 / d (neighbours at distance 0 outvote all others).
    memory_budget: bytes that a search may hold beside the training set.
    Raises InputError where shapes, k, the metric or the weights are wrong.
    """

    def __init__(
        self,
        features: Tensor,
        labels: Tensor,
        *,
        num_classes: int | None = None,
        k: int = 5,
        metric: str = "l2",
        weights: str = "uniform",
        memory_budget: int = 256 * 2**20,
    ) -> None:
        check_choices(metric, weights)
        if len(features) != len(labels) or labels.ndim != 1:
            raise InputError(
                f"features {tuple(features.shape)} and labels {tuple(labels.shape)} do not fit",
                where="knn",
                expected="as many labels as features, labels of shape (N,)",
            )
        if not 1 <= k <= len(features):
            raise InputError(
                f"k={k}", where="knn", expected=f"1 to {len(features)}, the number of training samples"
            )
        self.k, self.metric, self.weights = k, metric, weights
        self.labels = labels.long()
        self.num_classes = num_classes if num_classes is not None else int(labels.max()) + 1
        self.memory_budget = memory_budget
        self._exact = features.flatten(1).contiguous()
        # Distances do not change under a shift; around the mean the float32 products lose the fewest digits.
        self._shift = _wide(self._exact).mean(0)
        self._features = self._prepare(self._exact)
        lengths = self._length(self._features)
        self._longest = float(lengths.max())
        self._bias = (lengths.square() / 2 if metric == "l2" else torch.zeros_like(lengths)).float()

    def neighbours(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Distances float64 (M, k), nearest first, and training indices int64 (M, k) of queries (M, D...)."""
        flat = queries.flatten(1)
        N, D = self._exact.shape
        if flat.shape[1] != D:
            raise InputError(f"queries have {flat.shape[1]} features", where="knn", expected=f"{D}")
        if len(flat) == 0:
            return flat.new_zeros(0, self.k, dtype=torch.float64), self.labels.new_zeros(0, self.k)
        num_candidates = min(self.k + SPARE_CANDIDATES, N)
        of_candidates = 8 if flat.device.type == "cpu" else 24 * D
        row_bytes = 4 * N + 12 * D + num_candidates * (12 + of_candidates)
        chunks = torch.split(flat, max(1, self.memory_budget // row_bytes))
        found = [self._search(chunk, num_candidates) for chunk in chunks]
        return torch.cat([d for d, _ in found]), torch.cat([i for _, i in found])

    def votes(self, queries: Tensor) -> Tensor:
        """Share of the neighbours' votes for each class, float64 (M, num_classes); each row sums to 1."""
        distances, indices = self.neighbours(queries)
        return share_votes(distances, self.labels[indices], self.num_classes, self.weights)

    def predict(self, queries: Tensor) -> Tensor:
        """Vote: int64 (M,), the class with most votes, the smallest of tied ones."""
        return winners(self.votes(queries))

    def _prepare(self, rows: Tensor) -> Tensor:
        """Rows (n, D) as the first search needs them: float32, shifted, or of unit length for cosine."""
        if self.metric == "cosine":
            return _unit(_wide(rows))
        return (_wide(rows) - self._shift).float()

    def _length(self, rows: Tensor) -> Tensor:
        """What the rounding of a row's distances is measured by, float64 (n,)."""
        lengths: Tensor = torch.linalg.vector_norm(rows, 1 if self.metric == "l1" else 2, dim=1)
        return lengths.double()

    def _search(self, queries: Tensor, num_candidates: int) -> tuple[Tensor, Tensor]:
        """Propose in float32, decide in float64, and ask for more where rounding leaves a doubt."""
        prepared = self._prepare(queries)
        order = self._order(prepared)
        proposed, candidates = order.topk(num_candidates, largest=False)
        distances, indices = self._nearest(queries, candidates)
        if num_candidates == len(self._exact):
            return distances, indices
        # |order - true order| <= bound, so a sample that is nearer than the k-th lies below the limit:
        kth = order.gather(1, indices).amax(1).double()
        lengths, rounding = self._length(prepared), _rounding(prepared.shape[1])
        if self.metric == "l1":
            bound = rounding * kth + torch.finfo(torch.float32).eps * (lengths + self._longest)
        else:
            bound = rounding * (lengths + self._longest) * self._longest
        limit = kth + 2 * bound
        for row in (proposed[:, -1] <= limit).nonzero().flatten().tolist():
            below = (order[row] <= limit[row]).nonzero().flatten()
            found = self._nearest(queries[row : row + 1], below[None])
            distances[row], indices[row] = found[0][0], found[1][0]
        return distances, indices

    def _order(self, prepared: Tensor) -> Tensor:
        """Float32 (M, N), rising with the distance of each training sample."""
        if self.metric == "l1":
            if prepared.device.type != "cpu":
                return torch.cdist(prepared, self._features, p=1)
            order = prepared.new_empty(len(prepared), len(self._features))
            run(kernels.l1_distances, len(prepared), prepared, self._features, order)
            return order
        if prepared.device.type != "cpu":
            with _full_precision():
                return torch.addmm(self._bias, prepared, self._features.T, alpha=-1)
        order = prepared.new_empty(len(prepared), len(self._features))
        # By numpy's BLAS: a quarter faster here than torch's, and float32 whatever precision torch is set to.
        np.matmul(prepared.numpy(), self._features.numpy().T, out=order.numpy())
        return torch.sub(self._bias, order, out=order)

    def _nearest(self, queries: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """Take the k nearest of each query's candidates; equal distances in the order of the training set."""
        candidates = candidates.sort(dim=1).values
        distances, order = self._distances(queries, candidates).sort(dim=1, stable=True)
        return distances[:, : self.k], candidates.gather(1, order)[:, : self.k]

    def _distances(self, queries: Tensor, candidates: Tensor) -> Tensor:
        """Float64 (M, n) distances of queries (M, D) to training samples candidates (M, n)."""
        if queries.device.type != "cpu":
            return distances_of(self.metric, queries, self._exact[candidates])
        distances = torch.empty(candidates.shape, dtype=torch.float64)
        run(METRICS[self.metric], len(queries), queries.double(), self._exact, candidates, distances)
        return distances


def check_choices(metric: str, weights: str) -> None:
    """Raise InputError for a metric or weights that there are not."""
    for what, value, known in (("metric", metric, METRICS), ("weights", weights, WEIGHTS)):
        if value not in known:
            raise InputError(f"unknown {what} {value!r}", where="knn", expected=f"one of {', '.join(known)}")


def distances_of(metric: str, queries: Tensor, others: Tensor) -> Tensor:
    """The distances at the top of this file: float64 (M, n) of queries (M, D) to others (M, n, D)."""
    here, others = queries.double()[:, None], others.double()
    if metric == "cosine":
        length = here.norm(dim=-1) * others.norm(dim=-1)
        return 1 - torch.where(length > 0, (here * others).sum(-1) / length, 0.0)
    distances: Tensor = torch.linalg.vector_norm(here - others, 1 if metric == "l1" else 2, dim=-1)
    return distances


def share_votes(distances: Tensor, classes: Tensor, num_classes: int, weights: str = "uniform") -> Tensor:
    """Votes of neighbours (M, k) at `distances`, of `classes`, for each class, float64 (M, num_classes)."""
    each = torch.ones_like(distances)
    if weights == "distance":
        same = distances == 0
        each = torch.where(same.any(1, keepdim=True), same.double(), 1 / distances)
    votes = distances.new_zeros(len(distances), num_classes).scatter_add_(1, classes, each)
    return votes / each.sum(1, keepdim=True)


def winners(votes: Tensor) -> Tensor:
    """The class with most votes (M, C), the smallest of tied ones, int64 (M,)."""
    classes = torch.arange(votes.shape[1], device=votes.device)
    tied = votes == votes.amax(1, keepdim=True)
    return torch.where(tied, classes, votes.shape[1]).amin(1)


def _unit(rows: Tensor) -> Tensor:
    """Rows at length 1 as float32; a row of zeros stays."""
    lengths: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    if len(rows) and (lengths.min() < 1e-15 or lengths.max() > 1e15):  # squares could leave float32's range
        rows = rows / rows.abs().amax(1, keepdim=True).clamp_min(torch.finfo(rows.dtype).tiny)
        lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp_min_(0.5)
    return (rows / lengths).float()


def _wide(rows: Tensor) -> Tensor:
    """Rows as float32, or float64 where they came so: digits are dropped only after the mean is taken off."""
    return rows if rows.dtype == torch.float64 else rows.float()


@contextlib.contextmanager
def _full_precision() -> Iterator[None]:
    """Float32 products in float32, also where the training run allows TF32 or bfloat16 inside them."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _rounding(num_terms: int) -> float:
    """Relative error of a float32 sum of `num_terms` products, exceeded with a probability below 1e-10."""
    return 8 * math.sqrt(num_terms + 8) * torch.finfo(torch.float32).eps / 2
