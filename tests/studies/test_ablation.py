"""Ablations: what is planned, how a run is known again, and what is written; trainings are stand-ins."""

import csv
import os
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from deeprob.cli.ablate import ablate
from deeprob.config import compose
from deeprob.errors import InputError
from deeprob.overrides import quoted
from deeprob.studies import processes
from deeprob.studies.ablation import compare, config_hash, plan, write

VARIANTS = {"half_width": ["model.width=16"], "no_norm": ["model.norm=false"]}

# Copies what a finished training leaves from a folder made beforehand; the variant `no_norm` fails.
TRAINER = """
import os, pathlib, shutil, sys
made = pathlib.Path(sys.argv[1])
overrides = dict(a.split("=", 1) for a in sys.argv[2:])
if overrides.get("model.norm") == "false":
    sys.exit("deeprob train: failed: nothing to normalise")
run = pathlib.Path(overrides["paths.runs_dir"].strip("'")) / overrides["name"] / os.environ["DEEPROB_RUN_ID"]
source = made / f"{'half' if 'model.width' in overrides else 'full'}-{overrides['seed']}"
shutil.copytree(source, run, dirs_exist_ok=True)
(run / "trained").open("a").write("x")
"""


def make_cfg(runs_dir: Path, **changes):
    cfg = OmegaConf.create(
        {
            "ablation": {
                "name": "trial",
                "experiment": "quickstart",
                "metric": "top1_accuracy",
                "seeds": [0, 1],
                "overrides": [],
                "design": "list",
                "variants": VARIANTS,
                "factors": {},
                "rows": {},
                "columns": {},
                "without": [],
                "starts": {},
                "budget": {"hours": None, "runs": None},
            },
            "paths": {"data_dir": "data", "runs_dir": str(runs_dir), "cache_dir": "it's here"},
            "jobs": 2,
            "dry_run": False,
        }
    )
    for key, value in changes.items():
        OmegaConf.update(cfg, key.replace("__", "."), value, merge=False)
    return cfg


@pytest.fixture
def trainer(tmp_path, monkeypatch, write_run, make_predictions):
    for seed in (0, 1):
        for name, skill in (("full", 3.0), ("half", 1.0)):
            write_run(tmp_path / "made" / f"{name}-{seed}", make_predictions(seed, skill=skill), seed)
    script = tmp_path / "train.py"
    script.write_text(TRAINER)
    command = (sys.executable, "-I", "-S", str(script), str(tmp_path / "made"))
    monkeypatch.setattr(processes, "COMMAND", command)


def test_every_variant_is_planned_with_every_seed_and_the_base_first(tmp_path):
    planned = plan(make_cfg(tmp_path))
    assert list(planned.jobs) == [(v, s) for v in ("base", "half_width", "no_norm") for s in (0, 1)]
    job = planned.jobs["half_width", 1]
    assert job.overrides[:3] == ("experiment=quickstart", "model.width=16", "seed=1")
    assert job.run.path.parent == tmp_path / "ablation-trial"
    assert job.run.run_id.startswith("half_width-seed1-")


def test_the_planned_overrides_lead_to_the_planned_folder(tmp_path):
    job = plan(make_cfg(tmp_path)).jobs["base", 0]
    cfg = compose("train", job.overrides)
    assert Path(cfg.paths.runs_dir) / cfg.name == job.run.path.parent
    assert cfg.paths.cache_dir == "it's here"


def test_overrides_of_the_ablation_hold_for_every_variant(tmp_path):
    planned = plan(make_cfg(tmp_path, ablation__overrides=["trainer.max_epochs=1"]))
    assert all("trainer.max_epochs=1" in job.overrides for job in planned.jobs.values())


def test_the_hash_changes_with_the_config_and_not_with_its_place():
    base = config_hash(compose("train", ["experiment=quickstart"]))
    moved = compose("train", ["experiment=quickstart", "paths.runs_dir=/elsewhere", "paths.data_dir=/data"])
    assert config_hash(moved) == base
    assert config_hash(compose("train", ["experiment=quickstart", "seed=1"])) != base


def test_a_key_that_does_not_exist_is_named_with_its_variant(tmp_path):
    with pytest.raises(InputError, match=r"variant typo: .*modl"):
        plan(make_cfg(tmp_path, ablation__variants={"typo": ["modl.width=3"]}))


