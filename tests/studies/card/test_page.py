"""The card: what is known stands there, what is not is asked for, nothing is made up."""

import re

import pytest

from deeprob.cli.card import card
from deeprob.config import compose
from deeprob.studies.card.page import missing, size


@pytest.fixture
def written(squares_overrides, tmp_path):
    """Write the card of the squares; further overrides as arguments. Returns the page and the markdown."""

    def write(*overrides):
        cfg = compose("card", [*squares_overrides, "seconds=0.05", *overrides])
        card(cfg)
        folder = tmp_path / "runs" / "cards" / "squares"
        return (folder / "card.html").read_text(encoding="utf-8"), (folder / "card.md").read_text(
            encoding="utf-8"
        )

    return write


def test_what_is_not_stated_is_asked_for_and_what_is_stated_stands_there(written, capsys):
    page, markdown = written("card.data.licence=CC-BY", "card.targets.laptop.memory_gb=16")
    assert "CC-BY" in page
    assert "- Licence: CC-BY" in markdown
    assert "card.data.licence" not in page
    assert "not stated: set <code>card.data.link</code>" in page
    assert "*not stated: set `card.data.link`*" in markdown
    assert "| laptop | *not stated: set `card.targets.laptop.speed`* | fits |" in markdown
    assert "not stated  card.paper.title" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1200])
def test_a_browser_draws_the_card_without_a_word(written, tmp_path, browse, width):
    written()
    look = browse(tmp_path / "runs" / "cards" / "squares" / "card.html", width)
    assert look.console == []
    assert look.overflow <= 0


def test_the_sections_hold_the_facts(written):
    page, markdown = written()
    for section in ("data", "network", "compute", "evaluation", "paper"):
        assert f'<h2 id="{section}">' in page
    assert "| samples | 72 | 36 |" in markdown
    assert "no shared recordings or scenes, no exactly equal images" in markdown
    assert re.search(r"\d+ timed training steps", markdown)
    assert "Not run yet: `deeprob train experiment=squares`" in markdown
    assert page.count("data:image/") == 2
    assert "http:" not in page.replace("http://www.w3.org", "")
    assert "https:" not in page


def test_runs_ablations_and_sweeps_are_found(written, write_run, make_predictions, tmp_path):
    runs = tmp_path / "runs"
    write_run(runs / "squares" / "one", make_predictions(0), 0)
    write_run(runs / "squares" / "two", make_predictions(1), 1)
    for folder in ("ablation-parts/base-seed0-ab", "sweeps/rates/trial-0000", "sweeps/others/trial-0000"):
        (runs / folder).mkdir(parents=True)
        name = "elsewhere" if "others" in folder else "squares"
        (runs / folder / "overrides.txt").write_text(f"experiment={name}\nseed=0\n")
    page, markdown = written()
    assert "Seeds tried: 0, 1" in page
    assert "is " in page
    assert "| top1_accuracy |" in markdown
    assert "sweep rates (begun)" in markdown
    assert "Ablations: parts (begun)" in markdown
    assert "others" not in markdown


def test_missing_keys_are_named_with_their_path():
    found = missing({"question": "why?", "data": {"licence": None}, "targets": {"a": {"speed": None}}})
    assert found == ["card.data.licence"]


@pytest.mark.parametrize(("count", "text"), [(None, "–"), (12, "12 B"), (1500, "1.5 kB"), (2.5e9, "2.5 GB")])
def test_sizes_have_a_unit(count, text):
    assert size(count) == text


def test_what_is_stated_may_be_any_sentence(written):
    said = "own pictures (2,000), CC-BY; taken by hand: {phone}"
    _, markdown = written(f"card.data.licence={said}", "card.targets.laptop.memory_gb=16")
    assert f"- Licence: {said}" in markdown
