"""What a config may hold: a dataclass for every group; composing them; making objects from leaves.

Hydra fills these dataclasses from the YAML files under CONFIG_DIR, so that a misspelt key or a wrong type is
refused before anything runs. A leaf (`_target_` and its arguments) names the class that it configures;
`build` makes the object, and calls nothing outside ALLOWED_TARGETS.

Neither torch nor lightning is imported here; Hydra only where a config is composed.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from deeprob.data.settings import Augmentation
from deeprob.errors import InputError
from deeprob.sim.settings import SimSettings

_PACKAGE = Path(__file__).resolve().parent
CONFIG_DIR = _PACKAGE / "configs" if (_PACKAGE / "configs").is_dir() else _PACKAGE.parent / "configs"
ALLOWED_TARGETS = ("deeprob", "torch.optim", "lightning.pytorch", "torchmetrics")


@dataclass
class PathSettings:
    """Folders. data_dir: real data sets; runs_dir: run folders; cache_dir: renders and decoded images."""

    data_dir: str = "${oc.env:DEEPROB_DATA,data}"
    runs_dir: str = "runs"
    cache_dir: str = "${oc.env:DEEPROB_CACHE,${oc.env:HOME}/.cache/deeprob}"


@dataclass
class ViewSettings:
    """Classification crops: see deeprob.data.views.ClassificationView."""

    _target_: str = "deeprob.data.views.ClassificationView"
    size: int = 32
    margin: float = 0.0
    min_pixels: float = 6.0
    min_visible_fraction: float = 0.0
    square: bool = False


@dataclass
class DataSettings:
    """A data set, its view, and how batches are cut from it.

    root: where the files lie. val_fraction: share of the training groups held out as `val` where the source
    has none. workers: processes that prepare batches; 0 prepares them in the training process.
    """

    root: str = MISSING
    source: Any = MISSING
    view: ViewSettings = field(default_factory=ViewSettings)
    augmentation: Augmentation = field(default_factory=Augmentation)
    batch_size: int = 128
    eval_batch_size: int = 512
    val_fraction: float = 0.0
    balanced: bool = False
    workers: int = 0


@dataclass
class DarknetSettings:
    """See deeprob.data.darknet.DarknetSource."""

    _target_: str = "deeprob.data.darknet.DarknetSource"
    root: str = "${data.root}"
    splits: dict[str, list[str]] = MISSING
    names_file: str = "obj.names"
    on_bad_sample: str = "error"
    name: str | None = None


@dataclass
class DarknetData(DataSettings):
    """A data set in darknet's text format."""

    source: DarknetSettings = field(default_factory=DarknetSettings)


@dataclass
class PyBulletSettings:
    """See deeprob.sim.source.PyBulletSource."""

    _target_: str = "deeprob.sim.source.PyBulletSource"
    settings: SimSettings = MISSING
    cache_dir: str = "${data.root}"
    workers: int = 2


@dataclass
class PyBulletData(DataSettings):
    """A simulated data set; `sim` says what is in it."""

    sim: SimSettings = field(default_factory=SimSettings)
    source: PyBulletSettings = field(default_factory=PyBulletSettings)


@dataclass
class ResNetSettings:
    """See deeprob.models.resnet.ResNet."""

    _target_: str = "deeprob.models.resnet.ResNet"
    blocks: list[int] = field(default_factory=lambda: [2, 2, 2, 2])
    width: int = 64
    stem: str = "imagenet"
    norm: bool = True
    dropout: float = 0.0
    in_channels: int = 3
    backend: str = "deeprob"


@dataclass
class CrossEntropySettings:
    """See deeprob.training.objectives.CrossEntropy."""

    _target_: str = "deeprob.training.objectives.CrossEntropy"
    label_smoothing: float = 0.0


@dataclass
class HingeSettings:
    """See deeprob.training.objectives.Hinge."""

    _target_: str = "deeprob.training.objectives.Hinge"
    margin: float = 1.0


