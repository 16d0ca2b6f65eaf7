"""The card as a page and as markdown, from the same facts."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from deeprob import environment
from deeprob.page import pages
from deeprob.studies.card.compute import compute_facts, duration, network_facts, on_target
from deeprob.studies.card.data import data_facts, write_sheet
from deeprob.studies.card.evidence import find_evidence
from deeprob.targets import admitted, locate
from deeprob.training.sources import make_data
from deeprob.writing import write_text

SIZES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def write_card(cfg: DictConfig) -> Path:
    """Gather the facts of the root config of `deeprob card`, and write card.html, card.md and their pictures.

    Returns the page's path. Raises InputError where the data or the network are not there.
    """
    out = Path(cfg.out).expanduser()
    data = make_data(cfg)
    root = Path(cfg.data.root).expanduser()
    facts = data_facts(data, root)
    network = network_facts(cfg, data)
    compute = compute_facts(cfg, data, network, cfg.seconds)
    sheet = write_sheet(data, out / "data.jpg")
    if network.drawing:
        write_text(out / "network.svg", network.drawing)
    card: dict[str, Any] = OmegaConf.to_container(cfg.card, resolve=True)  # type: ignore[assignment]
    card["network"]["strategy"] = strategy_of(cfg)
    evidence = find_evidence(Path(cfg.paths.runs_dir), cfg.name, admitted(cfg))
    machine = environment.describe()
    targets, here = {}, {}
    if compute is not None:
        targets = {name: on_target(of, compute, facts.bytes_on_disk) for name, of in card["targets"].items()}
        free = shutil.disk_usage(_existing(Path(cfg.paths.runs_dir))).free
        here = {
            "memory_fits": compute.memory_bytes <= machine["memory_bytes"],
            "disk_fits": compute.checkpoint_bytes <= free,
        }
    context = {
        "name": cfg.name,
        "card": card,
        "data": facts,
        "network": network,
        "compute": compute,
        "evidence": evidence,
        "evaluation": OmegaConf.to_container(cfg.evaluation),
        "machine": machine,
        "here": here,
        "targets": targets,
        "optimiser": str(cfg.optim.optimizer._target_).rpartition(".")[2],
        "learning_rate": cfg.optim.optimizer.get("lr"),
        "schedule": str(cfg.optim.schedule._target_).rpartition(".")[2],
        "objective": str(cfg.objective._target_).rpartition(".")[2],
        "batch_size": cfg.data.batch_size,
        "sheet": _data_uri(out / "data.jpg", "image/jpeg") if sheet else "",
        "drawing": _data_uri(out / "network.svg", "image/svg+xml") if network.drawing else "",
        "missing": missing(card),
        "duration": duration,
        "size": size,
    }
    terms = {*evidence.results.get("metrics", {}), *cfg.evaluation.baselines, "ci95", "parameters"}
    terms |= {"flops_per_sample", "leakage"}
    path = out / "card.html"
    write_text(path, pages.render("card.html.j2", terms, context))
    write_text(out / "card.md", pages.render("card.md.j2", (), context))
    return path


def strategy_of(cfg: DictConfig) -> str:
    """How the network is trained, by the config, and why, where the card says that."""
    objective = locate(str(cfg.objective._target_), cfg.allowed_targets)
    said = [str(getattr(objective, "strategy", "Supervised"))]
    if getattr(objective, "needs_labels", True):
        said.append(f"{100 * cfg.data.labelled:g} % of the training samples have labels")
    if cfg.data.unlabelled:
        said.append(f"unlabelled samples of {cfg.data.unlabelled}")
    if cfg.model.get("pretrained"):
        said.append(f"from the weights of {cfg.model.pretrained}")
    own = cfg.card.network.strategy
    return f"{'; '.join(said)}." + (f" {own}" if own else "")


def missing(card: dict[str, Any], prefix: str = "card") -> list[str]:
    """The keys of the card that say nothing, with dots between the levels; targets are a choice."""
    found = []
    for key, value in card.items():
        if key == "targets":
            continue
        if isinstance(value, dict):
            found += missing(value, f"{prefix}.{key}")
        elif value is None:
            found.append(f"{prefix}.{key}")
    return found


def size(count: float | None) -> str:
    """Bytes with their unit; a dash where not known."""
    if count is None:
        return "–"
    for unit, name in SIZES:
        if count >= unit:
            return f"{count / unit:,.1f} {name}"
    return f"{count:.0f} B"


def _existing(path: Path) -> Path:
    """The nearest folder above that is there."""
    path = path.absolute()
    while not path.is_dir():
        path = path.parent
    return path


def _data_uri(path: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
