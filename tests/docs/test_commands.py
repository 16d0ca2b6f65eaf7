"""Every command that a document shows is one that the program accepts."""

import json
import re
import shlex
from pathlib import Path

import pytest

from deeprob.cli.help import VERBS
from deeprob.cli.submit import ACTIONS, split
from deeprob.cluster.tasks import make_tasks
from deeprob.config import CONFIG_DIR, compose, composed_with
from deeprob.schema import SCHEMA

ROOT = Path(__file__).resolve().parents[2]
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md"))]
NEEDED = ("name", "run", "poses")  # by verbs: no config without them
DOCUMENTS = [*TEXTS, *sorted((ROOT / "configs").rglob("*.yaml"))]


def commands():
    for document in DOCUMENTS:
        if document.name == "local.yaml":
            continue
        for line in document.read_text(encoding="utf-8").splitlines():
            match = re.match(r"\s*(?:# |\$ )?(deeprob [a-z]+( .*)?)$", line)
            if match:
                command = re.split(r"\s{2,}#|\s#\s", match[1])[0].strip()
                yield pytest.param(command, id=f"{document.relative_to(ROOT)}: {command}")


def alike_together(param):
    """Sort what shares a composed config side by side, and behind it the commands that forget all of them."""
    (command,) = param.values
    return re.search(r" submit | -m ", command) is not None, command


@pytest.mark.parametrize("command", sorted(commands(), key=alike_together))
def test_a_documented_command_is_accepted(command):
    verb, *arguments = shlex.split(command)[1:]
    assert verb in VERBS
    overrides = [a for a in arguments if not a.startswith("-")]
    if verb == "submit":
        return _check_submission(*overrides)
    if verb not in SCHEMA["root"] or (verb == "train" and overrides[0].startswith("run=")):
        return  # gradcheck and benchmark have no config; a resumed run brings its own
    if "-m" in arguments:
        assert len(make_tasks(verb, overrides, "job")) > 1
    else:
        _check_config(verb, overrides)


def _check_config(verb, overrides):
    """Compose each choice of groups once, and set in it what the commands add."""

    def stands_in_it(override):
        key = override.partition("=")[0]
        return "/" in key or (CONFIG_DIR / key).is_dir() or key in NEEDED

    values = [o for o in overrides if not stands_in_it(o)]
    composed_with(verb, [o for o in overrides if stands_in_it(o)], values)


def _check_submission(action, *overrides):
    own, others = split(action, list(overrides))
    cfg = compose("submit", own)
    if action not in ACTIONS:
        assert make_tasks(action, others, "job", cfg.workers)


def test_the_map_of_the_house_names_every_room():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for room in (p for p in (ROOT / "deeprob").iterdir() if (p / "__init__.py").is_file()):
        assert f"`deeprob/{room.name}/`" in text


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 150


def test_every_link_into_the_repository_leads_somewhere():
    for document in TEXTS:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def shown(metric):
    """A metric as the documents write it."""
    low, high = metric["ci95"]
    return f"{metric['value']:.3f} ({low:.3f} to {high:.3f})"


def committed(name):
    return json.loads((ROOT / "benchmarks" / "results" / "runs" / f"{name}.json").read_text())


def test_the_models_numbers_are_those_of_the_committed_results():
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines() if " MiB |" in line]
    assert len(rows) == 27
    for name, *cells in rows:
        results = committed(name)
        metrics, cost = results["metrics"], results["cost"]
        assert cells == [
            shown(metrics["top1_accuracy"]),
            shown(metrics["balanced_accuracy"]),
            f"{cost['parameters']:,}",
            f"{cost['train_seconds']:.0f} s",
            f"{cost['peak_memory_bytes'] / 2**20:.0f} MiB",
        ]


def test_the_classical_models_numbers_are_those_of_the_committed_results():
    text = (ROOT / "docs" / "classical.md").read_text(encoding="utf-8")
    rows = [
        [c.strip() for c in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| robocup")
    ]
    assert len(rows) == 5
    for name, _, _, *cells in rows:
        metrics, cost = committed(name)["metrics"], committed(name)["cost"]
        expected = [shown(metrics["top1_accuracy"]), shown(metrics["balanced_accuracy"])]
        assert cells == [*expected, f"{cost['parameters']:,}"]


def test_the_readmes_numbers_are_those_of_the_committed_results():
    table = [
        line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if "crops |" in line
    ]
    assert len(table) == 2
    for line in table:
        name, judged_on, top1, balanced, knn, majority, seconds = (
            c.strip() for c in line.strip("|").split("|")
        )
        results = committed(name)
        metrics, baselines = results["metrics"], results["baselines"]
        assert top1 == shown(metrics["top1_accuracy"])
        assert balanced == shown(metrics["balanced_accuracy"])
        assert knn == f"{baselines['knn']['top1_accuracy']['value']:.3f}"
        assert majority == f"{baselines['majority']['top1_accuracy']['value']:.3f}"
        assert f"{metrics['top1_accuracy']['n']:,} crops" in judged_on
        assert seconds == f"{results['cost']['train_seconds']:.0f} s"
