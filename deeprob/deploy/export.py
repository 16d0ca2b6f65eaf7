"""A trained run as a file for robots: ONNX, torch.export or the weights; and model.json beside it.

The graph takes uint8 RGB (N, H, W, 3) as a camera gives it (points: float32 (N, P, 3), metres) and gives
decoded results; what stays outside, resizing and suppression, is described in model.json with its settings.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deeprob import environment
from deeprob.errors import InputError
from deeprob.runs import Run
from deeprob.tasks.deployed import Deployed
from deeprob.training.experiment import Experiment
from deeprob.training.inference import example_of
from deeprob.version import __version__
from deeprob.writing import atomic_file, write_json

SUFFIXES = {"onnx": ".onnx", "pt2": ".pt2", "safetensors": ".safetensors"}
PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16}
TOLERANCE = {"fp32": 1e-4, "fp16": 2e-2}  # of outputs, as a part of the largest, against eager float32


class Graph(nn.Module):
    """The whole of it: uint8 images (N, H, W, 3), or points (N, P, 3) in metres, to decoded outputs.

    mean, std: of each channel, on images from 0 to 1; of none for points, which are divided by `scale`.
    """

    def __init__(
        self,
        network: nn.Module,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        scale: float,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.network, self.scale, self.dtype = network.to(dtype), scale, dtype
        self.images = bool(mean)
        self.factors: Tensor
        self.shifts: Tensor
        self.register_buffer("factors", torch.tensor([1 / (255 * s) for s in std]).view(1, -1, 1, 1))
        shifts = [m / s for m, s in zip(mean, std, strict=True)]
        self.register_buffer("shifts", torch.tensor(shifts).view(1, -1, 1, 1))

    def forward(self, inputs: Tensor, *beside: Tensor) -> Any:
        if self.images:
            x = inputs.permute(0, 3, 1, 2).float() * self.factors - self.shifts
        else:
            x = inputs / self.scale
        found = self.network(x.to(self.dtype), *beside)
        several = found if isinstance(found, tuple) else (found,)
        given = tuple(t.float() if t.is_floating_point() else t for t in several)
        return given if isinstance(found, tuple) else given[0]


def export(
    run: Run,
    experiment: Experiment,
    kind: str = "onnx",
    out: Path | None = None,
    *,
    opset: int | None = None,
    dynamic: bool = True,
    precision: str = "fp32",
) -> tuple[Path, dict[str, Any]]:
    """Write a run's model as `kind` into a folder, by default `export` in the run's.

    Returns the file and what model.json holds. opset: of ONNX; None takes the exporter's. dynamic: batches of
    any size; else of one. precision: `fp32` or `fp16`. Raises InputError where the model cannot be exported
    so, or a package is missing.
    """
    for name, value, known in (("format", kind, SUFFIXES), ("precision", precision, PRECISIONS)):
        if value not in known:
            raise InputError(f"{name}={value}", expected=" or ".join(known))
    task, view = experiment.task, experiment.data.view
    described = view.described()
    folder = out or run.path / "export"
    path = folder / f"model{SUFFIXES[kind]}"
    model = experiment.model.cpu().float().eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    facts: dict[str, Any] = {"outputs": {}, "decode": {}}
    if kind == "safetensors":
        content = _weights(model.to(PRECISIONS[precision]))
    else:
        deployed = task.deployed(model)
        facts = {"outputs": dict(deployed.outputs), "decode": dict(deployed.decode)}
        if deployed.beside:
            facts["further_inputs"] = {name: b.meaning for name, b in deployed.beside.items()}
        content, error = _graph(deployed, experiment, kind, described, opset, dynamic, precision)
        facts["largest_difference"] = error
    with atomic_file(path, "wb") as file:
        file.write(content)
    known = _model_json(run, experiment, path, kind, precision, dynamic, described, facts)
    write_json(folder / "model.json", known)
    return path, known


def _graph(
    deployed: Deployed,
    experiment: Experiment,
    kind: str,
    described: dict[str, Any],
    opset: int | None,
    dynamic: bool,
    precision: str,
) -> tuple[bytes, float | None]:
    """The file of a graph, and how far its outputs are from the model's."""
    data, beside = experiment.data, deployed.beside.values()
    scale = float(described.get("scale", 1.0))
    batch = 2 if dynamic else 1
    given = (example_of(described, batch), *(b.example.expand(batch, *b.example.shape[1:]) for b in beside))
    with torch.no_grad():
        expected = Graph(deployed.network, data.mean, data.std, scale, torch.float32)(*given)
    graph = Graph(deployed.network, data.mean, data.std, scale, PRECISIONS[precision]).eval()
    each = {0: torch.export.Dim("batch", min=1)}
    shapes = ((each, tuple(each for _ in beside)) if beside else (each,)) if dynamic else None
    with quiet(), torch.no_grad():
        try:
            program = torch.export.export(graph, given, dynamic_shapes=shapes, strict=False)
            if kind == "pt2":
                buffer = io.BytesIO()
                torch.export.save(program, buffer)
                found = program.module()(*given)
                return buffer.getvalue(), _difference(found, expected, precision, deployed.ranked)
            content = to_onnx(program, list(deployed.outputs), opset, tuple(deployed.beside))
        except InputError:
            raise
        except Exception as error:  # the exporter has errors of its own for each thing it cannot
            why = str(error).strip().partition("\n")[0]
            raise InputError(
                f"{type(experiment.model).__name__} cannot be exported ({type(error).__name__}: {why:.200})",
                fix="format=safetensors keeps the weights",
            ) from error
    return content, _check_onnx(content, given, expected, precision, deployed.ranked)


