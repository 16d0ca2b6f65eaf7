"""Softmax regression: one loss and its gradient, written three times.

    s_n = W x_n + b,   p_nc = exp(s_nc) / sum_j exp(s_nj)
    loss = - 1/N sum_n log p_{n, y_n} + lambda/2 |W|^2

    ds_nc = (p_nc - [c = y_n]) / N                          what was predicted less what was true
    dW = sum_n ds_n x_n^T + lambda W,   db = sum_n ds_n

W (C, D), b (C), x (N, D), y (N). The largest score is taken off first: p stays the same, no exp overflows.
Source: Stanford CS231n, linear classification: softmax classifier; Bishop, Pattern Recognition and Machine
Learning (2006), 4.3.4.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from deeprob.layers import cross_entropy, l2_regularizer, linear


def softmax_loss_loops(
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
        largest = max(scores)
        total = 0.0
        for c in range(C):
            total += math.exp(scores[c] - largest)
        loss -= (scores[int(y[n])] - largest - math.log(total)) / N
        for c in range(C):
            probability = math.exp(scores[c] - largest) / total
            ds = (probability - (1.0 if c == int(y[n]) else 0.0)) / N
            for d in range(D):
                dW[c, d] += ds * x[n, d]
            db[c] += ds
    for c in range(C):
        for d in range(D):
            loss += strength / 2 * float(W[c, d]) ** 2
            dW[c, d] += strength * W[c, d]
    return loss, dW, db


def softmax_loss_vectorised(
    W: Tensor, b: Tensor, x: Tensor, y: Tensor, strength: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, dW and db as flat code: forward, then the same lines backward in reverse order."""
    N = len(x)
    # forward
    s = x @ W.T + b
    shifted = s - s.amax(1, keepdim=True)  # a constant to the loss: no gradient goes through the maximum
    exps = shifted.exp()
    totals = exps.sum(1, keepdim=True)
    log_p = shifted - totals.log()
    likelihood = log_p.gather(1, y[:, None])
    cross = -likelihood.sum() / N
    penalty = strength / 2 * W.square().sum()
    loss = cross + penalty
    # backward
    dpenalty = dcross = W.new_ones(())
    dW = dpenalty * strength * W
    dlikelihood = (-dcross / N).expand_as(likelihood)
    dlog_p = torch.zeros_like(s).scatter(1, y[:, None], dlikelihood)
    dshifted = dlog_p
    dtotals = -dlog_p.sum(1, keepdim=True) / totals
    dexps = dtotals.expand_as(exps)
    dshifted = dshifted + dexps * exps
    ds = dshifted
    dW += ds.T @ x
    db = ds.sum(0)
    return loss, dW, db


def softmax_loss_layers(
    W: Tensor, b: Tensor, x: Tensor, y: Tensor, strength: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, dW and db from layers, each of which knows its own gradient."""
    W, b = (p.detach().requires_grad_() for p in (W, b))
    loss = cross_entropy(linear(x, W, b), y) + l2_regularizer(W, strength=strength)
    loss.backward()  # type: ignore[no-untyped-call]
    assert W.grad is not None
    assert b.grad is not None
    return loss.detach(), W.grad, b.grad
