"""What a config describes: data, task, model; and a run folder back to its trained model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import nn

from deeprob.config_errors import flatten
from deeprob.config_files import read_values
from deeprob.data.batches.batch import AnyBatch, with_inputs
from deeprob.data.batches.datamodule import PerceptionData
from deeprob.data.batches.samples import Samples
from deeprob.errors import InputError
from deeprob.progress import tracked
from deeprob.runs import Run
from deeprob.schema.models import NETWORK_OPTIONS, NetworkSettings, constructed
from deeprob.schema.training import TrainerSettings
from deeprob.schema.typed import typed
from deeprob.targets import SCHEMA_ONLY, admitted, build, locate
from deeprob.tasks.base import Task
from deeprob.training.parts import Parts, arrange, device_of, memory_format_of
from deeprob.training.sources import make_data
from deeprob.training.weights import read_tensors

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger


@dataclass(frozen=True)
class Experiment:
    """A trained model with the data it was trained on, as a run folder describes them.

    predictor: what predicts in the model's place, to rounding the same; None: the model itself.
    """

    cfg: DictConfig
    data: PerceptionData
    task: Task
    model: nn.Module
    device: torch.device
    predictor: Any = None

    def predict(
        self, samples: Samples, heading: str = "", progress: bool = True
    ) -> Iterator[tuple[Any, Any]]:
        """Give each batch of some samples, in order, with what the model predicts for it."""
        self.model.eval()
        loader = self.data.loader_of(samples)
        for batch in tracked(loader, heading, shown=progress):
            yield batch, self.predict_batch(batch)

    def predict_batch(self, batch: AnyBatch) -> Any:
        """What the model, which must be in eval mode, predicts for a batch: `Task.predict` of it."""
        inputs = batch[0].to(self.device)
        if inputs.dim() == 4:  # images
            layout = getattr(self.predictor, "memory_format", None) or memory_format_of(self.cfg.trainer)
            inputs = inputs.contiguous(memory_format=layout)
        with torch.inference_mode():
            return self.task.predict(self.predictor or self.model, with_inputs(batch, inputs))


def assemble(cfg: DictConfig, alone: AbstractContextManager[Any] | None = None) -> Parts:
    """All that a config says of a training, made; its data is prepared and its first split is read.

    alone: held while data is prepared, where several processes share a folder. Raises InputError.
    """
    from lightning.pytorch import seed_everything

    seed_everything(cfg.seed, verbose=False)
    data = make_data(cfg)
    _check_judged_by(cfg, data.splits)
    with alone or nullcontext():
        data.prepare_data()
    torch.manual_seed(cfg.seed)  # whatever the data drew, the weights start the same
    return parts_on(cfg, data)


def parts_on(cfg: DictConfig, data: PerceptionData) -> Parts:
    """What a config says of a training, on data that is made already."""
    task = make_task(cfg, data)

    def make(leaf: Any, **arguments: Any) -> Any:
        return build(leaf, cfg.allowed_targets, **arguments)

    return Parts(
        data,
        task,
        make_model(cfg, task),
        objective=make(cfg.objective),
        optimizer=lambda groups: make(cfg.optim.optimizer, params=groups),
        schedule=make(cfg.optim.schedule),
        decay_norm_and_bias=cfg.optim.decay_norm_and_bias,
        backbone_lr_factor=cfg.optim.backbone_lr_factor,
        trainer=TrainerSettings(**OmegaConf.to_container(cfg.trainer)),  # type: ignore[arg-type]
        network=NetworkSettings(**{key: cfg.model[key] for key in NETWORK_OPTIONS & cfg.model.keys()}),
        callbacks=[make(leaf) for leaf in (cfg.get("callbacks") or {}).values()],
        logger=None if cfg.logger is None else lambda run: make_logger(cfg, run),
        seed=cfg.seed,
    )


def make_logger(cfg: DictConfig, run: Run) -> Logger:
    """The logger of a config, which writes into a run folder. Raises InputError where it is not installed."""
    target = str(cfg.logger._target_)
    extra: dict[str, Any] = {"save_dir": str(run.path)}
    if target.endswith("WandbLogger"):
        extra |= {"id": f"{run.experiment}-{run.run_id}", "name": run.run_id}  # the same after a requeue
    try:
        logger: Logger = build(cfg.logger, cfg.allowed_targets, **extra)
    except ModuleNotFoundError as error:
        package = str(error).split("`")[1] if "`" in str(error) else str(error.name)
        raise InputError(
            f"{target.rpartition('.')[2]} needs {package}", fix="pip install 'deeprob[tensorboard]'"
        ) from error
    return logger


def _check_judged_by(cfg: DictConfig, splits: Sequence[str]) -> None:
    """Raise InputError before an hour is spent, where what the run is judged by is not there."""
    wanted = cfg.evaluation.split
    if wanted not in splits and not (cfg.trainer.overfit or cfg.trainer.lr_finder):
        raise InputError(
            f"no split {wanted!r} to judge the run by",
            where="evaluation.split",
            expected=" or ".join(splits),
            fix=f"set evaluation.split={splits[-1]}",
        )


def make_task(cfg: DictConfig, data: PerceptionData) -> Task:
    """The task that the view of the data names."""
    return task_class(cfg)(data)


def make_model(cfg: DictConfig, task: Task, known: Mapping[str, Any] | None = None) -> nn.Module:
    """The model of a config, told what the task knows of the data, such as the number of classes.

    known: what the task has said of the data before.
    """
    found = {**(task.model_arguments() if known is None else known), **feature_extractor(cfg)}
    model: nn.Module = build(constructed(cfg.model), cfg.allowed_targets, **found)
    return model


def task_class(cfg: DictConfig) -> type[Task]:
    """The class of the task that the view of a config names. Raises InputError where there is none."""
    view = locate(str(cfg.data.view._target_), cfg.allowed_targets)
    target = getattr(view, "task", None)
    if not isinstance(target, str):
        raise InputError(
            f"{view.__name__} names no task",
            where="data.view",
            expected="an attribute task = 'package.Class'",
        )
    found: type[Task] = locate(target, admitted(cfg))
    return found


def monitor_of(cfg: DictConfig) -> str:
    """The metric by which the best checkpoint is chosen: trainer.monitor, or the task's headline."""
    return str(cfg.trainer.monitor or f"val/{task_class(cfg).headline}")


