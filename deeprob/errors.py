"""The one way to tell a user what is wrong with what they gave."""


class InputError(ValueError):
    """A mistake in the user's input: told in one line, without a traceback, exit code 2.

    The line reads: where: what; expected ...; fix. Only `what` is required.
    """

    def __init__(
        self, what: str, *, where: object = None, expected: object = None, fix: str | None = None
    ) -> None:
        line = f"{where}: {what}" if where is not None else what
        if expected is not None:
            line += f"; expected {expected}"
        if fix is not None:
            line += f"; {fix}"
        super().__init__(" ".join(line.split()))  # a message from below may hold newlines: still one line

    def __reduce__(self) -> tuple[object, ...]:
        """Cross a process boundary as the finished line."""
        return (InputError, (str(self),))
