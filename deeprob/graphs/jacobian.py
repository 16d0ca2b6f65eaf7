"""Jacobians: what the whole matrix would take, what the product with it takes, and how a small one looks.

    J = dy/dx has one row an output number and one column an input number; backward needs only J^T dy.

Where J is small enough it is formed column by column by forward mode (the layers' tangents), and J^T dy is
compared with the layers' backward: two formulas written by hand, one through the other.
Source: Johnson, backpropagation lecture: the explicit Jacobian of a matrix product takes 256 GB.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from deeprob import layers
from deeprob.errors import InputError
from deeprob.graphs.modes import jvp
from deeprob.graphs.picture import frame

MOST_ENTRIES = 250_000  # of a Jacobian that is formed
MOST_BYTES = 8 << 30  # of the arrays that the implicit product works on
MOST_CELLS = 96  # rows or columns of the picture
Inputs = Callable[[int, int, int], dict[str, tuple[int, ...]]]


@dataclass(frozen=True)
class Case:
    """A layer and its inputs' shapes for N samples of D numbers, and M outputs where it has a choice."""

    call: Callable[..., Tensor]
    shapes: Inputs
    outputs: Callable[[int, int, int], int] = lambda n, d, m: n * max(d, m)  # at most so many numbers


def _same(n: int, d: int, m: int) -> dict[str, tuple[int, ...]]:
    return {"x": (n, d)}


CASES: Mapping[str, Case] = {
    "linear": Case(layers.linear, lambda n, d, m: {"x": (n, d), "weight": (m, d)}),
    "matmul": Case(lambda x, w: layers.matmul(x, w), lambda n, d, m: {"x": (n, d), "w": (d, m)}),
    "conv1d": Case(
        lambda x, weight: layers.conv1d(x, weight, padding=1),
        lambda n, d, m: {"x": (n, 1, d), "weight": (m, 1, 3)},
        lambda n, d, m: n * m * d,
    ),
    "relu": Case(layers.relu, _same),
    "sigmoid": Case(layers.sigmoid, _same),
    "tanh": Case(layers.tanh, _same),
    "exp": Case(layers.exp, _same),
    "gelu": Case(layers.gelu, _same),
    "softmax": Case(lambda x: layers.softmax(x, dim=-1), _same),
    "layer_norm": Case(lambda x: layers.layer_norm(x, x.shape[-1:]), _same),
}


@dataclass(frozen=True)
class Product:
    """What J^T dy took, and what J would take.

    explicit_bytes: of each input's Jacobian in float32. implicit_bytes: of the gradients, and of what the
    layer works on. seconds: of one backward, measured.
    """

    output_shape: tuple[int, ...]
    explicit_bytes: Mapping[str, int]
    implicit_bytes: int
    seconds: float


@dataclass(frozen=True)
class Formed:
    """A whole Jacobian of one input.

    matrix: float64 (numbers of y, numbers of x). error: of J^T dy against the layer's backward, relative to
    the largest entry.
    """

    matrix: Tensor
    error: float

    @property
    def nonzero(self) -> float:
        """Share of the entries that are not zero."""
        return float((self.matrix != 0).double().mean()) if self.matrix.numel() else 0.0

    @property
    def words(self) -> str:
        """What the pattern is."""
        rows, columns = self.matrix.shape
        if rows == columns and not (self.matrix - self.matrix.diag().diag()).any():
            return "diagonal: backward multiplies entry by entry"
        if self.nonzero < 1:
            return "sparse: most outputs do not see most inputs"
        return "dense"


def case_of(name: str) -> Case:
    """The case of a name. Raises InputError for a name that is not among CASES."""
    if name not in CASES:
        raise InputError(f"no layer {name!r}", where="jacobian", expected=" ".join(CASES))
    return CASES[name]


