"""Each classical loss in its three forms: the same numbers; its optimum is that of others' solvers."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from deeprob.models import linear_svm, softmax_regression, two_layer_net
from deeprob.models.linear_svm import svm_loss_loops, svm_loss_vectorised
from deeprob.models.softmax_regression import softmax_loss_loops, softmax_loss_vectorised
from deeprob.models.two_layer_net import Weights, two_layer_loss_loops, two_layer_loss_vectorised

FORMS = ("loops", "vectorised", "layers")
LINEAR = {"svm": linear_svm, "softmax": softmax_regression}


def problem(N=9, D=5, C=4, H=6, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    y = torch.randint(0, C, (N,), generator=generator)
    return normal(C, D), normal(C), normal(N, D), y, Weights(normal(H, D), normal(H), normal(C, H), normal(C))


@pytest.mark.parametrize("form", FORMS[1:])
@pytest.mark.parametrize("name", LINEAR)
def test_a_linear_loss_has_the_same_numbers_in_every_form(name, form):
    W, b, x, y, _ = problem()
    expected = getattr(LINEAR[name], f"{name}_loss_loops")(W, b, x, y, 0.1)
    found = getattr(LINEAR[name], f"{name}_loss_{form}")(W, b, x, y, 0.1)
    for a, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, e, atol=1e-10, rtol=0)


@pytest.mark.parametrize("form", FORMS[1:])
def test_a_two_layer_network_has_the_same_numbers_in_every_form(form):
    *_, x, y, w = problem()
    expected_loss, expected = two_layer_loss_loops(w, x, y, 0.1)
    loss, found = getattr(two_layer_net, f"two_layer_loss_{form}")(w, x, y, 0.1)
    assert float(loss) == pytest.approx(expected_loss, abs=1e-10)
    for a, e in zip(found, expected, strict=True):
        torch.testing.assert_close(a, e, atol=1e-10, rtol=0)


@pytest.mark.parametrize("loss", [svm_loss_loops, softmax_loss_loops])
def test_a_gradient_in_loops_is_the_slope_of_its_loss(loss):
    W, b, x, y, _ = problem()
    _, dW, db = loss(W, b, x, y, 0.1)
    for parameter, gradient in ((W, dW), (b, db)):
        direction = torch.randn(
            parameter.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
        )
        before = parameter.clone()
        values = []
        for step in (1e-6, -1e-6):
            parameter.copy_(before + step * direction)
            values.append(loss(W, b, x, y, 0.1)[0])
        parameter.copy_(before)
        assert (values[0] - values[1]) / 2e-6 == pytest.approx(float((gradient * direction).sum()), abs=1e-6)


def test_the_hinge_is_the_lectures():
    # One sample, scores 3.2 (true), 5.1, -1.7: max(0, 5.1 - 3.2 + 1) + max(0, -1.7 - 3.2 + 1) = 2.9
    b = torch.tensor([3.2, 5.1, -1.7], dtype=torch.float64)
    W, x = torch.zeros(3, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    assert float(svm_loss_vectorised(W, b, x, torch.tensor([0]), 0.0)[0]) == pytest.approx(2.9)


def test_scores_of_any_size_give_a_finite_softmax_loss():
    W, b, x, y, _ = problem()
    for value in softmax_loss_vectorised(1e4 * W, b, x, y, 0.0):
        assert torch.isfinite(value).all()


def descend(loss, x, y, num_classes, strength):
    """The smallest loss that scipy's L-BFGS finds by a form's gradient."""
    C, D = num_classes, x.shape[1]

    def flat(values):
        values = torch.from_numpy(values)
        total, dW, db = loss(values[: C * D].view(C, D), values[C * D :], x, y, strength)
        return float(total), torch.cat([dW.flatten(), db]).numpy()

    options = {"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-9}
    return minimize(flat, np.zeros(C * D + C), jac=True, method="L-BFGS-B", options=options)


def clouds():
    generator = torch.Generator().manual_seed(3)
    y = torch.arange(60) % 3
    x = torch.randn(60, 4, dtype=torch.float64, generator=generator)
    x[:, :3] += torch.nn.functional.one_hot(y, 3)
    return x, y


def test_softmax_regressions_optimum_is_scikit_learns():
    x, y = clouds()
    strength = 0.05  # of the mean loss: scikit-learn's C is 1 / (N strength)
    reference = LogisticRegression(C=1 / (len(x) * strength), tol=1e-10, max_iter=10_000).fit(x, y)
    W, b = torch.from_numpy(reference.coef_), torch.from_numpy(reference.intercept_)
    theirs = float(softmax_loss_vectorised(W, b, x, y, strength)[0])
    ours = descend(softmax_loss_vectorised, x, y, 3, strength)
    assert ours.fun == pytest.approx(theirs, abs=1e-8)
    np.testing.assert_allclose(ours.x[:12].reshape(3, 4), reference.coef_, atol=1e-4)


def test_the_svms_optimum_is_that_of_a_constrained_solver():
    # The same problem with a slack for every margin, which has no kink: minimise sum slack / N + penalty.
    x, y = clouds()
    x, y = x[:24], y[:24]
    N, D, C, strength = 24, 4, 3, 0.1
    others = [(n, j) for n in range(N) for j in range(C) if j != int(y[n])]
    rows = np.zeros((len(others), C * D + C))
    for i, (n, j) in enumerate(others):
        for c, sign in ((int(y[n]), 1), (j, -1)):
            rows[i, c * D : (c + 1) * D] += sign * x[n].numpy()
            rows[i, C * D + c] += sign
    size = C * D + C
    jacobian = np.hstack([rows, np.eye(len(others))])

    def value_and_slope(v):
        slope = np.concatenate([strength * v[: C * D], np.zeros(C), np.full(len(others), 1 / N)])
        return strength / 2 * (v[: C * D] ** 2).sum() + v[size:].sum() / N, slope

    exact = minimize(
        value_and_slope,
        np.concatenate([np.zeros(size), np.ones(len(others))]),
        jac=True,
        method="SLSQP",
        bounds=[(None, None)] * size + [(0, None)] * len(others),
        constraints={"type": "ineq", "fun": lambda v: jacobian @ v - 1, "jac": lambda v: jacobian},
        options={"maxiter": 500, "ftol": 1e-12},
    )
    assert exact.success
    W = torch.from_numpy(exact.x[: C * D]).view(C, D)
    b = torch.from_numpy(exact.x[C * D : size])
    assert float(svm_loss_vectorised(W, b, x, y, strength)[0]) == pytest.approx(exact.fun, abs=1e-8)
    W, b = torch.zeros_like(W), torch.zeros_like(b)
    best = float("inf")
    for step in range(6000):  # subgradient descent, steps of 1 / (strength t) for a strongly convex loss
        loss, dW, db = svm_loss_vectorised(W, b, x, y, strength)
        best = min(best, float(loss))
        rate = 1 / (strength * (step + 50))
        W, b = W - rate * dW, b - rate * db
    assert exact.fun - 1e-9 <= best <= exact.fun + 2e-3


def test_weight_decay_is_the_l2_penalty():
    W, b, x, y, _ = problem()
    _, dW, _ = softmax_loss_vectorised(W, b, x, y, 0.3)
    _, without, _ = softmax_loss_vectorised(W, b, x, y, 0.0)
    decayed = W.clone().requires_grad_()
    decayed.grad = without
    torch.optim.SGD([decayed], lr=0.1, momentum=0.9, weight_decay=0.3).step()
    torch.testing.assert_close(decayed.detach(), W - 0.1 * dW)


def test_the_flat_two_layer_network_learns():
    *_, x, y, w = problem(N=20)
    first, _ = two_layer_loss_vectorised(w, x, y, 0.0)
    for _ in range(300):
        loss, dw = two_layer_loss_vectorised(w, x, y, 0.0)
        w = Weights(*(p - 0.3 * dp for p, dp in zip(w, dw, strict=True)))
    assert loss < 0.1 * first