@pytest.mark.parametrize(
    ("factors", "said"),
    [
        ({"model.widht": [16]}, r"ablation\.factors\.model\.widht: .*did you mean model\.width\?$"),
        ({"width": [16]}, r"ablation\.factors\.width: .*no key 'width'; did you mean model\.width or"),
        (
            {"model.width": [16], "optim.lr": [1]},
            r"ablation\.factors\.optim\.lr: .*did you mean optim\.optimizer\.lr\?$",
        ),
        ({"model": ["resnet19"]}, r"ablation\.factors\.model: no model named 'resnet19'; .*mean resnet18\?$"),
        (
            {"model.width": ["wide"]},
            r"ablation\.factors\.model\.width: .*width=wide; expected a whole number",
        ),
    ],
)
@pytest.mark.parametrize("design", ["one_at_a_time", "leave_one_out"])
def test_a_factor_that_is_no_key_is_named(tmp_path, design, factors, said):
    cfg = make_cfg(tmp_path, ablation__variants={}, ablation__factors=factors, ablation__seeds=[0])
    cfg.ablation.design = design
    with pytest.raises(InputError, match=said) as error:
        plan(cfg)
    assert "\n" not in str(error.value)


def test_two_variants_that_are_the_same_are_refused(tmp_path):
    variants = {"a": ["model.width=16"], "b": ["model.width=16"]}
    with pytest.raises(InputError, match="variant b: the same as a"):
        plan(make_cfg(tmp_path, ablation__variants=variants))


def test_a_variant_that_changes_nothing_is_refused(tmp_path):
    with pytest.raises(InputError, match="variant nothing: the same as base"):
        plan(make_cfg(tmp_path, ablation__variants={"nothing": []}))


@pytest.mark.parametrize("name", ["base", "a/b", ""])
def test_a_name_that_cannot_be_a_folder_or_is_taken_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="a variant named"):
        plan(make_cfg(tmp_path, ablation__variants={name: ["model.width=16"]}))


@pytest.mark.parametrize("seeds", [[], [1, 1]])
def test_seeds_must_be_some_and_different(tmp_path, seeds):
    with pytest.raises(InputError, match="expected one or more, each once"):
        plan(make_cfg(tmp_path, ablation__seeds=seeds))


@pytest.mark.parametrize("text", ["/a b/c", "it's", "a\\b", "ends\\", "x=[1,2]", "{a: 1}", "null"])
def test_quoting_survives_hydra(text):
    assert OverridesParser.create().parse_override(f"key={quoted(text)}").value() == text


def test_a_dry_run_prints_the_plan_and_runs_nothing(tmp_path, trainer, capsys):
    assert ablate(make_cfg(tmp_path, dry_run=True)) == 0
    assert "model.width=16" in capsys.readouterr().out
    assert not (tmp_path / "ablation-trial").exists()


def test_an_ablation_end_to_end(tmp_path, trainer, capsys):
    assert ablate(make_cfg(tmp_path)) == 1  # one variant fails
    folder = tmp_path / "ablation-trial"
    rows = {row["variant"]: row for row in csv.DictReader((folder / "table.csv").open())}
    assert list(rows) == ["base", "half_width", "no_norm"]
    assert float(rows["half_width"]["difference"]) < 0
    assert rows["no_norm"]["top1_accuracy"] == ""
    assert "seed 0: deeprob train: failed: nothing to normalise" in rows["no_norm"]["error"]
    for name in ("ablation.html", "table.md", "table.tex", "difference.svg"):
        assert (folder / name).stat().st_size > 0
    page = (folder / "ablation.html").read_text(encoding="utf-8")
    assert "nothing to normalise" in page
    assert "http:" not in page.replace("http://www.w3.org", "")
    assert "failed  no_norm: seed 0" in capsys.readouterr().out


def test_a_repeated_call_runs_only_what_is_missing(tmp_path, trainer):
    ablate(make_cfg(tmp_path, ablation__variants={"half_width": ["model.width=16"]}, ablation__seeds=[0]))
    ablate(make_cfg(tmp_path, ablation__variants={"half_width": ["model.width=16"]}))
    folders = sorted((tmp_path / "ablation-trial").glob("*-seed*"))
    assert len(folders) == 4
    assert {(folder / "trained").read_text() for folder in folders} == {"x"}


