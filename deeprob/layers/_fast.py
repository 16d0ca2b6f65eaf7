"""The one dispatch: the formula of a layer, or its faster form where one fits.

    @or_faster(fast.weight_gradient, fast.WEIGHT_GRADIENT)
    def weight_gradient(dy, x, shape, geometry):
        '''The formula, in plain operations of tensors.'''

The faster form takes the same arguments and returns the same results, or None where it does not fit: another
device or dtype, too small, or somebody differentiates the gradient once more. It lives in kernels/, and the
contract holds it to the formula. `with formulas():` switches all of them off.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch

from .kernels.opaque import INTERPRETED, Operation, is_traced, make_operation

Given = ParamSpec("Given")
Made = TypeVar("Made")

ALL, PRODUCTS, NONE = 0, 1, 2  # how many faster forms are off
_off = ALL if INTERPRETED else NONE


@contextmanager
def formulas(products_only: bool = False) -> Iterator[None]:
    """Compute by the formulas alone, inside: to check them, or where the last bits matter.

    products_only: the faster forms that make no matrix products stay on, for tools that count products.
    """
    global _off
    before, _off = _off, min(_off, PRODUCTS if products_only else ALL)
    try:
        yield
    finally:
        _off = before


def are_off() -> bool:
    """Whether all faster forms are off."""
    return _off == ALL


def or_faster(
    fast: Callable[..., Any] | None, operation: Operation | None = None, products: bool = False
) -> Callable[[Callable[Given, Made]], Callable[Given, Made]]:
    """Let `fast` stand in for the formula below where it fits.

    fast: None where there is none, and the operation alone is wanted.
    operation: how a compiled graph calls the two of them, as one operation that it does not look into.
    products: whether `fast` makes matrix products that torch does not see.
    """
    level = PRODUCTS if products else ALL

    def attach(formula: Callable[Given, Made]) -> Callable[Given, Made]:
        @wraps(formula)
        def chosen(*args: Given.args, **options: Given.kwargs) -> Made:
            if _off > level:
                if compiled is not None and torch.compiler.is_compiling() and fits(*args):
                    return compiled(*args)  # type: ignore[no-any-return]
                if fast is not None and (made := fast(*args, **options)) is not None:
                    return made  # type: ignore[no-any-return]
            return formula(*args, **options)

        def fits(*args: Any) -> bool:
            own = None if operation is None else operation.fits
            return is_traced(args[0]) and (own is None or own(*args))

        compiled = None if operation is None else make_operation(operation, formula, chosen)
        return chosen

    return attach