def measure_product(name: str, n: int, d: int, m: int, seed: int = 0) -> Product:
    """Run one forward and one backward, float32. Raises InputError for shapes that do not fit into memory."""
    case = case_of(name)
    if min(n, d, m) < 1:
        raise InputError(f"N={n} D={d} M={m}", where="jacobian", expected="positive numbers")
    shapes = case.shapes(n, d, m)
    numbers = sum(torch.Size(s).numel() for s in shapes.values()) + case.outputs(n, d, m)
    if numbers * 8 > MOST_BYTES:
        raise InputError(
            f"N={n} D={d} M={m} is too large", where="jacobian", expected="at most 8 GiB of arrays"
        )
    generator = torch.Generator().manual_seed(seed)
    inputs = {k: torch.randn(s, generator=generator).requires_grad_() for k, s in shapes.items()}
    y = case.call(*inputs.values())
    dy = torch.randn(y.shape, generator=generator)
    taken = []
    for _ in range(4):  # the first one compiles kernels and is not counted
        begin = time.perf_counter()
        gradients = torch.autograd.grad(y, list(inputs.values()), dy, retain_graph=True)
        taken.append(time.perf_counter() - begin)
    held = [y, dy, *inputs.values(), *gradients]
    return Product(
        tuple(y.shape),
        {k: 4 * y.numel() * x.numel() for k, x in inputs.items()},
        sum(t.numel() * t.element_size() for t in held),
        statistics.median(taken[1:]),
    )


def form(name: str, n: int, d: int, m: int, seed: int = 0) -> Formed | None:
    """Form dy/dx of the first input, float64; None where it has over MOST_ENTRIES entries."""
    case = case_of(name)
    generator = torch.Generator().manual_seed(seed)
    inputs = {
        k: torch.randn(s, generator=generator, dtype=torch.float64) for k, s in case.shapes(n, d, m).items()
    }
    others = {k: v for k, v in inputs.items() if k != "x"}
    x = inputs["x"]

    def call(x: Tensor) -> Tensor:
        return case.call(x, *others.values())

    x_tracked = x.clone().requires_grad_()
    y = call(x_tracked)
    if y.numel() * x.numel() > MOST_ENTRIES:
        return None
    columns = [jvp(call, x, e.reshape(x.shape))[1].reshape(-1) for e in torch.eye(x.numel()).double()]
    matrix = torch.stack(columns, 1)
    dy = torch.randn(y.shape, generator=generator, dtype=torch.float64)
    (dx,) = torch.autograd.grad(y, x_tracked, dy)
    difference = (matrix.T @ dy.reshape(-1) - dx.reshape(-1)).abs().max()
    return Formed(matrix, float(difference / dx.abs().max().clamp_min(1e-30)))


def draw_pattern(formed: Formed, title: str) -> str:
    """Return an SVG of the matrix: one cell an entry, darker where it is larger, empty where it is zero.

    Raises InputError where it has over MOST_CELLS rows or columns.
    """
    matrix = formed.matrix
    rows, columns = matrix.shape
    if max(rows, columns) > MOST_CELLS:
        raise InputError(
            f"a {rows} x {columns} Jacobian is too large to draw",
            expected=f"at most {MOST_CELLS} rows and columns",
            fix="smaller N, D and M",
        )
    cell, left, top = max(5.0, min(22.0, 420 / max(rows, columns))), 60.0, 50.0
    largest = float(matrix.abs().max()) or 1.0
    parts = [
        f'<rect class="box" x="{left}" y="{top}" width="{columns * cell:.1f}" height="{rows * cell:.1f}"/>'
    ]
    for i, j in matrix.nonzero().tolist():
        shade = 0.25 + 0.75 * abs(float(matrix[i, j])) / largest
        kind = "value" if matrix[i, j] > 0 else "gradient"
        parts.append(
            f'<rect x="{left + j * cell:.1f}" y="{top + i * cell:.1f}" width="{cell:.1f}" '
            f'height="{cell:.1f}" fill="var(--{kind})" fill-opacity="{shade:.2f}"/>'
        )
    middle, centre = left + columns * cell / 2, top + rows * cell / 2
    parts.append(f'<text x="{middle:.1f}" y="{top - 12}">the {columns} numbers of x</text>')
    parts.append(
        f'<text x="{left - 14}" y="{centre:.1f}" transform="rotate(-90 {left - 14} {centre:.1f})">'
        f"the {rows} numbers of y</text>"
    )
    share = f"{100 * formed.nonzero:.1f} % of {matrix.numel()} entries are not zero"
    legend = [("v", "positive"), ("g", f"negative; empty: zero; {share}")]
    return frame(parts, left + columns * cell + 24, top + rows * cell + 16, title, legend)