def feature_extractor(cfg: DictConfig) -> dict[str, nn.Module]:
    """{"network": ...} where model.features of a config is the folder of a run: its model; else nothing."""
    features = cfg.model.get("features")
    if not isinstance(features, str) or not Path(features).expanduser().is_dir():
        return {}
    run = Run.find(features)
    return {"network": load(run, None, list(cfg.allowed_targets)).model.cpu()}


def load(
    run: Run,
    checkpoint: str | None,
    allowed: list[str] | None = None,
    with_data: bool = True,
    places: Mapping[str, str] | None = None,
) -> Experiment:
    """The model and data of a run folder. checkpoint: `best` or `last`; None: as its evaluation takes it.

    with_data: False opens no data set where the run folder says of it what the model needs. places:
    data.root and paths.cache_dir as they are now, as on another machine. Raises InputError where the folder
    lacks the checkpoint, or its weights do not fit its config.
    """
    cfg = read_config(run)
    for key, place in (places or {}).items():
        if OmegaConf.select(cfg, key) is None:
            raise InputError(f"no {key} that could be changed", where=run.config)
        OmegaConf.update(cfg, key, place)
    cfg.allowed_targets = sorted({*cfg.allowed_targets, *(allowed or [])})
    checkpoint = checkpoint or str(cfg.evaluation.checkpoint)
    path = run.checkpoint(checkpoint)
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in run.checkpoints.glob("*.ckpt"))) or "none yet"
        raise InputError(f"no checkpoint {checkpoint!r}", where=run.path, expected=f"one of: {there}")
    facts = None if with_data else run.read_data()
    if facts is not None and "model" not in facts:
        facts = None
    data = make_data(cfg, facts)
    data.prepare_data()
    task = make_task(cfg, data)
    model = make_model(cfg, task, None if facts is None else facts["model"])
    kept = read_checkpoint(path)["state_dict"].items()  # an objective may keep something of its own there
    weights = {k.removeprefix("model."): v for k, v in kept if not k.startswith("objective.")}
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(f"weights do not fit the run's config ({error})", where=path) from error
    device = device_of(cfg.trainer)
    model = arrange(model.to(device), memory_format_of(cfg.trainer))
    return Experiment(cfg, data, task, model.eval(), device)


