"""`deeprob graph` as a user types it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deeprob.cli import main

NEURON = ["expression=sigmoid(w0*x0+w1*x1+w2)", "at=w0=2,x0=-1,w1=-3,x1=-2,w2=-3"]


def test_a_formula_is_a_table_of_its_nodes(capsys):
    assert main(["graph", *NEURON]) == 0
    shown = capsys.readouterr().out
    for number in ("0.73", "0.39", "−0.39", "−0.59"):
        assert number in shown


def test_flat_code_that_is_printed_runs(capsys, tmp_path):
    assert main(["graph", *NEURON, "show=flat"]) == 0
    code = capsys.readouterr().out + "print(grad_w0, grad_x1)\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    dw0, dx1 = map(float, done.stdout.split())
    assert (round(dw0, 2), round(dx1, 2)) == (-0.20, -0.59)


@pytest.mark.parametrize(("form", "start"), [("picture", "<svg"), ("page", "<!doctype html>")])
def test_pictures_and_pages_are_written_where_asked(form, start, capsys, tmp_path):
    out = tmp_path / "somewhere" / f"neuron.{form}"
    assert main(["graph", *NEURON, f"show={form}", f"out={out}"]) == 0
    assert out.read_text(encoding="utf-8").startswith(start)
    assert str(out) in capsys.readouterr().out


def test_matrices_and_an_upstream_gradient(capsys):
    at = "at=x=[[2,1,-3],[-3,4,2]],w=[[3,2,1,-1],[2,1,3,2],[3,2,1,-2]]"
    assert main(["graph", "expression=x@w", at, "upstream=[[2,3,-3,9],[-8,1,4,6]]"]) == 0
    assert "−24   9 −30" in capsys.readouterr().out


def test_a_network_is_traced(capsys, tmp_path):
    arguments = ["model=resnet_small", "model.width=4", "input=[3,16,16]", "batch=2"]
    assert main(["graph", *arguments]) == 0
    table = capsys.readouterr().out
    assert "layer1.0.conv1" in table
    assert "no gradient reaches it: layer1.0.conv1" in table
    out = tmp_path / "net.html"
    assert main(["graph", *arguments, "show=page", f"out={out}"]) == 0
    assert 'href="#block-layer1-0"' in out.read_text(encoding="utf-8")


def test_a_jacobian_is_counted_formed_and_drawn(capsys):
    assert main(["graph", "jacobian=relu", "N=2", "D=3"]) == 0
    shown = capsys.readouterr().out
    assert "6 x 6" in shown
    assert "diagonal" in shown
    assert Path("runs/graph/jacobian-relu.svg").is_file()


def test_a_chain_is_counted_and_judged(capsys):
    assert main(["graph", "chain=64,8,8,1"]) == 0
    assert "Reverse mode is" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to show; expected one of expression=... model=... run=... jacobian=... chain=..."),
        (["chain=2,3,4", "jacobian=relu"], "jacobian and chain together"),
        (["expression=x*y", "at=x=1"], "no value for 'y' at column 3; give at='y=...'"),
        (["expression=x*{y", "at=x=1"], "'{' was never closed at column 3"),
        (["expression=x*'y", "at=x=1"], "unterminated string literal"),
        (["expression=x*y", "at=x=[1,2],y=[1,2,3]"], "mul: expected b to broadcast"),
        (["expression=x", "at=x=1", "show=film"], "show=film does not go with this"),
        (["expression=x*2", "at=x=1", "sigmoid=two"], "expected gate or primitives"),
        (["expression=x*2", "at=x=1", "upstream=[1"], "upstream: '[' was never closed at column 1"),
        (["expression=x*2", "at=x=1", "show=picture", "out=/proc/none/x.svg"], "cannot write"),
        (["model=resnet81"], "no model named 'resnet81'"),
        (
            ["model=resnet_small", "input=[4,16,16]", "model.in_channels=3"],
            "the model refuses an input (32, 4, 16, 16)",
        ),
        (["model=resnet_small", "batch=0"], "expected positive"),
        (["chain=1,x"], "chain: cannot read '1,x'"),
        (["jacobian=relu", "show=page"], "expected table picture"),
        (["run=runs/none/such"], "no such run folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, said, capsys):
    assert main(["graph", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_run_shows_its_network_and_its_flow_over_time(capsys, squares_overrides):
    flow = ["callbacks=gradient_flow", "callbacks.gradient_flow.every=2", "evaluation.baselines=[]"]
    assert main(["train", *squares_overrides, "trainer.max_epochs=1", *flow]) == 0
    (run,) = Path("runs/squares").glob("*")
    assert [json.loads(row)["step"] for row in (run / "gradient_flow.jsonl").open()] == [0, 2]
    capsys.readouterr()
    assert main(["graph", f"run={run}", "checkpoint=last", "batch=4"]) == 0
    shown = capsys.readouterr().out
    assert "layer1.0.conv1" in shown
    assert "by a batch of 4" in shown
    assert (run / "plots" / "gradient_flow.svg").read_text(encoding="utf-8").startswith("<svg")


def test_a_runs_network_is_shown_where_its_data_lie_now(capsys, squares_overrides, squares, tmp_path):
    few = ["trainer.max_epochs=1", "evaluation.baselines=[]"]
    assert main(["train", *squares_overrides, *few]) == 0
    (run,) = Path("runs/squares").glob("*")
    squares.rename(tmp_path / "moved")
    assert main(["graph", f"run={run}"]) == 2
    assert f"{squares}: no such folder; set data.root" in capsys.readouterr().err
    assert main(["graph", f"run={run}", f"data.root={tmp_path / 'moved'}"]) == 0
    assert "layer1.0.conv1" in capsys.readouterr().out
    assert main(["graph", "expression=x", "at=x=1", "data=darknet"]) == 2
    assert "data is of a run" in capsys.readouterr().err
