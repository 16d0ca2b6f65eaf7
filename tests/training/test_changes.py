"""Changes to a run that goes on: what it cannot take is one line, and leaves the folder as it was."""

import hashlib
import json
import re

import pytest
from omegaconf import OmegaConf, ValidationError

from deeprob.cli import main
from deeprob.config import compose
from deeprob.data.settings import Augmentation, DetectionAugmentation, PointAugmentation
from deeprob.schema.typed import typed
from deeprob.training.changes import change
from deeprob.training.experiment import read_config


def files(run):
    """The content of every file but log.txt, which says that somebody tried."""
    return {
        str(path.relative_to(run.path)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in run.path.rglob("*")
        if path.is_file() and path.name not in ("log.txt", ".lock", ".prepare.lock")
    }


REFUSED = [
    ("optim=adamw", "chooses another optim"),
    ("model=vit_tiny", "chooses another model"),
    ("data/view=pose", "chooses another data/view"),
    ("experiment=quickstart", "chooses another experiment"),
    ("trainer=lr_finder", "chooses another trainer"),
    ("optim.optimizer._target_=torch.optim.AdamW", "chooses another"),
    ("trainer.max_epochs=abc", "expected a whole number"),
    ("trainer.max_epochs=2.5", "expected a whole number"),
    ("data.batch_size=many", "expected a whole number"),
    ("model.blocks=3", r"config\.yaml"),
    ("data.augmentation.noise=loud", "expected a number"),
    ("optim.schedule.warmup=0.1", "no key 'optim.schedule.warmup'"),
    ("optim.schedule.peak=x", "expected a number"),
    ("seed=1,2", "stands for several runs"),
    ("seed=-1", "expected a whole number from 0"),
    ("trainer.max_epoch=2", "no key 'trainer.max_epoch'; did you mean trainer.max_epochs"),
    ("modle.width=2", "no key 'modle'; did you mean model"),
    ("+model.new=2", "is not for a run that goes on"),
    ("~model.width", "is not for a run that goes on"),
    ("-m", "is not for a run that goes on"),
    ("trainer.overfit=4", "trainer.overfit is not for a run that goes on"),
    ("trainer.lr_finder=50", "trainer.lr_finder is not for a run that goes on"),
    ("paths.data_dir=/elsewhere", "moves nothing; set data.root"),
    ("bogus", "bogus is not for a run that goes on; expected key=value"),
]
UNFIT = [
    ("model.width=12", r"last\.ckpt: its weights do not fit this model \(size mismatch for model\."),
    ("model.blocks=[1,1,1]", "its weights do not fit this model"),
    ("optim.optimizer.lr=0.5", "its optimiser has lr 0.05, not 0.5"),
    ("optim.optimizer.weight_decay=0.1", "its optimiser has weight_decay"),
    ("model.freeze=[fc.*]", "other groups of parameters"),
    ("optim.decay_norm_and_bias=true", "other groups of parameters"),
    ("data.root=/not/there", "/not/there: no such folder"),
    ("evaluation.split=test", "no split 'test'"),
    ("trainer.precision=half", "trainer.precision is half"),
]


def test_a_finished_run_is_left_as_it_is_by_what_is_refused(trained, capsys):
    run = trained("a", "trainer.max_epochs=1")
    assert main(["evaluate", f"run={run.path}"]) == 0
    before = files(run)
    for override, said in [*REFUSED, *UNFIT]:
        capsys.readouterr()
        assert main(["train", f"run={run.path}", override]) == 2, override
        error = capsys.readouterr().err
        assert error.count("\n") == 1, error
        assert re.search(said, error), (override, error)
        assert files(run) == before, override
    assert main(["evaluate", f"run={run.path}"]) == 0


def test_what_a_run_can_take_is_taken(trained):
    run = trained("a", "trainer.max_epochs=1", "optim.optimizer.lr=0.02")
    changes = [
        "trainer.max_epochs=2",
        "data.batch_size=8",
        "optim.schedule.peak=0.4",
        "optim.optimizer.lr=0.02",
    ]
    assert main(["train", f"run={run.path}", *changes]) == 0
    assert json.loads(run.training.read_text())["epochs"] == 2
    cfg = read_config(run)
    assert (cfg.data.batch_size, cfg.optim.schedule.peak) == (8, 0.4)
    assert run.overrides.read_text().splitlines() == changes


def test_a_change_is_read_as_a_new_training_reads_it(trained, squares_config):
    run = trained("a", "trainer.max_epochs=1")
    changes = ["optim.optimizer.lr=1e-3", "model.blocks=[2,2]"]
    wanted = squares_config("trainer.max_epochs=1", *changes)
    cfg = change(run, changes)
    assert cfg.optim.optimizer.lr == 0.001
    assert cfg.model == wanted.model
    assert cfg.data == OmegaConf.create(OmegaConf.to_container(wanted.data, resolve=True))


@pytest.mark.parametrize("experiment", ["quickstart_vit", "robocup", "ycb_points", "quickstart_knn"])
def test_a_written_config_gets_its_types_back(experiment, tmp_path):
    composed = compose("train", [f"experiment={experiment}", "callbacks=gradient_flow", "logger=csv"])
    written = OmegaConf.to_container(composed, resolve=True)
    again = typed(written)
    assert again == OmegaConf.create(written)
    for key in (
        "model",
        "objective",
        "data",
        "data.view",
        "data.source",
        "optim.schedule",
        "callbacks.gradient_flow",
    ):
        assert OmegaConf.get_type(OmegaConf.select(again, key)) is not dict, key
    with pytest.raises(ValidationError):
        again.callbacks.gradient_flow.every = "often"


@pytest.mark.parametrize(
    ("view", "kind"),
    [
        ("classification", Augmentation),
        ("detection", DetectionAugmentation),
        ("points", PointAugmentation),
    ],
)
def test_an_augmentation_read_back_is_of_its_own_kind(view, kind):
    composed = compose(
        "train", ["name=x", "model=fcos", "data=robocup_msl", f"data/view={view}", "data.root=x"]
    )
    again = typed(OmegaConf.to_container(composed, resolve=True))
    assert OmegaConf.get_type(again.data.augmentation) is kind
    assert again.data.augmentation == composed.data.augmentation


def test_what_follows_another_value_follows_it_again():
    composed = compose("train", ["experiment=robocup", "data.root=here"])
    again = typed(OmegaConf.to_container(composed, resolve=True))
    again.data.root = "/there"
    assert again.data.source.root == "/there"
    apart = compose("train", ["experiment=robocup", "data.root=here", "data.source.root=own"])
    again = typed(OmegaConf.to_container(apart, resolve=True))
    again.data.root = "/there"
    assert again.data.source.root == "own"


def test_a_config_of_another_version_keeps_what_is_unknown_today():
    composed = compose("train", ["experiment=quickstart"])
    written = OmegaConf.to_container(composed, resolve=True)
    written["model"]["once"] = 3
    again = typed(written)
    assert again.model.once == 3
    assert again.trainer == OmegaConf.create(written["trainer"])


def test_a_key_of_an_earlier_version_is_read_from_a_run_folder():
    composed = compose("train", ["experiment=quickstart", "optim.backbone_lr_factor=0.5"])
    written = OmegaConf.to_container(composed, resolve=True)
    optim = written["optim"]
    optim["body_lr_factor"] = optim.pop("backbone_lr_factor")
    assert typed(written).optim.backbone_lr_factor == 0.5