def on_device(experiment: Experiment, name: str | None) -> Experiment:
    """The same on another device; None: where it is. Raises InputError where there is no such device."""
    if name is None:
        return experiment
    try:
        device = torch.device(name)
        model = arrange(experiment.model.to(device), memory_format_of(experiment.cfg.trainer))
    except (RuntimeError, AssertionError) as error:
        why = str(error).partition("\n")[0]
        raise InputError(f"device={name} cannot be used ({why})", expected="cpu, cuda or cuda:0") from None
    return replace(experiment, model=model, device=device, predictor=None)


def read_config(run: Run) -> DictConfig:
    """config.yaml of a run folder; no key can be added. Raises InputError where it is not readable YAML."""
    values = read_values(run.config)
    if not all(isinstance(values.get(key), dict) for key in ("data", "model")):
        raise InputError("not the config of a training", where=run.config, expected="keys data, model, ...")
    try:
        cfg = typed(values)  # with the defaults of what was added since the run's version
        OmegaConf.set_struct(cfg.model, False)
        cfg.model = OmegaConf.merge(asdict(NetworkSettings()), cfg.model)  # also of one that has no schema
        OmegaConf.set_struct(cfg.model, True)
    except OmegaConfBaseException as error:
        raise InputError(str(error).splitlines()[0], where=run.config) from error
    missing = [key for key, value in flatten(cfg).items() if value == "???"]
    if missing:
        raise InputError(f"{', '.join(missing[:3])} missing", where=run.config)
    cfg.allowed_targets = [SCHEMA_ONLY]  # a file must not let in its own code
    return cfg


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content, tensors and plain containers only: one that would run code is refused."""
    content = read_tensors(path)
    if not isinstance(content, dict) or not {"state_dict", "global_step"} <= content.keys():
        raise InputError("checkpoint cannot be read (it lacks state_dict or global_step)", where=path)
    weights, step = content["state_dict"], content["global_step"]
    named = isinstance(weights, dict) and all(isinstance(name, str) for name in weights)
    if not named or not all(isinstance(t, torch.Tensor) for t in weights.values()):
        raise InputError("its state_dict is none", where=path, expected="names and tensors")
    if not isinstance(step, int) or isinstance(step, bool) or step < 0:
        raise InputError(f"its global_step is {step!r:.60}", where=path, expected="a whole number, 0 or more")
    return cast("dict[str, Any]", content)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint file and the training steps behind it."""

    path: Path
    step: int


def newest_checkpoint(run: Run) -> Checkpoint | None:
    """The checkpoint of the most steps: the last epoch's, or a requeue's; None at the start of a run.

    Raises InputError where one cannot be read.
    """
    last = run.checkpoint("last")
    there = [path for path in (*run.requeue_checkpoints, last) if path.is_file()]
    found = [Checkpoint(path, int(read_checkpoint(path)["global_step"])) for path in there]
    return max(found, key=lambda checkpoint: (checkpoint.step, checkpoint.path == last), default=None)
