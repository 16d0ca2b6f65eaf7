"""Each check of the contract fails for a layer that breaks it."""

import pytest
import torch

from deeprob.layers import contract
from deeprob.layers._function import Function
from deeprob.layers.catalogue import Layer, tiny
from deeprob.layers.contract.explain import claims

CHECK = {check.name: check for check in contract.CHECKS}


class Square(Function):
    """A right one, for its breakages to derive from."""

    @staticmethod
    def forward(x):
        return x * x

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx, dy):
        return 2 * ctx.saved_tensors[0] * dy

    @staticmethod
    def tangent(ctx, x_dot):
        return 2 * ctx.saved_tensors[0] * x_dot


class WrongFactor(Square):
    @staticmethod
    def backward(ctx, dy):
        return 3 * ctx.saved_tensors[0] * dy


class WrongTangent(Square):
    @staticmethod
    def tangent(ctx, x_dot):
        return ctx.saved_tensors[0] * x_dot


class WrongSecond(Square):
    @staticmethod
    def backward(ctx, dy):
        return 2 * ctx.saved_tensors[0].detach() * dy


class WritesUpstream(Square):
    @staticmethod
    def backward(ctx, dy):
        return (
            dy.mul_(2 * ctx.saved_tensors[0])
            if not torch.is_grad_enabled()
            else 2 * ctx.saved_tensors[0] * dy
        )


class CallsVendor(Square):
    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return 2 * x * dy + 0 * torch.ops.aten.threshold_backward(dy, x, 0)


class CallsAutograd(Square):
    @staticmethod
    def backward(ctx, dy):
        with torch.enable_grad():
            x = ctx.saved_tensors[0].detach().requires_grad_()
            return torch.autograd.grad(x * x, x, dy)[0]


class WrongDtype(Square):
    @staticmethod
    def forward(x):
        return (x * x).double()


def layer(function):
    return Layer("square", function.apply, lambda x: x * x, [tiny("matrix", lambda d: [d(3, 4)])])


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.name)
def test_a_right_function_passes(check):
    if check.name != "autocast":  # torch's product has its own policy
        contract.verify(layer(Square), check)


@pytest.mark.parametrize(
    ("function", "check"),
    [
        (WrongFactor, "gradcheck"),
        (WrongFactor, "float64"),
        (WrongTangent, "forward_mode"),
        (WrongTangent, "transforms"),
        (WrongSecond, "gradgradcheck"),
        (WritesUpstream, "upstream"),
        (CallsVendor, "hand_written"),
        (CallsAutograd, "hand_written"),
        (WrongDtype, "float32"),
    ],
)
def test_a_wrong_function_is_refuted(function, check):
    with pytest.raises(contract.ContractError, match=f"square, matrix, {check}"):
        contract.verify(layer(function), CHECK[check])


def test_an_error_names_the_input_the_entry_and_the_factor():
    with pytest.raises(
        contract.ContractError, match=r"input 0, entry \(\d, \d\): backward gives .* 1.5 times the right"
    ):
        claims(WrongFactor.apply, [[3, 4]])["gradient, entry by entry"]()


def test_an_upstream_gradient_written_to_is_explained():
    with pytest.raises(contract.ContractError, match="wrote into the upstream gradient of output 0"):
        claims(WritesUpstream.apply, [[3, 4]])["upstream gradient left alone"]()


def test_all_claims_hold_for_a_right_function():
    for claim in claims(Square.apply, [[2, 3]]).values():
        claim()
