"""Every root with every option of every group composes; a misspelt key is refused with the nearest name."""

import copy
import dataclasses
import itertools
import re

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from deeprob.config import CONFIG_DIR, compose, hydra_main, options, set_value
from deeprob.config_errors import flatten
from deeprob.errors import InputError
from deeprob.schema import LEAVES, SCHEMA, arguments
from deeprob.targets import build

ROOTS = sorted(path.stem for path in CONFIG_DIR.glob("*.yaml") if path.stem != "local")


@pytest.mark.parametrize("experiment", options("experiment"))
def test_every_experiment_composes_and_resolves(experiment):
    cfg = compose("train", [f"experiment={experiment}"])
    assert cfg.name == experiment
    OmegaConf.resolve(cfg)


# An experiment's augmentation is that of its data: of pictures, or of points.
GROUPS = {
    "name=any": [["data"], ["data/view"]],
    "experiment=quickstart": [["model", "objective", "optim", "trainer", "logger", "paths", "callbacks"]],
}
CHOICES = [
    (first, *(f"{group}={option}" for group, option in zip(groups, chosen, strict=True) if option))
    for first, together in GROUPS.items()
    for groups in together
    for chosen in itertools.zip_longest(*map(options, groups))
]


@pytest.mark.parametrize("overrides", CHOICES, ids=" ".join)
def test_every_option_of_every_group_composes(overrides):
    own = [f"{o.partition('=')[0]}._target_=mine.Class" for o in overrides if o.endswith("=own")]
    cfg = compose("train", [*overrides, *(key.replace("/", ".") for key in own)])
    OmegaConf.resolve(cfg)


@pytest.mark.parametrize("ablation", options("ablation"))
def test_every_run_of_every_ablation_composes(ablation):
    from deeprob.studies.ablation import plan

    planned = plan(compose("ablate", [f"ablation={ablation}", "ablation.seeds=[0]"]))
    assert set(planned.design.variants) == {name for name, _ in planned.jobs}


@pytest.mark.parametrize("sweep", options("sweep"))
def test_every_sweep_can_be_planned(sweep):
    from deeprob.studies.sweep.trial import plan

    planned = plan(compose("sweep", [f"sweep={sweep}"]))
    assert planned.name == sweep


def test_every_root_has_a_schema():
    assert set(ROOTS) <= set(SCHEMA["root"])


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model.widht=8", "no key 'model.widht'; did you mean model.width?"),
        ("modle=resnet18", "no key 'modle'; did you mean model?"),
        ("model=resnet81", "no model named 'resnet81'; expected .*resnet18 .*did you mean resnet18?"),
        (
            "optim.momentum=0.5",
            "no key 'optim.momentum'; did you mean optim.optimizer.momentum?",
        ),
        ("seed=first", "train.yaml: seed=first; expected a whole number$"),
        ("seed=[1,2]", r"seed=\[1,2\]; expected a whole number$"),
        ("trainer.max_epochs=", "trainer.max_epochs=; expected a whole number$"),
        ("data.augmentation.flip=often", "data.augmentation.flip=often; expected a number$"),
        ("model.compile=maybe", "model.compile=maybe; expected true or false$"),
        ("allowed_targets=pkg", r"expected a list, as 'allowed_targets=\[pkg\]'$"),
        ("model.blocks=3", r"expected a list, as 'model.blocks=\[3\]'$"),
        ("data.label_map=red", "expected names with values, as 'data.label_map={name: red}'$"),
        ("model=null", "^no model named null; expected alexnet "),
        ("optim=null", "^no optim named null; expected adamw "),
        ("trainer=[1]", r"^no trainer named \[1\]; expected ddp "),
        ("callbacks=7", "^no callbacks named 7; expected gradient_flow none$"),
        ("model=[", "no viable alternative"),
        ("bogus", "cannot use 'bogus'; expected key=value"),
        (
            "data.label_map={mug: null}",
            r"data.label_map cannot take new keys .* '\+data.label_map={mug: null}'",
        ),
        ("data.sim.cam.width=3", "no key 'data.sim.cam.width'; did you mean data.sim.camera?"),
        (
            "data/view=points",
            r"no key 'data\.[a-z_.]+' beside data/view=points; an experiment sets it",
        ),
        ("seed=-1", "seed=-1; expected a whole number from 0"),
        ("seed=4294967296", "below"),
    ],
)
def test_a_mistake_is_one_line_with_the_nearest_name(override, said):
    with pytest.raises(InputError) as error:
        compose("train", ["experiment=quickstart", override])
    assert re.search(said.replace("?", r"\?"), str(error.value)), str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("verb", "overrides", "said"),
    [
        ("evaluate", ["rn=x"], "no key 'rn'; did you mean run?"),
        ("card", ["experiment=quickstart", "card.data.licens=x"], "did you mean card.data.licence?"),
        ("card", [], "required and not set: name; choose an experiment: experiment=coco_fcos"),
        ("sweep", ["sweep=none"], "no sweep named 'none'; expected quickstart robocup robocup_softmax$"),
        ("sweep", ["jobs=2"], "choose a sweep, .*: sweep=quickstart, sweep=robocup, sweep=robocup_softmax$"),
        ("sweep", ["sweep.trails=2"], "did you mean sweep.trials?"),
        ("ablate", [], "choose an ablation, .* ablation=quickstart, ablation=robocup, "),
        ("ablate", ["ablation.seed=2"], "did you mean ablation.seeds?"),
        ("info", ["data=folders"], "expected .*; did you mean folder?"),
    ],
)
def test_every_verb_names_the_nearest(verb, overrides, said):
    with pytest.raises(InputError) as error:
        compose(verb, overrides)
    assert re.search(said.replace("?", r"\?"), str(error.value)), str(error.value)


