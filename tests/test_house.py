"""The house itself: imports go one way, names and files are where the map says."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# A room may use the rooms of lower rank, and itself.
RANK = {
    "layers": 0,
    "geometry": 0,
    "data": 1,
    "sim": 2,
    "models": 2,
    "graphs": 2,
    "training": 3,
    "evaluation": 4,
    "cluster": 5,
    "cli": 6,
}
HALL = {
    "errors",
    "runs",
    "config",
    "config_errors",
    "config_files",
    "environment",
    "overrides",
    "records",
    "schema",
}  # open to every room but the layers


def modules():
    return sorted((ROOT / "deeprob").rglob("*.py"))


def imported_rooms(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "deeprob" and len(parts) > 1:
                yield parts[1], node.lineno


@pytest.mark.parametrize("room", sorted(RANK))
def test_imports_go_one_way(room):
    wrong = []
    for path in modules():
        parts = path.relative_to(ROOT / "deeprob").parts
        if parts[0] != room:
            continue
        for other, line in imported_rooms(path):
            allowed = other == room or (other in HALL and room != "layers")
            allowed = allowed or (other in RANK and RANK[other] < RANK[room])
            if not allowed and other != "__version__":
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports deeprob.{other}")
    assert not wrong, "\n".join(wrong)


def test_layers_import_torch_only():
    allowed = {"torch", "math", "functools", "itertools", "typing", "collections", "dataclasses", "numbers"}
    lazily = {"numba", "numpy"}  # the compiled CPU kernels
    wrong = []
    for path in (ROOT / "deeprob" / "layers").glob("*.py"):
        if path.name.startswith("kernels"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            for name in names:
                top = name.split(".")[0]
                if top not in allowed | {"deeprob", "__future__", "contextlib", "warnings"} or top in lazily:
                    wrong.append(f"{path.name}:{node.lineno} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_every_room_in_the_house_is_on_the_map():
    rooms = {p.name for p in (ROOT / "deeprob").iterdir() if p.is_dir() and (p / "__init__.py").is_file()}
    assert rooms <= set(RANK) | HALL


def test_no_unfinished_marks():
    wrong = []
    for path in modules():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if re.search(r"\b(TODO|FIXME|XXX|NotImplementedError)\b", line):
                wrong.append(f"{path.relative_to(ROOT)}:{number} {line.strip()}")
    assert not wrong, "\n".join(wrong)


def test_every_config_opens_with_the_command_that_uses_it():
    wrong = []
    for path in sorted((ROOT / "configs").rglob("*.yaml")):
        lines = path.read_text(encoding="utf-8").splitlines()
        first = lines[1] if lines[0].startswith("# @package") else lines[0]
        if not first.startswith("# deeprob "):
            wrong.append(str(path.relative_to(ROOT)))
    assert not wrong, wrong


def test_no_machine_paths_or_secrets_are_tracked():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    wrong = []
    for name in set(listed.stdout.splitlines()) - {"tests/test_house.py"}:
        path = ROOT / name
        if path.suffix in {".png", ".jpg", ".npz", ".npy"} or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        if re.search(r"/(work|root|home/[a-z]+)/(main|shared|\.pyenv)", text):
            wrong.append(name)
    assert not wrong, wrong