@dataclass
class SGDSettings:
    """See torch.optim.SGD."""

    _target_: str = "torch.optim.SGD"
    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4


@dataclass
class AdamWSettings:
    """See torch.optim.AdamW."""

    _target_: str = "torch.optim.AdamW"
    lr: float = 1e-3
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])
    weight_decay: float = 0.05


@dataclass
class ConstantSettings:
    """See deeprob.training.schedules.Constant."""

    _target_: str = "deeprob.training.schedules.Constant"


@dataclass
class CosineSettings:
    """See deeprob.training.schedules.Cosine."""

    _target_: str = "deeprob.training.schedules.Cosine"
    warmup: float = 0.05
    final: float = 0.0


@dataclass
class OneCycleSettings:
    """See deeprob.training.schedules.OneCycle."""

    _target_: str = "deeprob.training.schedules.OneCycle"
    peak: float = 0.3
    start: float = 0.04
    final: float = 1e-4


@dataclass
class OptimSettings:
    """An optimiser, its schedule, and whether weight decay pulls on biases and norms too."""

    optimizer: Any = MISSING
    schedule: Any = MISSING
    decay_norm_and_bias: bool = False


@dataclass
class TrainerSettings:
    """How long and on what to train.

    accelerator, devices, precision, gradient_clip_val: as Lightning's Trainer takes them.
    patience: stop after so many epochs in which `monitor` did not get better; 0 never stops early.
    threads: CPU threads of torch; 0 leaves torch's choice.
    channels_last: keep images as (N, H, W, C) in memory, faster on most CPUs and GPUs.
    log_every: training steps between two rows of metrics.jsonl.
    """

    max_epochs: int = 20
    accelerator: str = "auto"
    devices: int = 1
    precision: str = "32-true"
    gradient_clip_val: float | None = None
    monitor: str = "val/top1_accuracy"
    mode: str = "max"
    patience: int = 0
    threads: int = 0
    channels_last: bool = False
    log_every: int = 10


@dataclass
class CSVLoggerSettings:
    """See lightning.pytorch.loggers.CSVLogger."""

    _target_: str = "lightning.pytorch.loggers.CSVLogger"
    name: str = "csv"


@dataclass
class TensorBoardLoggerSettings:
    """See lightning.pytorch.loggers.TensorBoardLogger."""

    _target_: str = "lightning.pytorch.loggers.TensorBoardLogger"
    name: str = "tensorboard"


@dataclass
class WandbLoggerSettings:
    """See lightning.pytorch.loggers.WandbLogger. Offline unless `offline=false` is asked for."""

    _target_: str = "lightning.pytorch.loggers.WandbLogger"
    project: str = "deeprob"
    group: str | None = "${name}"
    offline: bool = True


@dataclass
class EvaluationSettings:
    """What a run is judged by.

    split: data set split. checkpoint: `best` (chosen on val) or `last`. baselines: measured beside the model.
    bootstrap_samples: resamplings behind each 95 % interval. neighbours: k of the k-NN baseline.
    """

    split: str = "test"
    checkpoint: str = "best"
    baselines: list[str] = field(default_factory=lambda: ["majority", "knn"])
    neighbours: int = 5
    bootstrap_samples: int = 2000
    seed: int = 0


@dataclass
class TrainConfig:
    """Root of `deeprob train`.

    name: of the experiment, and so of the folder its runs lie in. run: a run folder to go on with.
    allowed_targets: further packages that a leaf may name; only from the command line.
    """

    name: str = MISSING
    seed: int = 0
    run: str | None = None
    allowed_targets: list[str] = field(default_factory=list)
    paths: PathSettings = field(default_factory=PathSettings)
    data: Any = MISSING
    model: Any = MISSING
    objective: Any = MISSING
    optim: OptimSettings = field(default_factory=OptimSettings)
    trainer: TrainerSettings = field(default_factory=TrainerSettings)
    logger: Any = None
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)


