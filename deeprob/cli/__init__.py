"""The `deeprob` command: one verb, then Hydra overrides.

Exit codes: 0 done, 1 the run failed, 2 the user's input is wrong, 75 stopped by the scheduler and to be
queued again, 130 stopped by Ctrl-C.
Neither this module nor the help of a verb imports torch, lightning or Hydra, so that help comes at once.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys

from deeprob.cli.help import VERBS, print_help, print_verb_help
from deeprob.cli.streams import endure, lost_output, open_closed
from deeprob.training.signals import watch


def main(arguments: list[str] | None = None) -> int:
    """Run `deeprob <verb> [overrides]`; with None, the process's own arguments. Returns the exit code."""
    own = arguments is None  # the process is ours, and so are its streams
    if own:
        open_closed()
    watch()
    if own:
        endure()
    code = dispatch(sys.argv[1:] if arguments is None else arguments)
    lost = lost_output()
    if lost is not None:
        print(f"deeprob: standard output: {lost}", file=sys.stderr)
    return code if lost is None else code or 1


def dispatch(arguments: list[str]) -> int:
    """Give help, or run the verb. Returns the exit code."""
    if arguments[:1] == ["help"] and len(arguments) > 1:
        arguments = [arguments[1], "--help"]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print_help()
        return 0
    if arguments[0] == "--version":
        from deeprob.version import __version__

        print(f"deeprob {__version__}")
        return 0
    if arguments[0] in ("-sc", "--shell-completion"):
        from deeprob.cli.completion import complete

        return complete(arguments[1:])
    verb, *rest = arguments
    if verb not in VERBS:
        from difflib import get_close_matches

        near = get_close_matches(verb, VERBS, n=1)
        hint = f"did you mean: deeprob {near[0]}?" if near else "list the verbs with: deeprob --help"
        print(f"deeprob: no verb {verb!r}; expected one of {', '.join(VERBS)}; {hint}", file=sys.stderr)
        return 2
    if "-h" in rest or "--help" in rest:
        print_verb_help(verb)
        return 0
    return run_verb(verb, rest)


def run_verb(verb: str, rest: list[str]) -> int:
    """Run one verb and turn what it raises into one line and an exit code."""
    from deeprob.errors import InputError
    from deeprob.writing import DISK

    try:
        os.getcwd()
    except OSError:
        print(f"deeprob {verb}: the working folder is gone; cd to one that is there", file=sys.stderr)
        return 2
    try:
        module = importlib.import_module(f"deeprob.cli.{verb}")
        return int(module.main(rest))
    except InputError as error:
        print(f"deeprob {verb}: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # a folder that went away, a disk that is full: no fault in the program
        full = error.errno in DISK
        if error.filename is None and not full:
            raise
        where = "" if error.filename is None else f"{error.filename}: "
        print(f"deeprob {verb}: {where}{error.strerror}", file=sys.stderr)
        return 1 if full else 2
    except KeyboardInterrupt:
        print(f"\ndeeprob {verb}: stopped; what was finished is kept", file=sys.stderr)
        return 128 + signal.SIGINT
