"""K-nearest neighbours: exact, in chunks of bounded memory, deterministic down to ties.

    l2:      d(q, x) = sqrt(sum_i (q_i - x_i)^2)          l1: sum_i |q_i - x_i|
    cosine:  d(q, x) = 1 - q.x / (|q| |x|)                (1 where q or x is zero)

For l2 and cosine the order of the neighbours of q is the order of b(x) - q.x, with b(x) = |x|^2 / 2 or 0:
one matrix product. The product runs in float32 and only proposes candidates; their distances are then
computed in float64, and the rounding bound of the product (Higham and Mary, A new approach to probabilistic
rounding error analysis, SIAM J. Sci. Comput. 41(5), 2019, theorem 2.4 with lambda = 8) tells whether a
sample that was not proposed could be nearer. Where it could, that query is searched again in float64.
Training samples at the same distance are taken by smallest index; a tied vote goes to the smallest class.

Cost: 2 N M D FLOPs for N training samples, M queries, D features. Source: Cover and Hart, Nearest neighbor
pattern classification, IEEE Trans. Information Theory 13(1), 1967.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from deeprob.errors import InputError

METRICS = ("l2", "l1", "cosine")
SPARE_CANDIDATES = 8  # proposed beyond k, so that rounding rarely asks for a second search


class KNearestNeighbours:
    """A classifier that votes among the `k` training samples nearest to a query.

    features: (N, D...) any real dtype, flattened to D; labels: int64 (N,), 0..num_classes - 1.
    memory_budget: bytes that a search may hold beside the training set.
    Raises InputError where shapes, k or the metric are wrong.
    """

    def __init__(
        self,
        features: Tensor,
        labels: Tensor,
        *,
        num_classes: int | None = None,
        k: int = 5,
        metric: str = "l2",
        memory_budget: int = 256 * 2**20,
    ) -> None:
        if metric not in METRICS:
            raise InputError(
                f"unknown metric {metric!r}", where="knn", expected=f"one of {', '.join(METRICS)}"
            )
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
        self.k = k
        self.metric = metric
        self.labels = labels.long()
        self.num_classes = num_classes if num_classes is not None else int(labels.max()) + 1
        self.memory_budget = memory_budget
        self._exact = features.flatten(1)
        # Distances do not change under a shift; around the mean the float32 products lose the fewest digits.
        self._shift = _wide(self._exact).mean(0)
        self._features = self._prepare(self._exact)
        norms = self._features.norm(dim=1, dtype=torch.float64)
        self._max_norm = float(norms.max())
        self._bias = (norms.square() / 2 if metric == "l2" else torch.zeros_like(norms)).float()

    def neighbours(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Distances float64 (M, k), nearest first, and training indices int64 (M, k) of queries (M, D...)."""
        flat = queries.flatten(1)
        if flat.shape[1] != self._exact.shape[1]:
            raise InputError(
                f"queries have {flat.shape[1]} features", where="knn", expected=f"{self._exact.shape[1]}"
            )
        if len(flat) == 0:
            return flat.new_zeros(0, self.k, dtype=torch.float64), self.labels.new_zeros(0, self.k)
        num_candidates = min(self.k + SPARE_CANDIDATES, len(self._exact))
        row_bytes = 4 * len(self._exact) + 24 * num_candidates * flat.shape[1]
        chunks = torch.split(flat, max(1, self.memory_budget // row_bytes))
        search = self._search_l1 if self.metric == "l1" else self._search_product
        found = [search(chunk, num_candidates) for chunk in chunks]
        return torch.cat([d for d, _ in found]), torch.cat([i for _, i in found])

    def votes(self, queries: Tensor) -> Tensor:
        """Share of the k neighbours in each class, float64 (M, num_classes); each row sums to 1."""
        _, indices = self.neighbours(queries)
        votes = torch.zeros(len(indices), self.num_classes, dtype=torch.float64, device=indices.device)
        votes.scatter_add_(1, self.labels[indices], torch.ones_like(indices, dtype=torch.float64))
        return votes / self.k

    def predict(self, queries: Tensor) -> Tensor:
        """Vote: int64 (M,), the class with most votes, the smallest of tied ones."""
        votes = self.votes(queries)
        classes = torch.arange(self.num_classes, device=votes.device)
        tied = votes == votes.amax(1, keepdim=True)
        return torch.where(tied, classes, self.num_classes).amin(1)

    def _prepare(self, rows: Tensor) -> Tensor:
        """Rows (n, D) as the first search needs them: float32, shifted for l2, of unit length for cosine."""
        if self.metric == "cosine":
            return torch.nn.functional.normalize(rows.double(), dim=1, eps=1e-300).float()
        return (_wide(rows) - self._shift).float()

    def _search_product(self, queries: Tensor, num_candidates: int) -> tuple[Tensor, Tensor]:
        prepared = self._prepare(queries)
        with _full_precision():
            order = torch.addmm(self._bias, prepared, self._features.T, alpha=-1)
        proposed, candidates = order.topk(num_candidates, largest=False)
        distances, indices = self._nearest(queries, candidates)
        if num_candidates < len(self._exact):
            # |order - true order| <= bound, so a sample left out is farther than the k-th unless this fails:
            norms = prepared.norm(dim=1, dtype=torch.float64)
            bound = _rounding(prepared.shape[1]) * (norms + self._max_norm) * self._max_norm
            kth = (
                distances[:, -1].square() / 2 - norms.square() / 2
                if self.metric == "l2"
                else distances[:, -1] - 1
            )
            unsure = proposed[:, -1].double() - kth <= 2 * bound
            for row in unsure.nonzero().flatten().tolist():
                distances[row], indices[row] = self._search_exact(queries[row : row + 1])
        return distances, indices

    def _search_l1(self, queries: Tensor, num_candidates: int) -> tuple[Tensor, Tensor]:
        proposed, candidates = torch.cdist(self._prepare(queries), self._features, p=1).topk(
            num_candidates, largest=False
        )
        distances, indices = self._nearest(queries, candidates)
        if num_candidates < len(self._exact):
            bound = _rounding(queries.shape[1]) * proposed[:, -1].double()
            for row in (proposed[:, -1] - distances[:, -1] <= bound).nonzero().flatten().tolist():
                distances[row], indices[row] = self._search_exact(queries[row : row + 1])
        return distances, indices

    def _search_exact(self, query: Tensor) -> tuple[Tensor, Tensor]:
        """All distances of one query (1, D) in float64, a slice of the training set at a time."""
        rows = max(1, self.memory_budget // (24 * query.shape[1]))
        everything = torch.arange(len(self._exact), device=query.device)
        parts = [self._distances(query, part[None]) for part in torch.split(everything, rows)]
        distances, order = torch.cat(parts, 1).sort(dim=1, stable=True)
        return distances[0, : self.k], order[0, : self.k]

    def _nearest(self, queries: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """Take the k nearest of each query's candidates; equal distances in the order of the training set."""
        candidates = candidates.sort(dim=1).values
        distances, order = self._distances(queries, candidates).sort(dim=1, stable=True)
        return distances[:, : self.k], candidates.gather(1, order)[:, : self.k]

    def _distances(self, queries: Tensor, candidates: Tensor) -> Tensor:
        """Float64 (M, n) distances of queries (M, D) to training samples candidates (M, n)."""
        others = self._exact[candidates].double()
        here = queries.double()[:, None]
        if self.metric == "cosine":
            product = (here * others).sum(-1)
            length = here.norm(dim=-1) * others.norm(dim=-1)
            return 1 - torch.where(length > 0, product / length, 0.0)
        difference = others.sub_(here)
        return difference.norm(dim=-1) if self.metric == "l2" else difference.abs_().sum(-1)


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
