"""The CPU's loops: threads, and that their speed does not cost correctness."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from deeprob import layers
from deeprob.layers.catalogue import LAYERS, Draw
from deeprob.layers.contract import _measure as measure
from deeprob.layers.kernels import loops
from deeprob.layers.kernels import threads as on_threads
from deeprob.layers.kernels.product import multiply, pack
from deeprob.layers.kernels.tile import PANEL, tile


@pytest.fixture
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def gradients(function, x, *others):
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    y = function(x, *others)
    (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum().backward()
    return y.detach(), x.grad


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    "function",
    [
        layers.relu,
        lambda x: layers.batch_norm(x, training=True),
        lambda x: layers.group_norm(x, 4),
        lambda x: layers.layer_norm(x, (9,)),
        lambda x: layers.rms_norm(x, (9,)),
        lambda x: layers.conv2d(x, torch.linspace(-1, 1, 32 * 32 * 9).view(32, 32, 3, 3), padding=1),
    ],
    ids=["relu", "batch_norm", "group_norm", "layer_norm", "rms_norm", "conv2d"],
)
def test_threads_give_the_same_as_one(function, layout, four_threads):
    x = torch.randn(64, 32, 8, 9, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=layout)
    many = gradients(function, x)
    torch.set_num_threads(1)
    for got, expected in zip(many, gradients(function, x), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("channels", "window", "options"),
    [
        ((5, 7), (3, 3), {"padding": 1}),
        ((3, 7), (7, 7), {"padding": 3, "stride": 2}),
        ((4, 7), (2, 3), {"padding": (0, 2), "stride": (1, 3), "dilation": (3, 1)}),
        ((40, 7), (5, 1), {}),
        ((48, 50), (3, 3), {"padding": 1, "stride": 2}),
        ((64, 48), (2, 3), {"padding": (0, 2), "stride": (1, 3), "dilation": (3, 1)}),
        ((48, 48), (1, 5), {"padding": (0, 2)}),
    ],
)
@pytest.mark.parametrize("maps", [(6, 40, 37), (13, 6, 5)])  # some lines of one at a time, and eight at once
def test_weight_gradients_are_the_formulas(maps, channels, window, options, layout, four_threads):
    torch.manual_seed(0)
    x = torch.randn(maps[0], channels[0], *maps[1:]).contiguous(memory_format=layout)
    weight = torch.randn(channels[1], channels[0], *window)
    dweights = []
    for dtype in (torch.float32, torch.float64):  # float64 takes the formula
        w = weight.to(dtype, copy=True).requires_grad_()
        layers.conv2d(x.to(dtype), w, **options).square().sum().backward()
        dweights.append(w.grad.double())
    assert (dweights[0] - dweights[1]).abs().max() < 1e-5 * dweights[1].abs().max()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_what_is_not_finite_comes_through(poison, layout):
    x = torch.randn(8, 32, 8, 8).contiguous(memory_format=layout)
    x[1, 2, 3, 4] = poison
    y = layers.batch_norm(x, training=True)
    assert not y[:, 2].isfinite().any()
    assert y[:, 3].isfinite().all()
    assert not layers.layer_norm(x, (8,))[1, 2, 3].isfinite().any()


def test_a_view_with_gaps_is_not_taken_for_a_row():
    x = torch.randn(4, 6, 5, 5)
    assert not loops.is_dense(x[:, ::2])
    maps = x.contiguous(memory_format=torch.channels_last)
    assert loops.is_dense(maps)
    assert loops.as_array(maps, flat=True).tolist() == x.permute(0, 2, 3, 1).flatten().tolist()


def mix(start, stop, x, offset, table, add, scale, weights, nothing, y):
    for i in range(start, stop):
        y[i] = scale * x[i, 1] + table[0] * offset + table[1]
        if add:
            y[i] += weights[i % len(weights)]
        if nothing is not None:
            y[i] = 0


def picky(start, stop, x):
    for i in range(start, stop):
        if x[i] < 0:
            raise ValueError("a negative entry")


def mixed_arguments():
    x = torch.arange(3000.0).view(3, 1000).t()  # neither dense nor C's order
    weights = np.arange(7, dtype=np.int64)
    expected = 0.5 * x[:, 1] + 4 * 3 + 5 + torch.from_numpy(weights).repeat(143)[:1000]
    return [x, 3, (4, 5), True, 0.5, weights, None, torch.empty(1000)], expected


def test_every_kind_of_argument_reaches_a_loop_on_torchs_threads():
    arguments, expected = mixed_arguments()
    assert on_threads.spread(loops.compile_loop(mix), 300, 1000, arguments, flat=False)
    torch.testing.assert_close(arguments[-1], expected)


def test_without_openmp_a_loop_takes_a_pool_of_threads(four_threads, monkeypatch):
    monkeypatch.setattr(on_threads, "gomp_parallel", lambda: None)
    arguments, expected = mixed_arguments()
    loops.run(mix, 1000, *arguments)
    torch.testing.assert_close(arguments[-1], expected)


def test_what_goes_wrong_in_a_share_is_raised(four_threads):
    x = torch.ones(1000)
    loops.run(picky, 1000, x)
    x[900] = -1
    with pytest.raises(ValueError, match="a negative entry"):
        loops.run(picky, 1000, x)


@pytest.mark.parametrize(("rows", "depth", "columns"), [(1, 1, 1), (13, 7, 16), (6, 300, 33), (25, 64, 65)])
@pytest.mark.parametrize(
    "turned", [(False, False), (True, False), (False, True)], ids=["A B", "A^T B", "A B^T"]
)
def test_a_product_by_tiles_is_the_product(rows, depth, columns, turned):
    generator = np.random.default_rng(0)
    a, b = (generator.standard_normal(s).astype(np.float32) for s in ((rows, depth), (depth, columns)))
    a, b = (np.ascontiguousarray(m.T).T if turn else m for m, turn in zip((a, b), turned, strict=True))
    whole = -(-columns // PANEL) * PANEL
    panels, c = np.full(depth * whole, np.nan, np.float32), np.zeros((rows, whole), np.float32)
    loops.compile_loop(pack)(b, panels, depth, 0)
    for times in (1, 2):
        loops.compile_loop(multiply)(a, panels, depth, c[:, :columns], times == 2)
        expected = times * (a.astype(np.float64) @ b)
        np.testing.assert_allclose(c[:, :columns], expected, rtol=1e-4, atol=1e-5 * depth**0.5)
    half = depth // 2
    if half:  # the first rows of B alone
        loops.compile_loop(multiply)(a[:, :half], panels, depth, c[:, :columns], False)
        np.testing.assert_allclose(c[:, :columns], a[:, :half] @ b[:half], rtol=1e-4, atol=1e-4)


def test_only_loops_can_call_an_instruction():
    with pytest.raises(TypeError, match="tile: expected a compiled loop as its caller, got Python"):
        tile(*[0] * 9)


@pytest.mark.slow
def test_tiles_of_wider_vectors_give_the_same(tmp_path):
    """Of 16 numbers, as on processors that have them; LLVM makes two of 8 of each elsewhere."""
    script = """
