"""A trained network run by onnxruntime: the same outputs to rounding, all else as before."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from deeprob.deploy.export import quiet, session_of, to_onnx
from deeprob.errors import InputError
from deeprob.training.experiment import Experiment
from deeprob.training.inference import for_inference, inputs_like
from deeprob.writing import atomic_file

ENGINES = ("torch", "onnxruntime")


class RuntimeModel:
    """A network whose forward pass is onnxruntime's. Everything else, such as `detect`, is the network's own.

    memory_format: of the images it takes. example: inputs of any batch. cache: the file to keep the graph in;
    None keeps none. Raises InputError where the network cannot be exported.
    """

    memory_format = torch.contiguous_format

    def __init__(self, model: nn.Module, example: Tensor, cache: Path | None = None) -> None:
        self.model = model
        example = torch.cat([example, example]) if len(example) == 1 else example
        with torch.no_grad():
            leaves, self._structure = pytree.tree_flatten(model(example))
        # What is the same for every batch, such as where a detector's cells lie, stays outside.
        self._changing = [t is not None and bool(t.dim()) and len(t) == len(example) for t in leaves]
        self._fixed = leaves
        self._session: Any = None if cache is None else _kept(cache)
        if self._session is None:
            content = _exported(model, example, [i for i, c in enumerate(self._changing) if c])
            if cache is not None:
                with contextlib.suppress(OSError), atomic_file(cache, "wb") as file:
                    file.write(content)  # what can be kept nowhere is made again
            self._session = session_of(content)

    def __call__(self, inputs: Tensor) -> Any:
        found = self._session.run(None, {"input": inputs.contiguous().numpy()})
        given = iter(found)
        pairs = zip(self._fixed, self._changing, strict=True)
        leaves = [torch.from_numpy(next(given)) if changes else fixed for fixed, changes in pairs]
        return pytree.tree_unflatten(leaves, self._structure)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)


def _kept(cache: Path) -> Any:
    """A session on a graph that was kept; None where there is none, or it is damaged."""
    try:
        return session_of(cache.read_bytes())
    except InputError:  # no onnxruntime
        raise
    except Exception:  # onnxruntime has errors of its own for each thing that a file can lack
        return None


class _Changing(nn.Module):
    """The outputs that depend on the batch, in a row."""

    def __init__(self, model: nn.Module, chosen: list[int]) -> None:
        super().__init__()
        self.model, self.chosen = model, chosen

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        leaves = pytree.tree_leaves(self.model(inputs))
        return tuple(leaves[i] for i in self.chosen)


def _exported(model: nn.Module, example: Tensor, chosen: list[int]) -> bytes:
    shapes = ({0: torch.export.Dim("batch", min=1)},)
    with quiet(), torch.no_grad():
        try:
            program = torch.export.export(
                _Changing(model, chosen), (example,), dynamic_shapes=shapes, strict=False
            )
            return to_onnx(program, None, None)
        except InputError:
            raise
        except Exception as error:
            why = str(error).strip().partition("\n")[0]
            raise InputError(
                f"{type(model).__name__} cannot be exported ({type(error).__name__}: {why:.200})",
                where="engine=onnxruntime",
                fix="engine=torch",
            ) from error


def with_engine(experiment: Experiment, engine: str, folder: Path) -> Experiment:
    """The same experiment, its network run by an engine. folder: where the engine's file is kept.

    Raises InputError for another engine, or a network that it cannot run.
    """
    if engine not in ENGINES:
        raise InputError(f"engine={engine}", expected=" or ".join(ENGINES))
    if engine == "torch":
        return for_inference(experiment)
    model = experiment.model.cpu().eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    runs: Any = RuntimeModel(model, inputs_like(experiment, 2), folder / cache_name(model))
    return replace(experiment, model=model, predictor=runs, device=torch.device("cpu"))


def cache_name(model: nn.Module) -> str:
    """A name that follows from the weights."""
    return f"network-{weights_of(model)}.onnx"


def weights_of(model: nn.Module) -> str:
    """A digest of a model's weights."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
