"""docs/extending.md, CONTRIBUTING.md and docs/glossary.md name what there is."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXTENDING = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
KINDS = ("A task", "A layer", "A reader of a data set", "A metric", "A model", "An objective", "A corruption")
PATH = r"`((?:deeprob|configs|tests|docs)/[\w./]+)`"


def rows():
    """The rows of the tables: section, file, what to fill in."""
    for section in EXTENDING.split("\n## ")[1:]:
        for line in section.splitlines():
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            if line.startswith("| `"):
                yield pytest.param(*cells, id=f"{section.splitlines()[0]}: {cells[0]} {cells[1][:30]}")


@pytest.mark.parametrize(("file", "fill"), list(rows()))
def test_every_name_in_a_table_is_in_its_file(file, fill):
    text = (ROOT / file.strip("`")).read_text(encoding="utf-8")
    names = re.findall(r"`([^`]+)`", fill)
    assert names or file.startswith(("`configs", "`tests"))
    # a key of a YAML file is written with dots
    assert [name for name in names if name.split(".")[-1] not in text] == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_table_and_a_command(kind):
    section = EXTENDING.split(f"\n## {kind}\n")[1].split("\n## ")[0]
    assert section.count("\n| `") >= 2
    commands = re.findall(r"^    (.*(?:deeprob|pytest) .*)$", section, re.MULTILINE)
    assert commands
    for command in commands:
        for path in re.findall(r"tests/[\w/.]+", command):
            assert (ROOT / path).exists(), path


@pytest.mark.parametrize(
    "text", [EXTENDING, CONTRIBUTING, GLOSSARY], ids=["extending", "contributing", "glossary"]
)
def test_every_path_exists(text):
    assert [path for path in re.findall(PATH, text) if not (ROOT / path).exists()] == []


def test_every_target_of_make_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^    make (\w+)", CONTRIBUTING, re.MULTILINE)
    assert len(targets) == 5
    assert [target for target in targets if f"\n{target}:" not in makefile] == []


def test_every_word_of_the_glossary_is_used():
    used = {ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "deeprob").rglob("*.py")}
    used.remove(ROOT / "docs" / "glossary.md")
    text = " ".join(path.read_text(encoding="utf-8") for path in used).lower().replace("_", " ")
    words = re.findall(r"^\| (?!word )(.+?) \| ", GLOSSARY.lower().replace("_", " "), re.MULTILINE)
    words = [part for word in words for part in word.split(", ")]
    assert len(words) > 40
    assert [word for word in words if word not in text] == []


def test_contributing_is_one_page():
    assert len(CONTRIBUTING.splitlines()) < 60
