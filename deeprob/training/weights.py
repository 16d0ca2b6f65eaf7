"""The weights a training starts from, and those it leaves alone."""

from __future__ import annotations

import difflib
import fnmatch
import importlib
import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deeprob.errors import InputError
from deeprob.runs import Run

NESTED = ("state_dict", "model_state_dict", "model")  # where files keep a state dict beside other things
PREFIXES = ("", "model.", "module.", "module.model.")  # of our checkpoints, of DistributedDataParallel's
WITHIN = ("", "backbone.body.", "body.", "encoder.")  # where a larger network has a classifier's layers
RENAMED = (
    (re.compile(r"(fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)$"), r"\1.0.\2"),
    (re.compile(r"(rpn\.head\.conv)\.(weight|bias)$"), r"\1.0.0.\2"),
    *((re.compile(rf"mask_head\.mask_fcn{i + 1}\.(weight|bias)$"), rf"mask_head.{i}.0.\1") for i in range(4)),
)
"""How torchvision 0.13 renamed modules of detectors; the files that it offers have the names from before."""


def load_pretrained(model: nn.Module, path: str | Path) -> str:
    """Load into `model` the tensors of `path` that have a name and a shape of its own; say which.

    path: file of a state dict (.pt, .pth, .safetensors), a checkpoint, or a run folder, of which the best
        checkpoint is taken, else the last.
    Returns one line: what was used, left out for its shape, missing from the file, unknown to the model.
    Raises InputError where the file is missing, holds no state dict, or has nothing that fits.
    """
    file = _find(Path(path).expanduser())
    wanted = model.state_dict()
    given = _renamed(read_state_dict(file), wanted)
    used = {name: t for name, t in given.items() if name in wanted and t.shape == wanted[name].shape}
    if used.keys().isdisjoint(name for name, _ in model.named_parameters()):
        raise InputError(
            f"no weights for this model, the file holds {_listed(_shapes(given))}",
            where=file,
            expected=_listed(_shapes(wanted)),
        )
    model.load_state_dict(used, strict=False)
    other_shape = [
        f"{name} {tuple(t.shape)} for {tuple(wanted[name].shape)}"
        for name, t in given.items()
        if name in wanted and name not in used
    ]
    parts = [f"{len(used)} of {len(wanted)} tensors from {file}"]
    for said, names in (
        ("other shape", other_shape),
        ("not in the file", [name for name in wanted if name not in given]),
        ("not in the model", [name for name in given if name not in wanted]),
    ):
        if names:
            parts.append(f"{said}: {_listed(names)}")
    return "; ".join(parts)


def read_state_dict(file: Path) -> dict[str, Tensor]:
    """Name -> tensor of a file. Raises InputError where it is not that."""
    content = _read_safetensors(file) if file.suffix == ".safetensors" else read_tensors(file)
    if isinstance(content, Mapping):
        nested = next((content[k] for k in NESTED if isinstance(content.get(k), Mapping)), content)
        tensors = {str(name): value for name, value in nested.items() if isinstance(value, Tensor)}
        if tensors:
            return tensors
    raise InputError("not a state dict", where=file, expected="a mapping from names to tensors")


def read_tensors(path: Path) -> Any:
    """A file of torch.save: tensors and plain containers only. Raises InputError for any other content."""
    try:
        return torch.load(path, weights_only=True, map_location="cpu")
    except (RuntimeError, EOFError, KeyError, TypeError, OSError, pickle.UnpicklingError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        reason = next((line for line in lines if "GLOBAL" in line), lines[0])
        raise InputError(f"checkpoint cannot be read ({reason})", where=path) from error


def freeze(model: nn.Module, patterns: Sequence[str]) -> None:
    """Leave the parameters whose names match one of the patterns (conv1.*, layer?.0.*) as they are.

    Raises InputError for a pattern that matches nothing, and where nothing is left to train.
    """
    parameters = dict(model.named_parameters())
    for pattern in patterns:
        matched = fnmatch.filter(parameters, pattern)
        if not matched:
            known = [*parameters, *(f"{name}.*" for name, _ in model.named_modules() if name)]
            near = difflib.get_close_matches(pattern, known, n=1, cutoff=0.0)
            raise InputError(
                f"model.freeze: no parameter matches {pattern!r}", fix=f"did you mean {near[0]!r}?"
            )
        for name in matched:
            parameters[name].requires_grad_(False)
    if not any(p.requires_grad for p in parameters.values()):
        raise InputError("model.freeze leaves nothing to train", fix="leave out a pattern")


def keep_frozen_statistics(model: nn.Module) -> None:
    """Put the batch norms whose parameters are all frozen into evaluation: nothing moves their statistics."""
    for module in model.modules():
        if getattr(module, "running_mean", None) is None:
            continue
        own = list(module.parameters(recurse=False))
        if own and not any(p.requires_grad for p in own):
            module.eval()


def head_of(model: nn.Module) -> list[nn.Parameter]:
    """The parameters of the modules that the model's `head_names` lists, else of its last layer."""
    named: Sequence[str] = getattr(model, "head_names", ())
    if named:
        return [p for name in named for p in model.get_submodule(name).parameters()]
    layers = [module for module in model.modules() if any(True for _ in module.parameters(recurse=False))]
    return list(layers[-1].parameters()) if layers else []


def _find(path: Path) -> Path:
    if path.is_dir():
        run = Run.find(path)
        found = next((run.checkpoint(n) for n in ("best", "last") if run.checkpoint(n).is_file()), None)
        if found is None:
            raise InputError("the run has no checkpoint yet", where=path)
        return found
    if not path.is_file():
        raise InputError(
            "no such file", where=path, expected="model.pretrained=<state dict, checkpoint or run folder>"
        )
    return path


def _read_safetensors(file: Path) -> Any:
    try:
        library = importlib.import_module("safetensors.torch")
    except ModuleNotFoundError:
        raise InputError("reading it needs safetensors", where=file, fix="pip install safetensors") from None
    try:
        return library.load_file(file)
    except Exception as error:  # the library has errors of its own, which are not there without it
        raise InputError(f"cannot be read ({error})", where=file) from error


def _renamed(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take off the prefix with which most names are the model's, and give old names their new form."""
    for old, new in RENAMED:
        given = {old.sub(new, name): t for name, t in given.items()}
    candidates = [
        {within + name.removeprefix(prefix): t for name, t in given.items() if name.startswith(prefix)}
        for within in WITHIN
        for prefix in PREFIXES
    ]
    return max(candidates, key=lambda names: len(names.keys() & wanted.keys()))


def _shapes(tensors: Mapping[str, Tensor]) -> list[str]:
    return [f"{name} {tuple(t.shape)}" for name, t in tensors.items()]


def _listed(names: Sequence[str], most: int = 3) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
