"""The pictures of docs/graphs.md and docs/gradients.md are what the commands above them draw."""

import re
import shlex
from pathlib import Path

import pytest

from deeprob.cli import main

ROOT = Path(__file__).resolve().parents[2]
TEXT = "".join((ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in ("graphs", "gradients"))
DRAWN = [
    line.strip()
    for line in TEXT.splitlines()
    if re.match(r"\s+deeprob graph (expression|jacobian)=.*out=docs/images/", line)
]


@pytest.mark.parametrize("command", DRAWN, ids=lambda command: command.rpartition("/")[2])
def test_a_picture_is_what_its_command_draws(command, tmp_path):
    arguments = shlex.split(command)[1:]
    out = next(a for a in arguments if a.startswith("out="))
    committed = ROOT / out.removeprefix("out=")
    assert main([a for a in arguments if a != out] + [f"out={tmp_path / 'drawn.svg'}"]) == 0
    assert (tmp_path / "drawn.svg").read_text(encoding="utf-8") == committed.read_text(encoding="utf-8")


def test_every_picture_of_the_document_has_its_command():
    shown = set(re.findall(r"\]\((images/[\w-]+\.svg)\)", TEXT))
    drawn = {f"images/{command.rpartition('/')[2]}" for command in DRAWN}
    assert shown - drawn == {
        "images/graph-resnet18.svg",
        "images/gradient-flow.svg",
    }  # minutes, and real data
