"""Shell completion, as Hydra offers it, behind the verb.

eval "$(deeprob -sc install=bash)"        then: deeprob train exp<TAB>
"""

from __future__ import annotations

import os

from deeprob.cli.help import VERBS


def complete(arguments: list[str]) -> int:
    """Answer `deeprob -sc install=bash|zsh|fish` and the queries that the installed script sends."""
    from deeprob.config import hydra_main

    line = os.environ.get("COMP_LINE", "")
    words = line.split()
    if arguments and arguments[0].startswith("query=") and (len(words) < 2 or words[1] not in VERBS):
        print(" ".join(VERBS))
        return 0
    verb = words[1] if len(words) > 1 else "train"
    if len(words) > 1:
        os.environ["COMP_LINE"] = line.replace(f" {verb}", "", 1)
    hydra_main(verb, lambda cfg: None, ["-sc", *arguments])
    return 0