BASE = ["experiment=quickstart", "seed=0", "model.width=16", "model.blocks=[1,1]"]


@pytest.fixture(scope="module")
def base():
    return compose("train", BASE)


@pytest.mark.parametrize(
    "changed",
    "seed=3 seed=-1 seed=first seed=1.5 seed=null model.width=32 model.width=wide model.blocks=[2,2] "
    "model.blocks=3 optim.optimizer.lr=1e-3 name=other name=[a] data.view.min_pixels=5 "
    "trainer.precision=half allowed_targets=[mine] paths.runs_dir=/elsewhere name= "
    "paths.data_dir=/elsewhere".split(),
)
def test_a_value_is_set_in_a_composed_config_as_composing_would(changed, base):
    cfg = copy.deepcopy(base)
    try:
        expected = compose("train", [*BASE, changed])
    except InputError as error:
        with pytest.raises(InputError, match=f"^{re.escape(str(error))}$"):
            set_value(cfg, "train", BASE, changed)
    else:
        assert set_value(cfg, "train", BASE, changed)
        assert cfg == expected
        assert cfg != base


@pytest.mark.parametrize(
    "changed",
    ["model=vit_tiny", "data/view=pose", "sed=1", "+a=1", "~seed", "data.view={min_pixels: 5}", "seed.a=1"],
)
def test_what_only_composing_tells_is_left_to_it(changed, base):
    cfg = copy.deepcopy(base)
    assert not set_value(cfg, "train", BASE, changed)
    assert cfg == base


@pytest.mark.parametrize(
    ("verb", "override"),
    [
        ("train", "name=../../x"),
        ("train", "name='a/../../b'"),
        ("train", "name=/tmp/x"),
        ("train", "name=."),
        ("train", "name=''"),
        ("sweep", "sweep.name=../x"),
        ("ablate", "ablation.name=../x"),
    ],
)
def test_a_name_leads_nowhere_else(verb, override):
    chosen = {"train": "experiment", "sweep": "sweep", "ablate": "ablation"}[verb]
    with pytest.raises(InputError, match="names a folder elsewhere; expected a plain name"):
        compose(verb, [f"{chosen}=quickstart", override])


def test_a_name_may_have_a_folder_of_its_own():
    assert compose("train", ["experiment=quickstart", "name='mine/küche 2'"]).name == "mine/küche 2"


def test_a_training_without_experiment_lists_them():
    with pytest.raises(InputError, match="experiment=quickstart"):
        compose("train", [])


@pytest.mark.parametrize("verb", ["sweep", "ablate", "train"])
def test_a_study_starts_only_when_it_is_named(verb, tmp_path, capsys):
    from deeprob.cli import main

    assert main([verb]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"deeprob {verb}: required and not set: ")
    assert "quickstart" in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_seed_zero_is_a_seed():
    assert compose("train", ["experiment=quickstart", "seed=0"]).seed == 0


def test_the_users_own_file_overrides_the_defaults(tmp_path, monkeypatch):
    import shutil

    shutil.copytree(CONFIG_DIR, tmp_path / "configs")
    (tmp_path / "configs" / "local.yaml").write_text("paths:\n  runs_dir: /scratch/mine\n")
    monkeypatch.setattr("deeprob.config.CONFIG_DIR", tmp_path / "configs")
    assert compose("train", ["experiment=quickstart"]).paths.runs_dir == "/scratch/mine"
    assert compose("train", ["experiment=quickstart", "paths.runs_dir=here"]).paths.runs_dir == "here"


def test_a_file_cannot_let_in_its_own_code(tmp_path, monkeypatch):
    import shutil

    shutil.copytree(CONFIG_DIR, tmp_path / "configs")
    (tmp_path / "configs" / "local.yaml").write_text("allowed_targets: [os]\n")
    monkeypatch.setattr("deeprob.config.CONFIG_DIR", tmp_path / "configs")
    with pytest.raises(InputError, match="on the command line only"):
        compose("train", ["experiment=quickstart"])
    assert compose("train", ["experiment=quickstart", "allowed_targets=[mine]"]).allowed_targets == ["mine"]


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("os.system", "outside the packages that a config may call"),
        ("deeprobable.Thing", "outside the packages"),
        ("deeprob.runs.os.system", "cannot be imported|may not be called"),
        ("deeprob.runs.Path", "may not be called"),
        ("deeprob.writing.write_text", "may not be called"),
        ("deeprob.training.schedules.Cosinus", "cannot be imported"),
        (
            "lightning.pytorch.cli.LightningCLI",
            "may not be called; expected .* a class of Callback or Logger",
        ),
        ("lightning.pytorch.Trainer", "may not be called; expected .* a class of Callback or Logger"),
        ("torch.optim.swa_utils.AveragedModel", "may not be called; expected .* a class of Optimizer"),
        ("torchmetrics.Accuracy", "outside the packages"),
    ],
)
def test_a_leaf_calls_nothing_but_our_classes(target, said):
    with pytest.raises(InputError, match=said):
        build({"_target_": target})


