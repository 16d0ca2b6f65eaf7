"""The help texts, from the verbs' docstrings and the files under configs/, without importing any of them."""

from __future__ import annotations

import ast
import os
from pathlib import Path

from deeprob.environment import shipped

VERBS = {
    "train": "train, evaluate and report one experiment",
    "evaluate": "evaluate a run folder again, on any split",
    "predict": "what a trained run sees in pictures, a video, a bag or a camera",
    "refine": "6-D poses of a file refined by descending the picture",
    "export": "write a trained model as ONNX, torch.export or safetensors",
    "report": "write a run folder's report.html again",
    "card": "one page about a project: data, network, compute, evaluation",
    "sweep": "search for good hyper-parameters, any number of processes together",
    "ablate": "run a list of variants and seeds, and tabulate what each part contributes",
    "submit": "run a verb on a cluster, or in the background: arrays, requeue, status",
    "render": "render a simulated data set to disk",
    "fetch": "download a public data set, check and unpack it",
    "gradcheck": "verify every layer's gradient",
    "benchmark": "measure time and memory against torch.nn",
    "graph": "see gradients flow: formulas, networks, Jacobians, chains",
    "info": "versions, hardware, data, runs, and what is missing for what",
}


def print_help() -> None:
    """Print the overview: every verb with one line."""
    print("usage: deeprob <verb> [key=value ...]\n")
    print("Robot perception training with every gradient written by hand.\n\nverbs:")
    for verb, line in VERBS.items():
        print(f"  {verb:<10} {line}")
    print("\n  deeprob <verb> --help     the verb's keys and choices")
    print("  deeprob --version\n\nfirst steps:\n  deeprob train experiment=quickstart\n  deeprob info")


def print_verb_help(verb: str) -> None:
    """Print the verb's own docstring and what can be chosen in each config group it composes."""
    source = Path(__file__).with_name(f"{verb}.py").read_text(encoding="utf-8")
    print((ast.get_docstring(ast.parse(source)) or VERBS[verb]).strip())
    configs = shipped("configs")
    root = configs / f"{verb}.yaml"
    if not root.is_file():
        return
    groups = [g for g in sorted(os.listdir(configs)) if (configs / g).is_dir()]
    used = [g for g in groups if f"- {g}:" in root.read_text() or f"optional {g}:" in root.read_text()]
    if used:
        print("\nchoices (key=choice):")
    for group in used:
        options = sorted(path.stem for path in (configs / group).glob("*.yaml"))
        print(f"  {group:<11} {' '.join(options)}")
    print(f"\nall keys and their values:  deeprob {verb} --cfg job")
    print("several runs at once:       deeprob train -m key=a,b" if verb == "train" else "", end="")
    print()
