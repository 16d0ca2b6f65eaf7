"""Two processes with a part of the batch each, against one process over the whole batch."""

import os
import subprocess
import sys

import pytest
import torch

from deeprob import layers
from deeprob.layers.sync_batch_norm import convert

PART = """
import sys
import torch
import torch.distributed as dist
from deeprob.layers.sync_batch_norm import SyncBatchNorm, sync_batch_norm

rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
given = torch.load(f"{folder}/given.pt")
rows = slice(0, 2) if rank == 0 else slice(2, None)  # unequal parts
x = given["x"][rows].requires_grad_()
norm = SyncBatchNorm(4, momentum=given["momentum"]).to(x.dtype)
norm.load_state_dict(given["state"])
y = norm(x)
dx, dw, db = torch.autograd.grad(y, [x, norm.weight, norm.bias], given["dy"][rows], create_graph=True)
found = {"y": y, "dx": dx, "state": norm.state_dict()}
dist.all_reduce(dw.data), dist.all_reduce(db.data)
found |= {"dw": dw, "db": db}
ddx, = torch.autograd.grad(dx, x, given["ddx"][rows])
found["ddx"] = ddx
with torch.autograd.forward_ad.dual_level():
    dual = torch.autograd.forward_ad.make_dual(x.detach(), given["ddx"][rows])
    y_dot = sync_batch_norm(dual, None, None, norm.weight.detach(), None, True)
    found["y_dot"] = torch.autograd.forward_ad.unpack_dual(y_dot).tangent
plain = x.detach().requires_grad_()
sync_batch_norm(plain, None, None, norm.weight.detach(), None, True).backward(given["dy"][rows])
found["fast dx"] = plain.grad
norm.eval()
found["evaluated"] = norm(x)
detached = {k: v if k == "state" else v.detach() for k, v in found.items()}
torch.save(detached, f"{folder}/found-{rank}.pt")
dist.barrier()
dist.destroy_process_group()
"""


CASES = {"float64": (torch.float64, 0.1), "float32": (torch.float32, None)}


@pytest.fixture(scope="module", params=["float64", pytest.param("float32", marks=pytest.mark.slow)])
def both(request, tmp_path_factory):
    """Give what one process gets of the whole batch, and what two get of its parts."""
    dtype, momentum = CASES[request.param]
    folder = tmp_path_factory.mktemp("processes")
    draw = torch.Generator().manual_seed(0)
    x, dy, ddx = (torch.randn(5, 4, 3, 2, dtype=torch.float64, generator=draw).to(dtype) for _ in range(3))
    x = x * 2 + 3
    norm = layers.BatchNorm2d(4, momentum=momentum).to(dtype)
    torch.nn.init.normal_(norm.weight, generator=draw)
    state = {k: v.clone() for k, v in norm.state_dict().items()}
    torch.save({"x": x, "dy": dy, "ddx": ddx, "state": state, "momentum": momentum}, folder / "given.pt")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PART, str(rank), str(folder)],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for rank in range(2)
    ]
    for process in processes:
        _, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
    x.requires_grad_()
    y = norm(x)
    dx, dw, db = torch.autograd.grad(y, [x, norm.weight, norm.bias], dy, create_graph=True)
    whole = {"y": y, "dx": dx, "fast dx": dx, "dw": dw, "db": db, "state": norm.state_dict()}
    (whole["ddx"],) = torch.autograd.grad(dx, x, ddx)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x.detach(), ddx)
        y_dot = layers.batch_norm(dual, None, None, norm.weight.detach(), None, True)
        whole["y_dot"] = torch.autograd.forward_ad.unpack_dual(y_dot).tangent
    whole["evaluated"] = norm.eval()(x)
    return whole, [torch.load(folder / f"found-{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("what", ["y", "dx", "fast dx", "ddx", "y_dot", "evaluated"])
def test_the_parts_together_are_the_whole_batchs(both, what):
    whole, parts = both
    torch.testing.assert_close(torch.cat([part[what] for part in parts]), whole[what].detach())


@pytest.mark.parametrize("what", ["dw", "db", "state"])
def test_parameters_and_statistics_are_the_whole_batchs_in_each_process(both, what):
    whole, parts = both
    for part in parts:
        torch.testing.assert_close(part[what], whole[what], rtol=1e-5, atol=1e-5)


def test_conversion_keeps_names_parameters_and_statistics():
    model = torch.nn.Sequential(layers.Conv2d(3, 4, 3), layers.BatchNorm2d(4), layers.BatchNorm1d(4))
    before = model.state_dict()
    parameters = list(model.parameters())
    converted = convert(model)
    assert [type(module).__name__ for module in converted] == ["Conv2d", "SyncBatchNorm", "SyncBatchNorm"]
    assert all(a is b for a, b in zip(converted.parameters(), parameters, strict=True))
    assert list(converted.state_dict()) == list(before)
    assert isinstance(convert(layers.BatchNorm2d(3)), layers.SyncBatchNorm)