def test_a_class_is_held_to_its_schema_by_whatever_name_it_is_reached():
    logger = {"_target_": "lightning.pytorch.loggers.csv_logs.CSVLogger", "save_dir": "x", "prefix": "p"}
    with pytest.raises(InputError, match="Key 'save_dir' not in 'CSVLoggerSettings'"):
        build(logger)
    assert build({"_target_": "deeprob.training.schedules.Cosine"}).warmup == 0.05


def test_a_callback_of_lightning_may_be_asked_for_on_the_command_line():
    callback = build({"_target_": "lightning.pytorch.callbacks.LearningRateMonitor"})
    assert type(callback).__name__ == "LearningRateMonitor"


def test_a_users_own_package_is_let_in_by_name(tmp_path, monkeypatch):
    (tmp_path / "my_package.py").write_text("def make(size):\n    return size * 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    leaf = {"_target_": "my_package.make", "size": 21}
    with pytest.raises(InputError, match=r"allowed_targets=\[my_package\]"):
        build(leaf)
    assert build(leaf, allowed=["my_package"]) == 42


def test_a_wrong_argument_of_a_leaf_is_one_line():
    with pytest.raises(InputError, match=r"schedules\.Cosine"):
        build({"_target_": "deeprob.training.schedules.Cosine", "warm_up": 3})


def test_what_hydra_fills_a_run_folder_may_call():
    schemas = [schema for group in SCHEMA.values() for schema in group.values()]
    targets = {vars(schema)["_target_"] for schema in schemas if "_target_" in vars(schema)}
    assert targets <= LEAVES.keys()


def test_leaves_agree_with_the_classes_they_configure():
    """The schema repeats constructors' parameters; here the two are held together."""
    import importlib
    import inspect

    given_at_run_time = {"num_classes", "params", "network", "objects"}
    for target, schema in LEAVES.items():
        module, _, name = target.rpartition(".")
        configured = getattr(importlib.import_module(module), name)
        signature = inspect.signature(configured)
        parameters = set(signature.parameters)
        keys = arguments(schema)
        passed_on = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
        if passed_on and target.startswith("deeprob."):  # to the class that it derives from
            parameters = parameters - {"options"} | set(inspect.signature(configured.__base__).parameters)
        assert passed_on or keys <= parameters, target
        if target.startswith("deeprob."):
            assert keys == parameters - given_at_run_time, target


def test_flatten_puts_dots_between_the_levels():
    assert flatten(OmegaConf.create({"a": {"b": 1}, "c": 2})) == {"a.b": 1, "c": 2}


ZERO_IS_OFF = (
    "head_convs",
    "mask_convs",
    "bins",
    "roi_features",
    "roi_convs",
    "detail",
    "mined",
    "fragments",
)
SIZES = [
    (name, field.name)
    for name, schema in SCHEMA["model"].items()
    for field in dataclasses.fields(schema)
    if field.type == "int" and field.name in arguments(schema) and field.name not in ("folds", "seed")
]


@pytest.mark.parametrize(("model", "key"), SIZES)
def test_a_size_below_one_is_told_in_our_words(model, key):
    schema = SCHEMA["model"][model]
    leaf = {"_target_": schema._target_, **({"in_channels": 3} if "in_channels" in arguments(schema) else {})}
    for size in (-1,) if key in ZERO_IS_OFF else (0, -1):
        with pytest.raises(InputError, match=key):
            build(leaf | {key: size}, num_classes=3)


def runs_of(*arguments):
    """What a verb's task gets of each run: its config, and the overrides that Hydra knows of."""
    given = []
    hydra_main("train", lambda cfg: given.append((cfg, list(HydraConfig.get().overrides.task))), arguments)
    return given


def test_a_verb_gets_the_config_that_hydras_own_command_line_makes(monkeypatch):
    arguments = ["experiment=quickstart", "seed=3", "data.root=a b"]
    once = runs_of(*arguments)
    monkeypatch.setattr("deeprob.config._composed_once", lambda *_: None)
    assert once == runs_of(*arguments)
    assert [overrides for _, overrides in once] == [arguments]


def test_a_file_that_asks_hydra_for_several_runs_gets_them(tmp_path):
    own = tmp_path / "seeds.yaml"
    own.write_text(
        "# @package _global_\nname: seeds\nhydra: {mode: MULTIRUN, sweeper: {params: {seed: '0,1'}}}\n"
    )
    assert [cfg.seed for cfg, _ in runs_of(f"experiment={own}", f"paths.runs_dir={tmp_path}")] == [0, 1]