def to_onnx(
    program: Any, outputs: list[str] | None, opset: int | None, beside: tuple[str, ...] = ()
) -> bytes:
    """A program of torch.export as ONNX. beside: names of further inputs. Raises InputError without onnx."""
    for package in ("onnx", "onnxscript"):
        _needed(package)
    options: dict[str, Any] = {} if opset is None else {"opset_version": opset}
    made = torch.onnx.export(
        program, input_names=["input", *beside], output_names=outputs, dynamo=True, verbose=False, **options
    )
    assert made is not None
    proto: bytes = made.model_proto.SerializeToString()
    return proto


def _check_onnx(
    content: bytes, given: tuple[Tensor, ...], expected: Any, precision: str, ranked: bool
) -> float | None:
    """Run the file where onnxruntime is installed, and compare. Raises InputError where it differs."""
    if importlib.util.find_spec("onnxruntime") is None:
        return None
    session = session_of(content)
    names = [i.name for i in session.get_inputs()]
    found = session.run(None, {name: t.numpy() for name, t in zip(names, given, strict=True)})
    return _difference([torch.from_numpy(np.asarray(t)) for t in found], expected, precision, ranked)


def session_of(content: bytes | str) -> Any:
    """An onnxruntime session on one thread. Raises InputError where the package is missing."""
    runtime = _needed("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _difference(found: Any, expected: Any, precision: str, ranked: bool) -> float:
    """The largest difference of floats, as a part of the largest value. Raises InputError over a limit.

    ranked: the outputs are a list of the best ones, boxes (B, N, 4) and scores (B, N), whose order rounding
    changes where scores are near: each box is compared with those of its score. Half precision changes too
    many of them, and only its scores compare.
    """
    pairs = [(a, b) for a, b in zip(_listed(found), _listed(expected), strict=True) if b.is_floating_point()]
    if ranked:
        (boxes, boxes_expected), (scores, scores_expected) = sorted(pairs, key=lambda pair: -pair[1].dim())
        shares = [_share((scores - scores_expected).abs(), scores_expected)]
        if precision != "fp16":
            near = (scores[:, None] - scores_expected[..., None]).abs() <= TOLERANCE[precision]
            away = torch.cdist(boxes_expected, boxes, p=torch.inf).masked_fill(~near, torch.inf)
            # those at the end of the list may have given way to others of their score
            kept = scores_expected > scores_expected.amin(1, keepdim=True) + TOLERANCE[precision]
            shares.append(_share(away.amin(2)[kept], boxes_expected))
    else:
        shares = [_share((a - b).abs(), b) for a, b in pairs]
    worst = max(shares, default=0.0)
    if not worst <= TOLERANCE[precision]:
        raise InputError(
            f"the exported graph's outputs differ by {worst:.2g} of the largest",
            expected=f"at most {TOLERANCE[precision]:g}",
            fix="precision=fp32",
        )
    return worst


def _share(differences: Tensor, values: Tensor) -> float:
    """The largest difference as a part of the largest value, or of 1 where that is smaller."""
    return float(differences.max() / values.abs().max().clamp_min(1)) if differences.numel() else 0.0


def _listed(outputs: Any) -> list[Tensor]:
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)


def _weights(model: nn.Module) -> bytes:
    library = _needed("safetensors.torch")
    content: bytes = library.save({name: t.contiguous() for name, t in model.state_dict().items()})
    return content


def _needed(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError:
        name = package.partition(".")[0]
        raise InputError(f"this export needs {name}", fix="pip install 'deeprob[export]'") from None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporter's progress and warnings to itself."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _model_json(
    run: Run,
    experiment: Experiment,
    path: Path,
    kind: str,
    precision: str,
    dynamic: bool,
    described: dict[str, Any],
    facts: dict[str, Any],
) -> dict[str, Any]:
    """What those who use the file need to know."""
    data, task = experiment.data, experiment.task
    results = run.read_results() if run.results().is_file() else {}
    entries = {
        name: {key: entry.get(key) for key in ("value", "ci95", "n")}
        for name, entry in results.get("metrics", {}).items()
    }
    whole = "float32 (N, points, 3), metres" if "points" in described else "uint8 (N, height, width, 3), RGB"
    return {
        "schema": 1,
        "file": path.name,
        "format": kind,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "precision": precision,
        "task": task.name,
        "classes": list(data.classes),
        "input": {"name": "input", "type": whole, "batch": "any" if dynamic else 1, **described},
        "normalisation": {"mean": list(data.mean), "std": list(data.std), "where": "in the graph"},
        **facts,
        "units": "pixels, metres, radians; OpenCV camera axes",
        "trained": {
            "run": f"{run.experiment}/{run.run_id}",
            "commit": run.read_environment().get("commit"),
            "deeprob": __version__,
            "exported_by": environment.commit(),
            "split": results.get("split"),
            "metrics": entries,
        },
    }


def outputs_of(session: Any, images: NDArray[np.uint8]) -> list[NDArray[Any]]:
    """Run a session on images uint8 (N, H, W, 3)."""
    found: list[NDArray[Any]] = session.run(None, {session.get_inputs()[0].name: images})
    return found
