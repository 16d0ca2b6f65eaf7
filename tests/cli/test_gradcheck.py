import pytest

from deeprob.cli.gradcheck import main
from deeprob.errors import InputError
from deeprob.layers import contract
from deeprob.layers._fast import are_off

MODULE = """
import torch

class Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x @ w

    @staticmethod
    def backward(ctx, dy):
        x, w = ctx.saved_tensors
        return dy @ w.t(), FACTOR * x.t() @ dy
"""


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    def write(name, factor):
        (tmp_path / f"{name}.py").write_text(MODULE.replace("FACTOR", str(factor)))
        monkeypatch.chdir(tmp_path)

    return write


def test_chosen_layers_and_checks_are_proved_and_listed(capsys):
    assert main(["layers=relu", "checks=gradcheck,float64"]) == 0
    printed = capsys.readouterr().out
    assert "relu" in printed
    assert "2 of 2 checks hold" in printed


@pytest.mark.parametrize(("fast", "alone"), [("false", True), ("true", False)])
def test_fast_chooses_what_is_verified(fast, alone, capsys, monkeypatch):
    looked_at = []
    monkeypatch.setattr(
        contract, "verify", lambda layer, check: looked_at.append((check.name, are_off())) or 0.0
    )
    checks = ["checks=gradcheck"] if alone else []
    assert main(["layers=relu", f"fast={fast}", *checks]) == 0
    assert looked_at == [("gradcheck" if alone else "fast_path", alone)]
    assert not are_off()


def test_a_users_right_function_passes(own_module, capsys):
    own_module("right_product", 1)
    assert main(["target=right_product.Product", "inputs=[[4,5],[5,3]]"]) == 0
    assert "fails" not in capsys.readouterr().out


def test_a_users_wrong_function_fails_with_the_entry_and_both_values(own_module, capsys):
    own_module("wrong_product", 2)
    assert main(["target=wrong_product.Product", "inputs=[[4,5],[5,3]]"]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "input 1, entry" in printed
    assert "2 times the right value" in printed


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["layers=convolution"], "no layer 'convolution'"),
        (["checks=speed"], "no check 'speed'"),
        (["fast=yes"], "fast=yes; expected fast=true or fast=false"),
        (["quickly"], "cannot use 'quickly'"),
        (["target=os.path.nothing", "inputs=[[2]]"], "cannot import os.path.nothing"),
        (["target=math.pi", "inputs=[[2]]"], "cannot be called"),
        (["target=math.sin"], "shapes of the inputs are missing"),
        (["target=math.sin", "inputs=4,5"], "cannot read inputs=4,5"),
        (["target=math.sin", "inputs=[[-1]]"], "cannot read inputs"),
        (["inputs=[[2]]"], "goes with target="),
        (["target=math.sin", "layers=relu", "inputs=[[2]]"], "does not go with target="),
    ],
)
def test_arguments_it_cannot_use_are_refused(args, words):
    with pytest.raises(InputError, match=words.replace("[", r"\[").replace("=", "=")):
        main(args)


def test_a_device_that_is_not_here_is_one_line():
    with pytest.raises(InputError, match="no device 'cuda:9' here; expected cpu"):
        main(["layers=relu", "device=cuda:9"])
