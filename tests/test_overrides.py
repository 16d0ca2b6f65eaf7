"""Overrides as people type them, for Hydra, and back into a shell."""

import shlex

import pytest

from deeprob.config import compose, composed_with, quote_text
from deeprob.errors import InputError
from deeprob.overrides import plain, quote, quoted, shell
from deeprob.runs import Run

NAMES = [
    "plain/run-1",
    "küche/läufe",
    "epoch=3-step=12.ckpt",
    "a b",
    " a",
    "a,b",
    "[a]",
    "a[1]",
    "a(copy)",
    "it's",
    'say "x"',
    "back\\slash",
    "ends\\",
    "a~b",
    "#1",
    "50%",
    "x;y&z|w",
    "null",
    "007",
    "1e3",
    "{a}",
    "日本",
    "a:b",
    "$HOME",
    "*",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_printed_command_gives_the_name_back(name):
    (typed,) = shlex.split(shell("paths.runs_dir", name))
    assert composed_with("train", ["name=x"], [typed]).paths.runs_dir == name
    (typed,) = shlex.split(shell("run", name))
    assert plain(typed) == name
    assert composed_with("evaluate", ["run=x"], [typed]).run == name


def test_composing_gives_every_name_back():
    cfg = compose("train", ["name=x", f"model.freeze=[{','.join(quoted(name) for name in NAMES)}]"])
    assert cfg.model.freeze == NAMES


@pytest.mark.parametrize(
    "name",
    [n for n in NAMES if n not in (" a", "a,b", "[a]", "null", "007", "1e3", "{a}")],
)
def test_a_name_may_be_typed_as_it_is(name):
    assert composed_with("evaluate", ["run=x"], [f"run={name}"]).run == name
    changes = [f"data.root={name}", f"model.pretrained={name}"]
    cfg = composed_with("train", ["name=x"], changes)
    assert (cfg.data.root, cfg.model.pretrained) == (name, name)


def test_a_list_of_names_may_have_any_letters():
    cfg = compose("train", ["name=x", "model.freeze=[läufe/a=1, b]"])
    assert cfg.model.freeze == ["läufe/a=1", "b"]


@pytest.mark.parametrize("override", ["model.blocks=[1,2", "model={a: b", "seed='1"])
def test_a_list_that_is_not_closed_stays_a_mistake(override):
    assert quote([override]) == [override]


def test_a_text_with_commas_is_told_how_to_be_typed():
    with pytest.raises(InputError, match=r"data\.root=a,b stands for several runs") as error:
        compose("train", ["name=x", "data.root=a,b"])
    command = str(error.value).rpartition("in quotes: ")[2]
    assert compose("train", ["name=x", *shlex.split(command)]).data.root == "a,b"


def test_a_run_folder_names_itself_for_a_shell(tmp_path):
    run = Run(tmp_path / "läufe" / "it's, (1)")
    assert plain(*shlex.split(run.argument)) == str(run.path)


def test_home_is_expanded_in_paths(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert compose("train", ["name=x", "paths.runs_dir=~/runs"]).paths.runs_dir == "/home/me/runs"


def test_a_folder_of_hydras_has_no_effect_and_says_so():
    with pytest.raises(InputError, match=r"hydra\.run\.dir has no effect.*; set paths\.runs_dir"):
        compose("train", ["name=x", "hydra.run.dir=elsewhere"])


@pytest.mark.parametrize("override", ["experiment=robocup_places", "experiment=robocup,robocup_places"])
def test_a_name_of_earlier_versions_leads_to_that_of_today(override):
    with pytest.raises(InputError, match=r"has another name now; experiment=robocup_coordinates$"):
        compose("train", [override])


def test_a_key_of_earlier_versions_leads_to_that_of_today():
    with pytest.raises(InputError, match=r"another name now; optim\.backbone_lr_factor=0\.1$"):
        compose("train", ["experiment=quickstart", "optim.body_lr_factor=0.1"])


def test_a_key_that_is_there_needs_no_plus():
    with pytest.raises(InputError, match=r"model\.width is there already; leave out the \+: model\.width="):
        compose("train", ["experiment=quickstart", "+model.width=9"])


@pytest.mark.parametrize(
    ("verb", "keys"),
    [
        ("evaluate", "run predictions against out boxes data.root"),
        ("export", "run out"),
        ("graph", "run render out"),
        ("info", "objects sheet"),
        ("predict", "run input boxes detector out"),
        ("refine", "poses out report data.root"),
        ("report", "run runs output base"),
    ],
)
def test_every_path_of_every_verb_may_be_typed_as_it_is(verb, keys):
    name = "läufe [1], b/epoch=3-step=12 {c}.csv"
    for key in keys.split():
        typed = quote_text(verb, [f"{key}={name}"])[-1]
        assert typed.lstrip("+") == f"{key}={quoted(name)}"
