"""See every gradient flow: a formula, a network, a run, a Jacobian, a chain of them, or a rendered picture.

usage: deeprob graph expression='(x+y)*z' at='x=-2,y=5,z=-4' [show=table|flat|picture|page]
       deeprob graph model=resnet18 [input=[3,32,32]] [batch=32] [show=table|picture|page] [depth=1]
       deeprob graph run=<run folder> [checkpoint=best|last] [data.root=<folder>] [show=...]
       deeprob graph jacobian=linear N=64 D=4096 M=4096
       deeprob graph chain=4096,512,512,1
       deeprob graph render=<mesh file, or mug, teddy, ...> [pixel=[u,v]] [show=table|picture|page]

A picture is an SVG, a page one HTML file that is gone through by keyboard; out=<file> says where to.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeprob.errors import InputError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from deeprob.graphs.trace import Trace
    from deeprob.runs import Run

SUBJECTS = ("expression", "model", "run", "jacobian", "chain", "render")


def main(arguments: list[str]) -> int:
    """Run the verb. Returns 0; raises InputError."""
    from deeprob.config import hydra_main

    hydra_main("graph", show, arguments)
    return 0


def show(cfg: DictConfig) -> None:
    """Show what the config asks for. Raises InputError unless it asks for exactly one thing."""
    asked = [name for name in SUBJECTS if cfg[name] is not None]
    if len(asked) != 1:
        what = f"{' and '.join(asked)} together" if asked else "nothing to show"
        raise InputError(what, expected="one of " + " ".join(f"{name}=..." for name in SUBJECTS))
    if cfg.data is not None and (cfg.run is None or set(cfg.data) != {"root"}):
        raise InputError("data is of a run", expected="run=<run folder> data.root=<where its data lie now>")
    {
        "expression": show_expression,
        "model": show_model,
        "run": show_run,
        "jacobian": show_jacobian,
        "chain": show_chain,
        "render": show_render,
    }[asked[0]](cfg)


def show_expression(cfg: DictConfig) -> None:
    """A formula: table of its nodes, flat code, picture or stepping page."""
    from deeprob.graphs import Graph, flat_code, parse, parse_values
    from deeprob.graphs.expression import parse_value
    from deeprob.graphs.graph import as_tensor
    from deeprob.graphs.page import step_page
    from deeprob.graphs.picture import draw

    form = _form(cfg, ("table", "flat", "picture", "page"))
    if cfg.sigmoid not in ("gate", "primitives"):
        raise InputError(f"sigmoid={cfg.sigmoid}", expected="gate or primitives")
    graph = Graph(parse(cfg.expression, primitives=cfg.sigmoid == "primitives"))
    graph.forward(**(parse_values(cfg.at) if cfg.at.strip() else {}))
    upstream = None
    if cfg.upstream is not None:
        upstream = as_tensor(parse_value(cfg.upstream, "upstream"), "upstream")
    graph.backward(upstream)
    if form == "flat":
        print(flat_code(graph, upstream), end="")
    elif form == "table":
        _print_nodes(graph)
    else:
        make: Callable[..., str] = draw if form == "picture" else step_page
        _write(cfg, make(graph, cfg.expression), "expression", form)


def show_model(cfg: DictConfig) -> None:
    """A network of the model group, at its random start, on random inputs and classes."""
    import torch

    from deeprob.graphs.trace import trace
    from deeprob.schema.models import constructed
    from deeprob.targets import build

    form = _form(cfg, ("table", "picture", "page"))
    if cfg.batch < 1 or cfg.num_classes < 1 or min(cfg.input, default=1) < 1:
        raise InputError(
            f"batch={cfg.batch} num_classes={cfg.num_classes} input={cfg.input}", expected="positive"
        )
    torch.manual_seed(cfg.seed)
    model = build(constructed(cfg.model), cfg.allowed_targets, num_classes=cfg.num_classes)
    found = trace(model, torch.randn(cfg.batch, *cfg.input))
    title = str(cfg.model._target_).rpartition(".")[2]
    _show_network(cfg, found, form, f"{title}, random start, random inputs and classes")


def show_run(cfg: DictConfig) -> None:
    """The network of a run folder on a batch of its own data; its flow over time, where it was recorded."""
    from deeprob.runs import Run

    form = _form(cfg, ("table", "picture", "page"))
    run = Run.find(cfg.run)
    import torch

    from deeprob.cli.evaluate import places_of
    from deeprob.data.batches.batch import map_tensors
    from deeprob.graphs.trace import trace
    from deeprob.targets import build
    from deeprob.tasks.base import OncePerInput
    from deeprob.training.experiment import load

    experiment = load(run, cfg.checkpoint, list(cfg.allowed_targets), places=places_of(cfg))
    data, task, model = experiment.data, experiment.task, experiment.model.train()
    few = data.split("train").take(torch.arange(min(cfg.batch, len(data.split("train")))))
    batch = map_tensors(next(iter(data.loader_of(few))), lambda tensor: tensor.to(experiment.device))
    objective = build(experiment.cfg.objective, list(cfg.allowed_targets))

    def loss(outputs: Any) -> torch.Tensor:
        total: torch.Tensor = objective(task, OncePerInput(model, batch[0], outputs), batch).total
        return total

    found = trace(model, batch[0], loss=loss)
    _show_network(cfg, found, form, f"{run.experiment} {run.run_id}, {cfg.checkpoint} checkpoint")
    _show_history(cfg, run)


def show_jacobian(cfg: DictConfig) -> None:
    """What a Jacobian would take, what the product with it takes, and a small one as a picture."""
    from rich.console import Console

    from deeprob.graphs.jacobian import MOST_CELLS, draw_pattern, form, measure_product

    _form(cfg, ("table", "picture"))
    name, sizes = cfg.jacobian, (cfg.N, cfg.D, cfg.M)
    product = measure_product(name, *sizes, cfg.seed)
    console = Console(highlight=False, soft_wrap=True)
    for of, explicit in product.explicit_bytes.items():
        console.print(f"explicit dy/d{of}: {_bytes(explicit)} in float32, never formed")
    console.print(
        f"implicit product with dy {product.output_shape}: all arrays together "
        f"{_bytes(product.implicit_bytes)}, backward {1e3 * product.seconds:.3g} ms"
    )
    formed = form(name, *sizes, cfg.seed)
    if formed is None:
        console.print("too large to form; a small one: N=2 D=5 M=4")
        return
    rows, columns = formed.matrix.shape
    console.print(
        f"dy/dx formed by forward mode: {rows} x {columns}, {100 * formed.nonzero:.1f} % not zero; "
        f"{formed.words}"
    )
    console.print(f"J^T dy against the layer's backward: relative error {formed.error:.1e}")
    if max(rows, columns) <= MOST_CELLS or cfg.show == "picture":
        _write(cfg, draw_pattern(formed, f"dy/dx of {name}"), f"jacobian-{name}", "picture")


def show_chain(cfg: DictConfig) -> None:
    """Reverse, forward and the best order of a chain, counted and measured."""
    from rich.console import Console
    from rich.table import Table

    from deeprob.graphs.modes import chain_orders, verdict

    _form(cfg, ("table",))
    try:
        sizes = [int(part) for part in cfg.chain.strip("[]").split(",")]
    except ValueError:
        raise InputError(
            f"cannot read {cfg.chain!r}", where="chain", expected="whole numbers, as 4096,512,512,1"
        ) from None
    orders = chain_orders(sizes)
    table = Table("order", "product", "multiplications", "measured ms")
    for order in orders:
        seconds = f"{1e3 * order.seconds:.3g}" if order.seconds is not None else "too large to measure"
        table.add_row(order.name, order.formula, f"{order.multiplications:,}", seconds)
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    console.print(verdict(sizes, orders))


def show_render(cfg: DictConfig) -> None:
    """A picture of an object, how it changes with six motions, and one pixel of it read back."""
    from rich.console import Console
    from rich.table import Table

    from deeprob.graphs.rendered import MOTIONS, UNITS, Scene, drawing, page, read_back
    from deeprob.page.pictures import data_uri
    from deeprob.sim.objects import EVERYDAY, load_objects
    from deeprob.sim.settings import ObjectSettings

    form = _form(cfg, ("table", "picture", "page"))
    if len(cfg.pixel) not in (0, 2):
        raise InputError(f"pixel={list(cfg.pixel)}", expected="[u,v]: column and row")
    path = Path(cfg.render).expanduser()
    if path.is_file():
        chosen = ObjectSettings(folder=str(path))
    elif cfg.render in EVERYDAY:
        chosen = ObjectSettings(names=[cfg.render])
    else:
        expected = f"a mesh's file, or {', '.join(EVERYDAY)}"
        raise InputError(f"no object called {cfg.render}", where="render", expected=expected)
    (model,) = load_objects(chosen)
    scene = Scene.of(model.mesh)
    reading = read_back(scene, (cfg.pixel[0], cfg.pixel[1]) if cfg.pixel else None)
    title = f"{model.name}: how its picture follows it"
    if form == "table":
        u, v = reading.pixel
        table = Table("motion", f"d {reading.name}({u}, {v})", title=title, title_justify="left")
        for name, unit, d in zip(MOTIONS, UNITS, reading.d.tolist(), strict=True):
            table.add_row(name, f"{d:.4g} per {unit}")
        Console(highlight=False, soft_wrap=True).print(table)
        return
    make: Callable[..., str] = drawing if form == "picture" else page
    _write(cfg, make(scene, reading, title, data_uri), "render", form)


def _show_network(cfg: DictConfig, found: Trace, form: str, title: str) -> None:
    from rich.console import Console
    from rich.table import Table

    from deeprob.graphs.network import HEADER, draw_network, mistakes_of, network_page, rows, summary

    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = 200  # a file or a pipe has room for whole names
    mistakes = mistakes_of(found)
    if form == "table":
        table = Table(*HEADER[:-1], title=title, title_justify="left")
        for column in table.columns[3:]:
            column.justify = "right"
        for column in table.columns:
            column.no_wrap = True
        for row in rows(found):
            table.add_row(*row)
        console.print(table)
    console.print(summary(found))
    same: dict[str, list[str]] = {}
    for layer, told in zip(found.layers, mistakes, strict=True):
        for line in told:
            same.setdefault(line, []).append(layer.name)
    for line, names in same.items():
        console.print(f"{line}: {', '.join(names)}")
    if form == "picture":
        _write(cfg, draw_network(found, title, depth=cfg.depth), "network", form)
    elif form == "page":
        _write(cfg, network_page(found, title, [summary(found)]), "network", form)


def _show_history(cfg: DictConfig, run: Run) -> None:
    from deeprob.graphs.history import draw_history, read_history

    history = read_history(run)
    if history:
        path = run.plots / "gradient_flow.svg"
        _write_to(path, draw_history(history, f"gradient flow of {run.experiment} {run.run_id}"))


def _print_nodes(graph: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    from deeprob.graphs.graph import value_of
    from deeprob.graphs.picture import lines_of, symbol

    table = Table("node", "gate", "reads", "value", "gradient")
    names = {node: node.name or f"s{i}" for i, node in enumerate(graph.gates)}
    for node in graph.nodes:
        if node.constant is not None:
            continue
        reads = ", ".join(names.get(o, o.label) for o in node.operands)
        gradient = "\n".join(lines_of(node.grad)) if node.grad is not None else ""
        gate = symbol(node) if node.gate else "input"
        table.add_row(names.get(node, node.label), gate, reads, "\n".join(lines_of(value_of(node))), gradient)
    Console(highlight=False, soft_wrap=True).print(table)


def _form(cfg: DictConfig, forms: tuple[str, ...]) -> str:
    if cfg.show is not None and cfg.show not in forms:
        raise InputError(f"show={cfg.show} does not go with this", expected=" ".join(forms))
    return cfg.show or forms[0]


def _write(cfg: DictConfig, text: str, name: str, form: str) -> None:
    suffix = ".svg" if form == "picture" else ".html"
    _write_to(
        Path(cfg.out).expanduser() if cfg.out else Path(cfg.paths.runs_dir) / "graph" / f"{name}{suffix}",
        text,
    )


def _write_to(path: Path, text: str) -> None:
    from deeprob.writing import write_text

    try:
        write_text(path, text)
    except OSError as error:
        raise InputError(f"cannot write ({error.strerror})", where=path) from error
    print(f"written to {path}")


def _bytes(count: int) -> str:
    for unit, size in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.4g} {unit}"
    return f"{count} bytes"
