"""The gates a graph is made of: each one a function of deeprob.layers, which brings its own local gradient.

Beside the function stand the words for what the gate does to a gradient, and its lines of flat code. The flat
lines are text for the reader, and tested against the gates; a graph never takes a derivative from them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from deeprob import layers


@dataclass(frozen=True)
class Gate:
    """One kind of gate.

    call: the function of deeprob.layers: tensors in, a tensor out.
    symbol: drawn inside the gate. pattern: what it does to the upstream gradient.
    forward: its line of flat code, {0} and {1} the inputs; tensor_forward: where tensors need another.
    backward: one right-hand side an input, {dy} the upstream gradient and {y} the output.
    elementwise: whether its Jacobian is diagonal, so that downstream = upstream x local, entry by entry.
    tensors_only: whether its flat code needs torch. constants: inputs without a gradient (class indices).
    """

    name: str
    call: Callable[..., Tensor]
    symbol: str
    pattern: str
    forward: str
    backward: tuple[str, ...]
    tensor_forward: str | None = None
    elementwise: bool = True
    tensors_only: bool = False
    constants: tuple[int, ...] = ()

    @property
    def num_inputs(self) -> int:
        return len(self.backward) + len(self.constants)


def _hinge_loss(scores: Tensor, target: Tensor) -> Tensor:
    """The lecture's SVM loss, not divided by the number of classes as torch's is: each class weighs C."""
    num_classes = scores.shape[-1]
    weight = scores.new_full((num_classes,), float(num_classes))
    return layers.multi_margin_loss(scores, target.long(), weight=weight)


def _softmax_loss(scores: Tensor, target: Tensor) -> Tensor:
    return layers.cross_entropy(scores, target.long())


def _l2(w: Tensor) -> Tensor:
    return layers.l2_regularizer(w, strength=2.0)


_MARGIN = "({0} - {0}.gather(1, {1}[:, None]) + 1)"
_SHARE = "(({a} > {b}) + 0.5 * ({a} == {b}))"

GATES = {
    gate.name: gate
    for gate in (
        Gate("add", layers.add, "+", "distributes the gradient", "{0} + {1}", ("{dy}", "{dy}")),
        Gate(
            "mul",
            layers.mul,
            "×",
            "swaps the inputs: each gets the upstream gradient times the other",
            "{0} * {1}",
            ("{dy} * {1}", "{dy} * {0}"),
        ),
        Gate(
            "maximum",
            layers.maximum,
            "max",
            "routes the gradient to the larger input; a tie shares it",
            "max({0}, {1})",
            (
                f"{{dy}} * {_SHARE.format(a='{0}', b='{1}')}",
                f"{{dy}} * {_SHARE.format(a='{1}', b='{0}')}",
            ),
            tensor_forward="maximum({0}, {1})",
        ),
        Gate("exp", layers.exp, "exp", "scales by its own output", "exp({0})", ("{dy} * {y}",)),
        Gate("log", layers.log, "ln", "divides by its input", "log({0})", ("{dy} / {0}",)),
        Gate(
            "reciprocal",
            layers.reciprocal,
            "1/x",
            "scales by minus its output squared",
            "1 / {0}",
            ("{dy} * -({y} * {y})",),
        ),
        Gate("tanh", layers.tanh, "tanh", "scales by 1 − y²", "tanh({0})", ("{dy} * (1 - {y} * {y})",)),
        Gate(
            "sigmoid",
            layers.sigmoid,
            "σ",
            "scales by (1 − y) y",
            "1 / (1 + exp(-{0}))",
            ("{dy} * (1 - {y}) * {y}",),
        ),
        Gate(
            "relu",
            layers.relu,
            "relu",
            "passes the gradient where its input was positive",
            "max(0.0, {0})",
            ("{dy} * ({0} > 0)",),
            tensor_forward="relu({0})",
        ),
        Gate(
            "matmul",
            layers.matmul,
            "@",
            "multiplies by the other input, transposed: the only product whose shapes fit",
            "{0} @ {1}",
            ("{dy} @ {1}.T", "{0}.T @ {dy}"),
            elementwise=False,
            tensors_only=True,
        ),
        Gate(
            "l2",
            _l2,
            "Σx²",
            "scales the input by twice the upstream gradient",
            "({0} * {0}).sum()",
            ("{dy} * 2 * {0}",),
            elementwise=False,
            tensors_only=True,
        ),
        Gate(
            "hinge_loss",
            _hinge_loss,
            "SVM",
            "pushes down each class inside the margin, and the true class up as often",
            f"({_MARGIN}.clamp_min(0).sum(1) - 1).mean()",
            (
                "{dy} / len({1}) * ((inside := "
                + _MARGIN
                + ".sign().clamp_min(0)) - one_hot({1}, {0}.shape[1]) * inside.sum(1, keepdim=True))",
            ),
            elementwise=False,
            tensors_only=True,
            constants=(1,),
        ),
        Gate(
            "softmax_loss",
            _softmax_loss,
            "softmax",
            "what was predicted less what was true",
            "-({0}.log_softmax(1).gather(1, {1}[:, None])).mean()",
            ("{dy} / len({1}) * ({0}.softmax(1) - one_hot({1}, {0}.shape[1]))",),
            elementwise=False,
            tensors_only=True,
            constants=(1,),
        ),
    )
}
"""Name -> gate: the names are also the functions that an expression may call."""
