"""Functions of tensors as operations that torch.compile calls and does not look into.

The compiler makes one loop of many operations, but a convolution it only hands on, and for its backward it
sees the formulas of conv.py, without the tiles and the loops that make them fast: those cannot be traced. So
that a compiled model has them too, each is one operation with a name of its own, and so is every other fast
path that beats what the compiler makes of its formula: of attention, pools, samplers and others. The compiler
needs to know nothing of an operation but its results' shapes and layouts, which it is told here.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

Made = TypeVar("Made", Tensor, tuple[Tensor, Tensor], tuple[Tensor, Tensor, Tensor])


class Result(NamedTuple):
    """A result's shape, the tensor that it lies in memory like, planes (NCHW) or pixels, and its dtype.

    None: planes, and the dtype of the first argument.
    """

    shape: Sequence[int]
    like: Tensor | None = None
    dtype: torch.dtype | None = None


def laid_out(x: Tensor, like: Tensor | None) -> Tensor:
    """Return x in planes, or in pixels if that is how `like` is stored."""
    if like is None or like.is_contiguous():
        return x.contiguous()
    return x.movedim(1, -1).contiguous().movedim(-1, 1)


def is_traced(*tensors: Tensor | None) -> bool:
    """Whether all stand for float32 CPU arrays in a graph that runs here; an exported one runs anywhere."""
    if not torch.compiler.is_compiling() or torch.compiler.is_exporting():
        return False
    return all(t is None or (t.device.type == "cpu" and t.dtype is torch.float32) for t in tensors)


def opaque(
    name: str, describe: Callable[..., list[Result]]
) -> Callable[[Callable[..., Made]], Callable[..., Made]]:
    """Make `deeprob::<name>` of a function of tensors.

    describe: the function's results, one or several, from the same arguments, whose memory they do not share.
    """

    def make(function: Callable[..., Made]) -> Callable[..., Made]:
        def run(*given: Any) -> Any:
            inputs = [tuple(i) if isinstance(i, list) else i for i in given]  # loops take no lists
            with torch.no_grad():
                made = function(*inputs)
            parts = [made] if isinstance(made, Tensor) else made
            return joined([laid_out(p, form.like) for p, form in zip(parts, describe(*inputs), strict=True)])

        def fake(*inputs: Any) -> Any:
            some: Tensor = inputs[0]
            forms = describe(*inputs)
            return joined([laid_out(some.new_empty(f.shape, dtype=f.dtype), f.like) for f in forms])

        def joined(results: list[Tensor]) -> Any:
            return results[0] if len(results) == 1 else tuple(results)

        schema = torch.library.infer_schema(function, mutates_args=())
        operation: Any = torch.library.custom_op(f"deeprob::{name}", run, mutates_args=(), schema=schema)
        operation.register_fake(fake)
        return operation  # type: ignore[no-any-return]

    return make
