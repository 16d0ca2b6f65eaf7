"""Overrides expanded into the tasks of an array."""

import os
import subprocess
import sys

import pytest

from deeprob.cluster.tasks import make_tasks
from deeprob.config import compose
from deeprob.errors import InputError


def test_every_combination_of_values_is_a_task_with_a_run_folder_of_its_own():
    tasks = make_tasks("train", ["experiment=quickstart", "seed=0,1,2", "model.width=16,32"], "j")
    assert [task.label for task in tasks[:3]] == [
        "seed=0 model.width=16",
        "seed=0 model.width=32",
        "seed=1 model.width=16",
    ]
    assert tasks[5].line == "DEEPROB_RUN_ID=j-5 deeprob train experiment=quickstart seed=2 model.width=32"
    assert tasks[5].run == f"{os.getcwd()}/runs/quickstart/j-5"
    assert len({task.run for task in tasks}) == 6


def test_hydras_ranges_and_choices_expand_and_lists_do_not():
    tasks = make_tasks("train", ["experiment=quickstart", "seed=range(0,3)", "model.blocks=[1,1]"], "j")
    assert [task.label for task in tasks] == ["seed=0", "seed=1", "seed=2"]
    assert "'model.blocks=[1,1]'" in tasks[0].line


def test_values_survive_the_shell():
    text = "it's {x}; $HOME"
    line = make_tasks("train", ["experiment=quickstart", f'name="{text}"'], "j")[0].line
    shown = 'deeprob() { for word in "$@"; do echo "$word"; done; }; eval "$0"'
    said = subprocess.run(["bash", "-c", shown, line], capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == ["train", "experiment=quickstart", f'name="{text}"']


def test_the_run_folder_follows_experiment_name_and_paths():
    overrides = ["experiment=quickstart", "name=mine", "paths.runs_dir=/scratch/runs"]
    assert make_tasks("train", overrides, "j")[0].run == "/scratch/runs/mine/j-0"


def test_a_run_that_goes_on_keeps_its_folder():
    (task,) = make_tasks("train", ["run=runs/quickstart/7"], "j")
    assert task.run == f"{os.getcwd()}/runs/quickstart/7"
    assert "DEEPROB_RUN_ID" not in task.line


def test_a_mistake_in_any_value_is_found_before_anything_is_queued():
    with pytest.raises(InputError, match=r"did you mean model\.width\?"):
        make_tasks("train", ["experiment=quickstart", "model.widht=3"], "j")
    with pytest.raises(InputError, match="no model named 'resnet81'"):
        make_tasks("train", ["experiment=quickstart", "seed=0,1", "model=resnet18,resnet81"], "j")
    with pytest.raises(InputError, match="seed"):
        make_tasks("train", ["experiment=quickstart", "seed=0,first"], "j")


def test_an_array_without_tasks_is_refused():
    with pytest.raises(InputError, match="the array would have no task"):
        make_tasks("train", ["experiment=quickstart", "seed=range(0,0)"], "j")


def test_a_verb_that_needs_no_cluster_is_refused():
    with pytest.raises(InputError, match="'info' cannot be submitted; expected one of train sweep"):
        make_tasks("info", [], "j")


def test_an_option_is_refused():
    with pytest.raises(InputError, match="option -m"):
        make_tasks("train", ["-m", "experiment=quickstart"], "j")


@pytest.mark.slow
def test_an_ablation_becomes_a_training_for_each_variant_and_seed():
    tasks = make_tasks("ablate", ["ablation=quickstart", "ablation.seeds=[0,1]"], "j")
    assert len(tasks) == 2 * 5  # the base and four variants
    assert all("deeprob train experiment=quickstart" in task.line for task in tasks)
    assert tasks[0].run.startswith(f"{os.getcwd()}/runs/ablation-quickstart/base-seed0-")
    assert tasks[0].run.rpartition("/")[2] in tasks[0].line


def test_the_workers_of_a_sweep_share_its_study_and_the_first_writes_the_report():
    tasks = make_tasks("sweep", ["sweep=quickstart"], "j", workers=3)
    assert [task.line for task in tasks] == [
        "deeprob sweep sweep=quickstart",
        "deeprob sweep sweep=quickstart worker=true",
        "deeprob sweep sweep=quickstart worker=true",
    ]
    trials = compose("sweep", ["sweep=quickstart"]).sweep.trials
    assert {(task.study, task.trials) for task in tasks} == {
        (f"{os.getcwd()}/runs/sweeps/quickstart", trials)
    }
    with pytest.raises(InputError, match=r"did you mean model\.width"):
        make_tasks("sweep", ["sweep=quickstart", "+sweep.space={model.widht: [1, 2]}"], "j", workers=3)


def test_several_runs_are_evaluated_each_in_a_task():
    tasks = make_tasks("evaluate", ["run=runs/a/1,runs/a/2"], "j")
    assert [task.line for task in tasks] == [
        "deeprob evaluate run=runs/a/1",
        "deeprob evaluate run=runs/a/2",
    ]


def test_a_rendering_in_parts_is_a_task_for_each_part():
    overrides = ["format=bop", "out=a", "num=5", "sim.objects=/my/meshes", "parts=3", "part=range(0,3)"]
    lines = [task.line for task in make_tasks("render", overrides, "j")]
    assert [line.rpartition(" ")[2] for line in lines] == ["part=0", "part=1", "part=2"]


def test_a_rendering_is_checked_with_the_simulations_settings():
    assert len(make_tasks("render", ["format=bop", "out=a", "num=5", "sim.scene.objects=[3,8]"], "j")) == 1
    with pytest.raises(InputError, match=r"data\.sim\.scene\.objcts"):
        make_tasks("render", ["format=bop", "out=a", "sim.scene.objcts=[3,8]"], "j")


def test_making_tasks_of_a_training_imports_neither_torch_nor_lightning():
    code = (
        "import sys; from deeprob.cluster.tasks import make_tasks;"
        "make_tasks('train', ['experiment=quickstart', 'seed=0,1'], 'j');"
        "sys.exit(bool({'torch', 'lightning'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