import torch
torch.backends.cpu.get_cpu_capability = lambda: "AVX512"
from deeprob.layers.kernels import tile
from deeprob.layers import scaled_dot_product_attention
assert (tile.LANES, tile.ROWS) == (16, 12)
torch.manual_seed(0)
q, k, v = (torch.randn(2, 3, 50, 20, requires_grad=True) for _ in range(3))
found = []
for dtype in (torch.float32, torch.float64):
    y = scaled_dot_product_attention(q.to(dtype), k.to(dtype), v.to(dtype))
    found.append([y, *torch.autograd.grad(y.sin().sum(), (q, k, v))])
for got, expected in zip(*found):
    torch.testing.assert_close(got.double(), expected.double(), rtol=1e-4, atol=1e-5)
"""
    here = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", script], check=True, env=here)


@pytest.mark.slow
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_a_layer_gives_on_two_threads_what_it_gives_on_one(layer, monkeypatch):
    spread = on_threads.spread
    refused = []

    def watched(compiled, *rest):
        done = spread(compiled, *rest)
        if not done:
            refused.append(compiled.py_func.__name__)
        return done

    monkeypatch.setattr(loops, "spread", watched)
    before = torch.get_num_threads()
    for sample in layer.samples:
        if sample.size == "bench":
            inputs = measure.track(layer, sample.inputs(Draw(dtype=torch.float32)))
            results = []
            for threads in (1, 2):
                torch.set_num_threads(threads)
                results.append(measure.run(layer.call, (layer, sample), inputs))
            torch.set_num_threads(before)
            measure.agree(*results, 2e-5)
    assert not refused


def test_a_loop_is_compiled_anew_for_what_it_is_made_of_alone():
    folder = Path(loops.__file__).parent
    named = {path.stem for path in loops.sources(folder / "losses.py")}
    assert {"losses", "loops", "exponential", "half", "tile"} <= named
    assert not {"norm", "pool", "winograd"} & named