def test_a_budget_of_runs_is_kept_and_what_is_left_is_told(tmp_path, trainer, capsys):
    cfg = make_cfg(tmp_path, ablation__variants={"half_width": ["model.width=16"]}, ablation__budget__runs=3)
    assert ablate(cfg) == 0
    assert len(list((tmp_path / "ablation-trial").glob("*-seed*/results.json"))) == 3
    assert "1 of 4 runs left by the budget: half_width seed 1" in capsys.readouterr().out
    assert "failed" not in (tmp_path / "ablation-trial" / "table.md").read_text()
    assert ablate(cfg) == 0
    assert len(list((tmp_path / "ablation-trial").glob("*-seed*/results.json"))) == 4
    assert "left by the budget" not in capsys.readouterr().out


def test_a_variant_that_is_not_run_yet_did_not_fail(tmp_path, trainer):
    cfg = make_cfg(tmp_path, ablation__variants={"half_width": ["model.width=16"]}, ablation__budget__runs=2)
    assert ablate(cfg) == 0
    page = (tmp_path / "ablation-trial" / "ablation.html").read_text(encoding="utf-8")
    assert "not run yet" in page
    assert ">failed<" not in page


def test_a_budget_without_hours_starts_nothing(tmp_path, trainer, capsys):
    assert ablate(make_cfg(tmp_path, ablation__budget__hours=0)) == 0
    assert not list(tmp_path.glob("ablation-trial/*/results.json"))
    assert "6 of 6 runs left" in capsys.readouterr().out


def test_a_budget_below_nothing_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"ablation\.budget\.hours is -1"):
        ablate(make_cfg(tmp_path, ablation__budget__hours=-1))


def test_the_number_of_jobs_is_checked(tmp_path):
    with pytest.raises(InputError, match="jobs=0; expected 1 or more"):
        ablate(make_cfg(tmp_path, jobs=0))


def test_a_base_that_failed_still_gives_a_table(tmp_path):
    planned = plan(make_cfg(tmp_path))
    findings = compare(planned, {job.label: "out of memory" for job in planned.jobs.values()})
    page = write(planned, findings).read_text(encoding="utf-8")
    assert "base failed, so nothing can be compared" in page
    assert page.count("out of memory") == len(planned.jobs)
    assert not os.path.exists(planned.folder / "difference.svg")


def test_a_factorial_tells_its_effects(tmp_path, trainer):
    cfg = make_cfg(
        tmp_path,
        ablation__design="factorial",
        ablation__variants={},
        ablation__factors={"model.width": [16], "trainer.max_epochs": [3]},
    )
    assert ablate(cfg) == 0
    folder = tmp_path / "ablation-trial"
    effects = {row["effect"]: row for row in csv.DictReader((folder / "effects.csv").open())}
    assert list(effects) == ["width-16", "max_epochs-3", "width-16 × max_epochs-3"]
    assert float(effects["width-16"]["high"]) < 0
    assert float(effects["max_epochs-3"]["estimate"]) == 0  # the stand-in does not look at it
    assert "| width-16 |" in (folder / "table.md").read_text(encoding="utf-8")
    assert "Main effects" in (folder / "ablation.html").read_text(encoding="utf-8")


GRID = {
    "ablation__design": "grid",
    "ablation__variants": {},
    "ablation__rows": {"all": [], "some": ["data.labelled=0.5"]},
    "ablation__columns": {"full": [], "half": ["model.width=16", "model.pretrained=@first"]},
    "ablation__starts": {"first": ["trainer.max_epochs=1"]},
}


def test_variants_start_from_the_run_of_their_seed(tmp_path):
    planned = plan(make_cfg(tmp_path, **GRID))
    for seed in (0, 1):
        start = planned.starts["first", seed]
        assert start.overrides[:3] == ("experiment=quickstart", "trainer.max_epochs=1", f"seed={seed}")
        cfg = compose("train", planned.jobs["all+half", seed].overrides)
        assert Path(cfg.model.pretrained) == start.run.path


def test_a_start_that_there_is_not_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no start 'first'.*expected one of: none"):
        plan(make_cfg(tmp_path, **{**GRID, "ablation__starts": {}}))


def test_a_grid_tells_the_effect_of_a_column_in_each_row_and_draws_its_curves(tmp_path, trainer):
    assert ablate(make_cfg(tmp_path, **GRID)) == 0
    folder = tmp_path / "ablation-trial"
    effects = {row["effect"]: row for row in csv.DictReader((folder / "effects.csv").open())}
    assert list(effects) == ["half at all", "half at some"]
    assert float(effects["half at some"]["high"]) < 0
    assert len(list(folder.glob("start-first-*/trained"))) == 2
    assert "full at some" in (folder / "curves.svg").read_text(encoding="utf-8")
