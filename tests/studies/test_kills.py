"""An ablation that is killed at random moments, and given again each time, trains every run to its end."""

import pytest
import torch

from deeprob.config import compose
from deeprob.overrides import quoted
from deeprob.runs import Run
from deeprob.studies.ablation import plan
from deeprob.training.run import train_run
from tests.fixtures.kills import killed_and_given_again


@pytest.mark.slow
def test_an_ablation_killed_at_random_ends_with_every_run(tmp_path, squares_overrides):
    own = [o for o in squares_overrides if not o.startswith(("name=", "paths.", "trainer.max_epochs"))]
    own += ["trainer.max_epochs=6", "evaluation.baselines=[]"]
    paths = [o for o in squares_overrides if o.startswith("paths.")]
    asked = [
        "ablation.name=killed",
        "ablation.experiment=quickstart",
        "ablation.seeds=[0]",
        f"ablation.overrides=[{','.join(map(quoted, own))}]",
        "+ablation.variants={no_dropout: ['model.dropout=0']}",
        *paths,
    ]
    planned = plan(compose("ablate", asked))
    runs = {name: job.run for (name, _), job in planned.jobs.items()}

    def epochs():
        return sum("val/loss" in row for run in runs.values() for row in run.read_metrics())

    command = ["-m", "deeprob", "ablate", *asked]
    struck = killed_and_given_again(command, epochs, kills=2, longest=1.0, seed=0)
    assert struck >= 1  # else nothing was tried
    assert sorted(path.name for path in planned.folder.glob("*-seed0-*")) == sorted(
        r.run_id for r in runs.values()
    )
    assert (planned.folder / "ablation.html").is_file()
    for (name, _), job in planned.jobs.items():
        assert job.done
        rows = [row["epoch"] for row in job.run.read_metrics() if "val/loss" in row]
        assert rows == list(range(6))
        alone = Run(tmp_path / "alone" / name)
        alone.path.mkdir(parents=True)
        train_run(compose("train", list(job.overrides)), alone, [])
        found, expected = (
            torch.load(run.checkpoint("last"), weights_only=True)["state_dict"] for run in (job.run, alone)
        )
        assert [key for key in expected if not torch.equal(found[key], expected[key])] == []