@dataclass
class EvaluateConfig:
    """Root of `deeprob evaluate`. split and checkpoint: null takes what the run's own config says."""

    run: str = MISSING
    split: str | None = None
    checkpoint: str | None = None
    allowed_targets: list[str] = field(default_factory=list)


@dataclass
class ReportConfig:
    """Root of `deeprob report`: one run, or a table of all evaluated runs that a pattern matches.

    metric, base, output: of the table; base: the group the others are compared with, null for the first.
    """

    run: str | None = None
    runs: str | None = None
    metric: str = "top1_accuracy"
    base: str | None = None
    output: str = "comparison"


@dataclass
class AblationSettings:
    """Variants of a base experiment; the base itself is always run.

    design: `list` (variants: name -> overrides), or one made from factors (config key -> values):
    `one_at_a_time`, `leave_one_out`, `factorial`; see deeprob.evaluation.designs.
    """

    name: str = MISSING
    experiment: str = MISSING
    metric: str = "top1_accuracy"
    seeds: list[int] = field(default_factory=lambda: [0, 1])
    overrides: list[str] = field(default_factory=list)
    design: str = "list"
    variants: dict[str, list[str]] = field(default_factory=dict)
    factors: dict[str, list[Any]] = field(default_factory=dict)


@dataclass
class AblateConfig:
    """Root of `deeprob ablate`. jobs: runs at a time; dry_run: print the plan only."""

    ablation: AblationSettings = field(default_factory=AblationSettings)
    paths: PathSettings = field(default_factory=PathSettings)
    jobs: int = 1
    dry_run: bool = False


@dataclass
class InfoConfig:
    """Root of `deeprob info`."""

    paths: PathSettings = field(default_factory=PathSettings)


SCHEMA: dict[str, dict[str, type]] = {
    "root": {
        "train": TrainConfig,
        "evaluate": EvaluateConfig,
        "report": ReportConfig,
        "ablate": AblateConfig,
        "info": InfoConfig,
    },
    "data": {"darknet": DarknetData, "pybullet": PyBulletData},
    "model": {"resnet": ResNetSettings},
    "objective": {"cross_entropy": CrossEntropySettings, "hinge": HingeSettings},
    "optimizer": {"sgd": SGDSettings, "adamw": AdamWSettings},
    "schedule": {"constant": ConstantSettings, "cosine": CosineSettings, "one_cycle": OneCycleSettings},
    "logger": {
        "csv": CSVLoggerSettings,
        "tensorboard": TensorBoardLoggerSettings,
        "wandb": WandbLoggerSettings,
    },
}
"""Group -> name -> dataclass; in YAML `/schema/<group>: <name>`."""

LEAVES: dict[str, type] = {
    vars(schema)["_target_"]: schema
    for schema in list(globals().values())
    if isinstance(schema, type) and "_target_" in vars(schema)
}
"""Target -> the dataclass of its arguments."""


def register() -> None:
    """Make the schema known to Hydra."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    for group, schemas in SCHEMA.items():
        for name, schema in schemas.items():
            store.store(group=f"schema/{group}", name=name, node=schema)
    if (CONFIG_DIR / "local.yaml").is_file():
        store.repo.pop("local.yaml", None)
    else:  # stands in where the user has no file of their own
        store.store(name="local", node={})


def compose(verb: str, overrides: Sequence[str] = ()) -> DictConfig:
    """Compose the root config of a verb. Raises InputError, naming the nearest valid key, where it cannot."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    register()
    with _one_line_errors(verb):
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            cfg = hydra_compose(verb, list(overrides))
        _check(cfg, overrides)
    return cfg


