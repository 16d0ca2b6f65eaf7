"""Modules are torch.nn's own classes with another forward.

So they have torch.nn's arguments, attributes, parameter names, initial values and representation, and every
tool that asks for torch.nn's class finds them: statistics of batch norms made anew, weights laid out in
channels_last, the groups of an optimiser.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from torch import nn

from ._function import expect

Made = TypeVar("Made", bound=type[nn.Module])


def takes_only(**values: Any) -> Callable[[Made], Made]:
    """Let a module's constructor refuse other values of these arguments, which its forward does not know."""

    def decorate(module: Made) -> Made:
        make: Any = module.__init__

        @wraps(make)
        def make_and_look(self: nn.Module, *args: Any, **options: Any) -> None:
            make(self, *args, **options)
            for name, value in values.items():
                given = getattr(self, name)
                expect(given == value, module.__name__, f"{name}={value!r}", repr(given))

        module.__init__ = make_and_look  # type: ignore[method-assign]
        return module

    return decorate
