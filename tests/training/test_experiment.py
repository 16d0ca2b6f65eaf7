"""What a run folder's config may make: it may come from somebody else."""

import pytest
import torch
from omegaconf import OmegaConf

from deeprob.errors import InputError
from deeprob.runs import Run
from deeprob.targets import build
from deeprob.training.experiment import load, read_config
from deeprob.training.run import write_request


@pytest.fixture
def folder(tmp_path, squares_config):
    """Write the config of a run, changed as a stranger would; gives the run."""

    def write(**changes):
        run = Run(tmp_path / "theirs")
        run.path.mkdir(exist_ok=True)
        write_request(squares_config(), run, [])
        cfg = OmegaConf.load(run.config)
        for key, value in changes.items():
            OmegaConf.update(cfg, key.replace("__", "."), value, merge=False, force_add=True)
        OmegaConf.save(cfg, run.config)
        return run

    return write


def made(run, role):
    cfg = read_config(run)
    return build(OmegaConf.select(cfg, role), cfg.allowed_targets)


@pytest.mark.parametrize(
    "target",
    [
        "lightning.pytorch.cli.LightningCLI",
        "lightning.pytorch.loggers.MLFlowLogger",
        "lightning.pytorch.loggers.mlflow.MLFlowLogger",
        "lightning.pytorch.callbacks.ModelCheckpoint",
        "lightning.pytorch.Trainer",
        "torch.optim.swa_utils.AveragedModel",
        "deeprob.runs.Run",
        "deeprob.data.batches.store.Columns",
        "torchmetrics.Accuracy",
    ],
)
def test_a_run_folder_calls_only_classes_with_a_schema(folder, target):
    run = folder(logger={"_target_": target})
    with pytest.raises(InputError, match="_target_"):
        made(run, "logger")


def test_a_logger_by_its_modules_name_is_held_to_its_schema(folder):
    settings = {"base_url": "http://elsewhere"}
    for target in ("lightning.pytorch.loggers.wandb.WandbLogger", "lightning.pytorch.loggers.WandbLogger"):
        run = folder(logger={"_target_": target, "offline": False, "settings": settings})
        with pytest.raises(InputError, match="Key 'settings' not in 'WandbLoggerSettings'"):
            made(run, "logger")


def test_a_class_by_its_modules_name_gets_the_schemas_defaults(folder):
    parameter = torch.nn.Parameter(torch.zeros(1))
    run = folder(optim__optimizer={"_target_": "torch.optim.sgd.SGD", "lr": 0.5})
    cfg = read_config(run)
    optimizer = build(cfg.optim.optimizer, cfg.allowed_targets, params=[parameter])
    assert optimizer.defaults["lr"] == 0.5
    assert optimizer.defaults["momentum"] == 0.9


def test_an_optimiser_of_torch_needs_no_schema(folder):
    run = folder(optim__optimizer={"_target_": "torch.optim.RMSprop", "lr": 0.5})
    cfg = read_config(run)
    parameter = torch.nn.Parameter(torch.zeros(1))
    assert isinstance(
        build(cfg.optim.optimizer, cfg.allowed_targets, params=[parameter]), torch.optim.RMSprop
    )


def test_a_callback_of_a_folder_is_let_in_by_its_name(folder):
    target = "lightning.pytorch.callbacks.LearningRateMonitor"
    run = folder(callbacks={"rates": {"_target_": target}})
    cfg = read_config(run)
    with pytest.raises(InputError, match=rf"allowed_targets=\[{target}\]$"):
        build(cfg.callbacks.rates, cfg.allowed_targets)
    assert type(build(cfg.callbacks.rates, [*cfg.allowed_targets, target])).__name__ == "LearningRateMonitor"


def test_what_is_let_in_for_one_class_lets_in_no_other(folder):
    run = folder(model={"_target_": "deeprob.runs.Run", "path": "x"})
    cfg = read_config(run)
    with pytest.raises(InputError, match="not one of those that a run folder may call"):
        build(cfg.model, [*cfg.allowed_targets, "deeprob.models.resnet.ResNet"])


def test_evaluation_makes_nothing_a_folder_may_not_call(trained):
    run = trained("a", "trainer.max_epochs=1")
    cfg = OmegaConf.load(run.config)
    cfg.data.source = {"_target_": "deeprob.data.fetch.Archive"}
    OmegaConf.save(cfg, run.config)
    with pytest.raises(InputError, match="_target_"):
        load(run, "last")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("seed", "abc", "could not be converted to Integer"),
        ("trainer", {"max_epochs": "many"}, "could not be converted to Integer"),
        ("data", 5, "not the config of a training"),
        ("model", None, "not the config of a training"),
        ("optim", "adamw", "optim is 'adamw', not keys and values"),
        ("logger", [1], "logger is .*, not keys and values"),
        ("data.root", "???", "data.root"),
    ],
)
def test_a_wrong_value_of_a_folders_config_is_one_line(folder, key, value, said):
    run = folder(**{key.replace(".", "__"): value})
    with pytest.raises(InputError, match=rf"config\.yaml: .*{said}"):
        read_config(run)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("state_dict", 5, "its state_dict is none"),
        ("state_dict", {"a": 1}, "its state_dict is none"),
        ("state_dict", {1: torch.zeros(1)}, "its state_dict is none"),
        ("state_dict", {"a": torch.zeros(1)}, "weights do not fit the run's config"),
        ("global_step", "x", "its global_step is 'x'"),
    ],
)
def test_a_checkpoint_of_another_structure_is_one_line(trained, key, value, said):
    run = trained("a", "trainer.max_epochs=1")
    content = torch.load(run.checkpoint("last"), weights_only=True)
    torch.save({**content, key: value}, run.checkpoint("last"))
    with pytest.raises(InputError, match=rf"last\.ckpt: {said}"):
        load(run, "last")