def hydra_main(verb: str, task: Callable[[DictConfig], None], arguments: Sequence[str]) -> None:
    """Run `task` under Hydra's own command line: overrides, -m multirun, --cfg, launchers, shell completion.

    Raises InputError where the config cannot be composed, and what `task` raised; of several runs all are
    made, and the first error is raised at the end.
    """
    import hydra

    register()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions come through, and are told in one line by us

    errors: list[Exception] = []

    def checked(cfg: DictConfig) -> None:
        from hydra.core.hydra_config import HydraConfig

        try:
            _check(cfg, HydraConfig.get().overrides.task)
            task(cfg)
        except Exception as error:  # kept from Hydra, which would print it in its own words
            errors.append(error)

    arguments = sorted(arguments, key=lambda a: a not in ("-m", "--multirun"))  # argparse wants it in front
    quiet = []
    if not any(a.startswith("-") and a not in ("-m", "--multirun") for a in arguments):
        quiet = [  # the run folder is ours: Hydra writes nothing beside it
            "hydra.run.dir=.",
            "hydra.output_subdir=null",
            "hydra.sweep.dir=${paths.runs_dir}/multirun/${now:%Y%m%d-%H%M%S}",
            "hydra.sweep.subdir=.",
            "hydra/job_logging=none",
            "hydra/hydra_logging=none",
        ]
    own_arguments, sys.argv = sys.argv, [sys.argv[0], *arguments, *quiet]
    try:
        with _one_line_errors(verb):
            hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name=verb)(checked)()
            if errors:
                raise errors[0]
    finally:
        sys.argv = own_arguments


def build(leaf: Mapping[str, Any] | DictConfig, allowed: Sequence[str] = (), **arguments: Any) -> Any:
    """Make the object that a leaf describes: call its `_target_` with its other keys and `arguments`.

    allowed: packages admitted beside ALLOWED_TARGETS. Values stay as they are written: nothing inside a leaf
    is called. Raises InputError where the target is not admitted, does not exist, or refuses its arguments.
    """
    target = leaf.get("_target_")
    if not isinstance(target, str):
        raise InputError(f"no _target_ in {dict(leaf)}", expected="_target_: package.Class")
    values = _typed(target, leaf)
    make = _locate(target, allowed)
    try:
        return make(**values, **arguments)
    except (TypeError, ValueError) as error:
        if isinstance(error, InputError) or (isinstance(error, TypeError) and _deep(error)):
            raise
        raise InputError(str(error), where=f"config of {target}") from error


def _typed(target: str, leaf: Mapping[str, Any] | DictConfig) -> dict[str, Any]:
    """The arguments in a leaf as its target's schema types them: config.yaml of a run holds bare dicts."""
    bare = OmegaConf.to_container(leaf, resolve=True) if isinstance(leaf, DictConfig) else dict(leaf)
    assert isinstance(bare, dict)
    bare.pop("_target_")
    if target not in LEAVES:
        return cast("dict[str, Any]", bare)
    try:
        typed = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(LEAVES[target]), bare))
    except OmegaConfBaseException as error:
        raise InputError(str(error).splitlines()[0], where=f"config of {target}") from error
    return {key: value for key, value in vars(typed).items() if key != "_target_"}


def _deep(error: BaseException) -> bool:
    """Whether the error arose inside the called code, not in the call itself: a bug, not a config."""
    traceback = error.__traceback__
    return traceback is not None and traceback.tb_next is not None


def _locate(target: str, allowed: Sequence[str]) -> Callable[..., Any]:
    packages = (*ALLOWED_TARGETS, *allowed)
    if not _inside(target, packages):
        raise InputError(
            f"_target_ {target!r} is outside the packages that a config may call",
            expected=f"one of {', '.join(packages)}",
            fix=f"allow it on the command line: allowed_targets=[{target.split('.')[0]}]",
        )
    module, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"_target_ {target!r} cannot be imported ({error})") from error
    # A module also holds what it imported; only what a package defines itself may be called, and of ours
    # only classes: a checkpoint's config must not reach a function that writes files.
    home = getattr(found, "__module__", "")
    if not (_inside(f"{home}.{name}", packages) and (inspect.isclass(found) or _inside(target, allowed))):
        raise InputError(f"_target_ {target!r} may not be called", expected="a class of an allowed package")
    return cast("Callable[..., Any]", found)


