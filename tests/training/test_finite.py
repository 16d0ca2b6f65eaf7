import pytest
import torch

from deeprob.training.finite import NonFiniteError, first_non_finite_gradient, first_non_finite_output


def chain():
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))


def test_the_first_layer_with_a_nan_is_named_not_the_ones_after_it():
    model = chain()
    with torch.no_grad():
        model[0].bias[1] = float("nan")
    assert first_non_finite_output(model, torch.ones(2, 3)) == "layer 0 (Linear)"


def test_a_bad_batch_is_named_before_any_layer():
    assert first_non_finite_output(chain(), torch.tensor([[1.0, float("inf"), 0.0]])) == "the input batch"


def test_finite_outputs_name_nothing_and_leave_no_hook():
    model = chain()
    assert first_non_finite_output(model, torch.ones(2, 3)) is None
    assert not any(module._forward_hooks for module in model.modules())


def test_the_gradient_nearest_the_loss_is_named():
    model = chain()
    model(torch.ones(2, 3)).sum().backward()
    model[0].weight.grad[0, 0] = float("nan")
    model[2].weight.grad[0, 0] = float("inf")
    assert first_non_finite_gradient(model) == "parameter 2.weight"


def test_the_error_names_step_and_place_in_one_line():
    error = str(NonFiniteError(17, "the output of layer fc (Linear)"))
    assert error.startswith("step 17: the output of layer fc (Linear) is not finite")
    assert "\n" not in error


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_norm_that_overflows_is_told_apart(value):
    model = chain()
    model(torch.ones(2, 3)).sum().backward()
    assert "total norm" in first_non_finite_gradient(model)
    model[0].bias.grad[0] = value
    assert first_non_finite_gradient(model) == "parameter 0.bias"
