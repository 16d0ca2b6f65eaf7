"""Multiclass support vector machine: one loss and its gradient, written three times.

    s_n = W x_n + b
    loss = 1/N sum_n sum_{j != y_n} max(0, s_nj - s_ny + 1) + lambda/2 |W|^2

    ds_nj = [s_nj - s_ny + 1 > 0] / N   for j != y_n        a class that comes too near pushes itself down
    ds_ny = - sum_{j != y_n} ds_nj                          and the true class up
    dW = sum_n ds_n x_n^T + lambda W,   db = sum_n ds_n

W (C, D), b (C), x (N, D), y (N). The sum over the classes is the lecture's; torch's loss, and with it the
objective `hinge`, is that divided by C. The lecture's penalty has no half: lambda is twice its `reg`.
Source: Weston and Watkins, Support vector machines for multi-class pattern recognition, ESANN 1999;
Stanford CS231n, linear classification.
"""

from __future__ import annotations

from torch import Tensor

from deeprob.layers import l2_regularizer, linear, multi_margin_loss


def svm_loss_loops(
    W: Tensor, b: Tensor, x: Tensor, y: Tensor, strength: float
) -> tuple[float, Tensor, Tensor]:
    """Loss, dW and db as one would write them down: a sample, a class and a number at a time."""
    (C, D), N = W.shape, len(x)
    loss, dW, db = 0.0, W.new_zeros(C, D), b.new_zeros(C)
    for n in range(N):
        scores = []
        for c in range(C):
            score = float(b[c])
            for d in range(D):
                score += float(W[c, d]) * float(x[n, d])
            scores.append(score)
        true = int(y[n])
        for j in range(C):
            margin = scores[j] - scores[true] + 1
            if j == true or margin <= 0:
                continue
            loss += margin / N
            for d in range(D):
                dW[j, d] += x[n, d] / N
                dW[true, d] -= x[n, d] / N
            db[j] += 1 / N
            db[true] -= 1 / N
    for c in range(C):
        for d in range(D):
            loss += strength / 2 * float(W[c, d]) ** 2
            dW[c, d] += strength * W[c, d]
    return loss, dW, db


def svm_loss_vectorised(
    W: Tensor, b: Tensor, x: Tensor, y: Tensor, strength: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, dW and db as flat code: forward, then the same lines backward in reverse order."""
    N = len(x)
    # forward
    s = x @ W.T + b
    true = s.gather(1, y[:, None])
    margins = (s - true + 1).clamp_min(0)
    counted = margins.scatter(1, y[:, None], 0.0)
    hinge = counted.sum() / N
    penalty = strength / 2 * W.square().sum()
    loss = hinge + penalty
    # backward
    dpenalty = dhinge = W.new_ones(())
    dW = dpenalty * strength * W
    dcounted = (dhinge / N).expand_as(counted)
    dmargins = dcounted.scatter(1, y[:, None], 0.0)
    ds = dmargins * (margins > 0)
    dtrue = -ds.sum(1, keepdim=True)
    ds = ds.scatter_add(1, y[:, None], dtrue)
    dW += ds.T @ x
    db = ds.sum(0)
    return loss, dW, db


def svm_loss_layers(
    W: Tensor, b: Tensor, x: Tensor, y: Tensor, strength: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, dW and db from layers, each of which knows its own gradient."""
    W, b = (p.detach().requires_grad_() for p in (W, b))
    hinge = multi_margin_loss(linear(x, W, b), y) * len(W)
    loss = hinge + l2_regularizer(W, strength=strength)
    loss.backward()  # type: ignore[no-untyped-call]
    assert W.grad is not None
    assert b.grad is not None
    return loss.detach(), W.grad, b.grad
