"""Write a project card: one page about an experiment's data, network, compute and evaluation.

usage: deeprob card experiment=<name> [card.data.licence=...] [seconds=3] [out=<folder>]

Everything on it comes from the config, from the data, from a few timed training steps on this machine, and
from the experiment's runs, ablations and sweeps where there are any. What none of them can know is asked for
as `card.<key>`, best in the experiment's YAML, and shown as not stated until then. Writes card.html, card.md,
data.jpg and network.svg into runs/cards/<name>/.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main(arguments: list[str]) -> int:
    """Run the verb. Returns the exit code; raises InputError and KeyboardInterrupt."""
    from deeprob.config import hydra_main

    hydra_main("card", card, arguments)
    return 0


def card(cfg: DictConfig) -> None:
    """Write the card that `cfg` asks for, and print where it is and what it still wants to be told."""
    from rich.console import Console

    from deeprob.errors import InputError

    if not cfg.seconds > 0:
        raise InputError(f"seconds={cfg.seconds}", expected="more than 0")
    from omegaconf import OmegaConf

    from deeprob.studies.card.page import missing, write_card

    console = Console(markup=False)
    path = write_card(cfg)
    for key in missing(OmegaConf.to_container(cfg.card)):  # type: ignore[arg-type]
        console.print(f"not stated  {key}", highlight=False)
    console.print(f"card  {path}", highlight=False, soft_wrap=True)
