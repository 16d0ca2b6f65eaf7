"""The house itself: imports go one way, names and files are where the map says."""

import ast
import functools
import graphlib
import re
import subprocess
from pathlib import Path

import pytest

from deeprob.metrics import classification, detection, points, pose_matching, segmentation

ROOT = Path(__file__).resolve().parent.parent
# A room may use the rooms of lower rank, and itself.
RANK = {
    "geometry": 0,
    "layers": 0.5,  # the rasteriser is geometry's
    "data": 1,
    "metrics": 2,
    "page": 3,
    "sim": 3,
    "models": 3,
    "graphs": 3,
    "tasks": 4,
    "training": 5,
    "evaluation": 6,
    "deploy": 6,
    "studies": 7,
    "cluster": 8,
    "cli": 9,
}
HALL = {
    "errors",
    "version",
    "writing",
    "runs",
    "config",
    "targets",
    "config_errors",
    "config_files",
    "environment",
    "overrides",
    "progress",
    "records",
    "schema",
}  # open to every room but the layers
GROUND = {"machine_code"}  # uses nothing of deeprob: open to every room


@functools.cache
def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def modules():
    return sorted((ROOT / "deeprob").rglob("*.py"))


def imported_rooms(path):
    for node in ast.walk(tree_of(path)):
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
            allowed = other == room or other in GROUND or (other in HALL and room != "layers")
            allowed = allowed or (other in RANK and RANK[other] < RANK[room])
            if not allowed and other != "__version__":
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports deeprob.{other}")
    assert not wrong, "\n".join(wrong)


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_import_goes_in_a_circle():
    """Imports inside functions count, and those for the type checker alone."""
    paths = {module_name(path): path for path in modules()}
    imported = {name: set() for name in paths}
    for name, path in paths.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ImportFrom):
                above = package.split(".")[: len(package.split(".")) + 1 - node.level]
                base = ".".join([*(above if node.level else ()), *filter(None, [node.module])])
                inner = {f"{base}.{alias.name}" for alias in node.names}
                imported[name] |= (inner & paths.keys()) or ({base} & paths.keys())
            elif isinstance(node, ast.Import):
                imported[name] |= {alias.name for alias in node.names} & paths.keys()
        imported[name].discard(name)
    try:
        graphlib.TopologicalSorter(imported).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))


def imported_at_once(tree):
    """The names that importing a module imports: not those in functions, nor for the type checker alone."""
    todo = list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo += node.orelse
        elif isinstance(node, ast.If | ast.Try | ast.ClassDef):
            todo += node.body


@pytest.mark.parametrize(
    "start", ["evaluation.evaluate", "evaluation.report", "deploy.trained", "deploy.predict", "deploy.export"]
)
def test_what_reads_a_run_starts_without_the_trainer(start):
    """Lightning takes longer to import than torch, and only a training needs it."""
    paths = {module_name(path): path for path in modules()}
    todo, seen = [f"deeprob.{start}"], {}
    while todo:
        name = todo.pop()
        for found in imported_at_once(tree_of(paths[name])):
            assert not found.startswith("lightning"), f"{name}, of {seen.get(name, start)}, imports {found}"
            parts = found.split(".")
            for inner in (".".join(parts[:n]) for n in range(2, len(parts) + 1)):
                if inner in paths and inner not in seen:
                    seen[inner] = name
                    todo.append(inner)


ENGINES = ("data", "page", "training", "evaluation", "studies", "cluster", "cli", "graphs", "schema")
METRICS = {
    *classification.metric_names(10),
    *detection.METRICS,
    *points.METRICS,
    *pose_matching.METRICS,
    *segmentation.METRICS,
} - {"detected"}


def engine_files(suffix):
    return [path for room in ENGINES for path in sorted((ROOT / "deeprob" / room).rglob(f"*{suffix}"))]


def test_no_engine_asks_which_task_it_is():
    """They know the protocol of tasks/base.py; what differs between tasks is a method of theirs."""
    wrong = []
    for path in engine_files(".py"):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Compare):
                sides = [ast.unparse(side) for side in (node.left, *node.comparators)]
                of_task = [bool(re.search(r"""\btask(_name|\.name)?$|\[['"]task['"]\]$""", s)) for s in sides]
                asks = any(of_task) and not all(of_task) and isinstance(node.ops[0], ast.Eq | ast.NotEq)
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
                asks = re.search(r"\w+(Samples|Split)\b", ast.unparse(node.args[1])) is not None
            else:
                continue
            if asks:
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} {ast.unparse(node)}")
    assert not wrong, "\n".join(wrong)


def test_no_engine_names_a_metric():
    """The task says its headline, and its scores say their names; only a page's definitions list them."""
    named = re.compile(rf"\b({'|'.join(sorted(METRICS))})\b")
    wrong = []
    for path in engine_files(".py"):
        if path.name.startswith("definitions"):
            continue
        tree = tree_of(path)
        prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            text = node.value if isinstance(node, ast.Constant) and id(node) not in prose else None
            if isinstance(text, str) and named.search(text):
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} {text}")
    for path in (
        path for path in engine_files(".j2") if path.parent.name != "blocks"
    ):  # those are tasks' own
        wrong += [f"{path.name}: {found[0]}" for found in named.finditer(path.read_text(encoding="utf-8"))]
    assert not wrong, "\n".join(wrong)


def test_layers_import_torch_only():
    allowed = {"torch", "math", "functools", "itertools", "typing", "collections", "dataclasses", "numbers"}
    lazily = {"numba", "numpy"}  # the compiled CPU kernels
    wrong = []
    for path in (ROOT / "deeprob" / "layers").rglob("*.py"):
        if path.parent.name in ("kernels", "contract"):
            continue
        tree = tree_of(path)
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


ASKS_ITSELF = {"render/antialias.py": 5, "render/interpolate.py": 4, "render/rasterize.py": 4}


def test_formulas_hold_no_dispatch():
    """What may take a formula's place is asked for in layers/_fast.py alone; the machine is in kernels/.

    Those who still ask themselves are listed with how often: the list can only shrink.
    """
    asks = re.compile(r"\b(is_plain|is_traced|may_multiply|suits\w*|can_loop|one_pass|run)\(")
    layers = ROOT / "deeprob" / "layers"
    found = {}
    for path in sorted(layers.rglob("*.py")):
        place = path.relative_to(layers)
        if place.parts[0] in ("kernels", "contract", "catalogue", "_fast.py", "_function.py"):
            continue
        if count := len(asks.findall(path.read_text(encoding="utf-8"))):
            found[str(place)] = count
    assert found == ASKS_ITSELF


def test_every_room_in_the_house_is_on_the_map():
    rooms = {p.name for p in (ROOT / "deeprob").iterdir() if p.is_dir() and (p / "__init__.py").is_file()}
    assert rooms <= set(RANK) | HALL | GROUND


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


def test_the_fields_words_are_used():
    """The glossary's left column: terms that the field has another word for."""
    dialect = r"by heart|told apart|surest|knows no |handed over|hopeless|\blent\b"
    wrong = []
    for path in [*modules(), *(ROOT / "docs").glob("*.md"), ROOT / "README.md"]:
        if path.name == "glossary.md":
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if re.search(dialect, line, re.IGNORECASE):
                wrong.append(f"{path.relative_to(ROOT)}:{number} {line.strip()}")
    assert not wrong, "\n".join(wrong)