def _inside(target: str, packages: Sequence[str]) -> bool:
    return any(target.startswith(f"{package}.") for package in packages)


def _check(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Refuse what is missing, and packages let in by a file instead of by the command line."""
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        hint = "choose an experiment: " + ", ".join(f"experiment={e}" for e in options("experiment"))
        if "name" not in missing:
            hint = f"give it as {missing[0]}=..."
        raise InputError(f"required and not set: {', '.join(missing)}", fix=hint)
    by_hand = any(o.lstrip("+").startswith("allowed_targets=") for o in overrides)
    if cfg.get("allowed_targets") and not by_hand:
        raise InputError(
            "allowed_targets is set in a file",
            expected="it on the command line only: a config must not let in its own code",
        )


def options(group: str) -> list[str]:
    """The choices that a config group offers."""
    return sorted(path.stem for path in (CONFIG_DIR / group).glob("*.yaml"))


class _one_line_errors:  # noqa: N801  a context manager reads as a verb
    """Turn Hydra's and OmegaConf's errors into one line that names the nearest valid key or choice."""

    def __init__(self, verb: str) -> None:
        self.verb = verb

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        from hydra.errors import HydraException

        if isinstance(error, HydraException | OmegaConfBaseException):
            raise self._explain(error) from error

    def _explain(self, error: BaseException) -> InputError:
        text = str(error)
        where = f"configs/{self.verb}.yaml"
        key = re.search(r"Could not (?:override|append|delete) '?([\w./@]+)'?", text)
        if key:
            return InputError(f"no key {key[1]!r}", where=where, fix=_nearest(key[1], self._keys()))
        choice = re.search(r"Could not find '([\w-]+)/([^']+)'", text)
        if choice:
            group, name = choice.groups()
            found = options(group)
            return InputError(
                f"no {group} named {name!r}", expected=" ".join(found), fix=_nearest(name, found)
            )
        unknown = re.search(r"Key '([^']+)' (?:not in|is not in struct)", text)
        if unknown:
            full = re.search(r"full_key: (\S+)", text)
            name = full[1] if full else unknown[1]
            return InputError(f"no key {name!r}", where=where, fix=_nearest(name, self._keys()))
        causes = [text]
        cause = error.__cause__
        while cause is not None:
            causes.append(str(cause))
            cause = cause.__cause__
        lines = [line.strip() for line in "\n".join(causes).splitlines() if line.strip()]
        noise = ("object_type", "reference_type", "full_key", "See https")
        kept = [line for line in dict.fromkeys(lines) if not line.startswith(noise)]
        return InputError("; ".join(kept), where=where)

    def _keys(self) -> list[str]:
        from hydra.errors import HydraException

        try:
            return list(flatten(compose(self.verb, ["name=any"] if self.verb == "train" else [])))
        except (InputError, HydraException, OmegaConfBaseException):
            return []


def _nearest(name: str, valid: Sequence[str]) -> str | None:
    """The nearest valid name; for a dotted key, compared with the keys beside it."""
    level, dot, last = name.rpartition(".")
    beside = {v[len(level) + len(dot) :].split(".")[0] for v in valid if v.startswith(level + dot)}
    if not beside:
        return None
    near = difflib.get_close_matches(last, beside, n=1)
    return f"did you mean {level}{dot}{near[0]}?" if near else f"valid: {' '.join(sorted(beside))}"


def flatten(cfg: DictConfig) -> dict[str, Any]:
    """All keys of a config with dots between the levels, unresolved: {"optim.optimizer.lr": 0.1, ...}."""

    def walk(prefix: str, node: Any) -> Iterator[tuple[str, Any]]:
        if isinstance(node, Mapping):
            for key, value in node.items():
                yield from walk(f"{prefix}{key}.", value)
        else:
            yield prefix[:-1], node

    return dict(walk("", OmegaConf.to_container(cfg, resolve=False)))
