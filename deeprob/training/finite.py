"""Where a NaN or an infinity first appeared."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class NonFiniteError(RuntimeError):
    """Training met a NaN or an infinity and stopped before the weights took it in."""

    def __init__(self, step: int, what: str) -> None:
        super().__init__(
            f"step {step}: {what} is not finite; the last good weights are in checkpoints/; "
            "lower optim.optimizer.lr, set trainer.gradient_clip_val, or check the data"
        )


@torch.no_grad()
def first_non_finite_output(model: nn.Module, images: Tensor) -> str | None:
    """Run the batch once more and name the first layer whose output is not finite; None where all are.

    The input itself is named where it is already not finite.
    """
    if not torch.isfinite(images).all():
        return "the input batch"
    found: list[str] = []

    def watch(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            if not found and isinstance(output, Tensor) and not torch.isfinite(output).all():
                found.append(f"layer {name} ({type(module).__name__})")

        return module.register_forward_hook(hook)

    leaves = ((name, module) for name, module in model.named_modules() if not any(module.children()))
    handles = [watch(name, module) for name, module in leaves]
    try:
        with torch.compiler.set_stance("force_eager"):  # a compiled graph does not see the hooks
            model(images)
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None


def first_non_finite_gradient(model: nn.Module) -> str:
    """The parameter nearest the loss whose gradient is not finite: backward met it first."""
    for name, parameter in reversed(list(model.named_parameters())):
        if parameter.grad is not None and not torch.isfinite(parameter.grad).all():
            return f"parameter {name}"
    return "the parameters' total norm (each is finite, their sum of squares is not)"
