"""Functions of tensors as operations that torch.compile calls and does not look into.

The compiler makes one loop of many operations, but a convolution it only hands on, and for its backward it
sees the formulas of conv.py, without the tiles and the loops that make them fast: those cannot be traced. So
that a compiled model has them too, each is one operation with a name of its own, and so is every other fast
path that beats what the compiler makes of its formula: of attention, pools, samplers and others. The compiler
needs to know nothing of an operation but its results' shapes and layouts, which it is told here.
"""

import inspect
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

INTERPRETED = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")
"""Whether numba compiles nothing, for a debugger: Python would run the loops, and the formulas are faster."""


class Result(NamedTuple):
    """A result's shape, the tensor that it lies in memory like, planes (NCHW) or pixels, and its dtype.

    None: planes, and the dtype of the first argument.
    """

    shape: Sequence[int]
    like: Tensor | None = None
    dtype: torch.dtype | None = None


class Operation(NamedTuple):
    """What a compiled graph needs to call a function of tensors as `deeprob::<name>`.

    results: from the same arguments, the function's results, whose memory these do not share;
    fits: whether it is to be called on these arguments; None: on float32 of the CPU.
    """

    name: str
    results: Callable[..., list[Result]]
    fits: Callable[..., bool] | None = None


def laid_out(x: Tensor, like: Tensor | None) -> Tensor:
    """Return x in planes, or in pixels if that is how `like` is stored."""
    if like is None or like.is_contiguous():
        return x.contiguous()
    return x.movedim(1, -1).contiguous().movedim(-1, 1)


def is_traced(*tensors: Any) -> bool:
    """Whether all stand for float32 CPU arrays in a graph that runs here; an exported one runs anywhere."""
    if not torch.compiler.is_compiling() or torch.compiler.is_exporting():
        return False
    return all(t is None or (t.device.type == "cpu" and t.dtype is torch.float32) for t in tensors)


def make_operation(
    operation: Operation, formula: Callable[..., Any], function: Callable[..., Any]
) -> Callable[..., Any]:
    """Return the operation that calls `function`, which takes and returns what `formula` declares.

    An operation's arguments are tensors, numbers and lists of them: a named tuple goes in field by field.
    """
    signature = inspect.signature(formula)
    bundles = {
        place: parameter.annotation
        for place, parameter in enumerate(signature.parameters.values())
        if hasattr(parameter.annotation, "_fields")
    }

    def run(*given: Any) -> Any:
        inputs = packed([tuple(i) if isinstance(i, list) else i for i in given])  # loops take no lists
        with torch.no_grad():
            made = function(*inputs)
        parts = [made] if isinstance(made, Tensor) else made
        forms = operation.results(*inputs)
        return joined([laid_out(p, form.like) for p, form in zip(parts, forms, strict=True)])

    def fake(*given: Any) -> Any:
        some: Tensor = given[0]
        forms = operation.results(*packed(list(given)))
        return joined([laid_out(some.new_empty(f.shape, dtype=f.dtype), f.like) for f in forms])

    def packed(given: list[Any]) -> list[Any]:
        for place, kind in bundles.items():
            given[place : place + len(kind._fields)] = [kind(*given[place : place + len(kind._fields)])]
        return given

    def joined(results: list[Tensor]) -> Any:
        return results[0] if len(results) == 1 else tuple(results)

    def call(*args: Any) -> Any:
        flat: list[Any] = []
        for place, value in enumerate(args):
            if place in bundles:
                flat.extend(value)
            else:
                flat.append(list(value) if isinstance(value, torch.Size) else value)
        return custom(*flat)

    schema = torch.library.infer_schema(flattened(signature), mutates_args=())
    custom: Any = torch.library.custom_op(f"deeprob::{operation.name}", run, mutates_args=(), schema=schema)
    custom.register_fake(fake)
    return call


def flattened(signature: inspect.Signature) -> Callable[..., Any]:
    """Return a function, to be looked at only, with the fields of named tuples as arguments of their own."""
    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        if hasattr(parameter.annotation, "_fields"):
            fields = parameter.annotation.__annotations__.items()
            parameters += [inspect.Parameter(name, parameter.kind, annotation=kind) for name, kind in fields]
        else:
            parameters.append(parameter)

    def looked_at() -> None: ...

    looked_at.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return looked_at
