"""Functions of tensors as operations that torch.compile calls and does not look into.

The compiler makes one loop of many operations, but a convolution it only hands on, and for its backward it
sees the formulas of conv.py, without the tiles and the loops that make them fast: those cannot be traced. So
that a compiled model has them too, each is one operation with a name of its own, and so is the average in
avg_pool.py. The compiler needs to know nothing of it but the result's shape and layout, which follow here
from the first tensor's.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def is_traced(x: Tensor) -> bool:
    """Whether x stands for a float32 CPU array in a graph that runs here; an exported one runs anywhere."""
    return (
        torch.compiler.is_compiling()
        and not torch.compiler.is_exporting()
        and x.device.type == "cpu"
        and x.dtype is torch.float32
    )


def opaque(
    shape: Callable[..., Sequence[int]], keeps_layout: bool
) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Make `deeprob::<name>` of a function of tensors.

    shape: the result's, from the same arguments. keeps_layout: the result lies in memory as the first tensor
    does, planes (NCHW) or pixels (channels_last); if not, as planes.
    """

    def make(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def run(*inputs: Any) -> Tensor:
            with torch.no_grad():
                result = function(*inputs)
            return result.contiguous(memory_format=layout(inputs[0]))

        def describe(*inputs: Any) -> Tensor:
            first: Tensor = inputs[0]
            return first.new_empty(shape(*inputs)).contiguous(memory_format=layout(first))

        def layout(first: Tensor) -> torch.memory_format:
            planes = first.is_contiguous() or not keeps_layout
            return torch.contiguous_format if planes else torch.channels_last

        schema = torch.library.infer_schema(function, mutates_args=())
        operation: Callable[..., Tensor] = torch.library.custom_op(
            f"deeprob::{function.__name__}", run, mutates_args=(), schema=schema
        )
        operation.register_fake(describe)  # type: ignore[attr-defined]
        return operation

    return make
