"""Any runs in one table: grouped by what was trained, named by what sets them apart."""

import pytest

from deeprob.errors import InputError
from deeprob.studies.gather import gather, write_comparison


@pytest.fixture
def runs(tmp_path, write_run, make_predictions):
    """Two seeds of a wide and a narrow network, one run of another experiment, one that was not evaluated."""

    def make(experiment, run_id, seed, width, skill):
        run = write_run(tmp_path / experiment / run_id, make_predictions(seed, skill=skill), seed)
        run.config.write_text(
            f"name: {experiment}\nseed: {seed}\nmodel: {{width: {width}}}\npaths: {{data_dir: '{run_id}'}}\n"
        )
        return run

    made = {(w, s): make("demo", f"w{w}-{s}", s, w, 1 + w / 16) for w in (16, 32) for s in (0, 1)}
    made["other"] = make("other", "1", 0, 8, 1.0)
    (tmp_path / "demo" / "unfinished").mkdir()
    return made


def test_runs_that_differ_by_their_seed_alone_are_one_group(runs, tmp_path):
    groups, changes = gather(str(tmp_path / "*" / "*"))
    assert {name: sorted(of) for name, of in groups.items()} == {
        "demo width=16": [0, 1],
        "demo width=32": [0, 1],
        "other": [0],
    }
    assert changes["demo width=32"] == ["model.width=32"]


def test_of_runs_with_the_same_config_and_seed_the_newest_counts(runs, tmp_path, write_run, make_predictions):
    again = write_run(tmp_path / "demo" / "w16-0-later", make_predictions(0))
    again.config.write_text("name: demo\nseed: 0\nmodel: {width: 16}\n")
    groups, _ = gather(str(tmp_path / "demo" / "*"))
    assert groups["demo width=16"][0].run_id == "w16-0-later"


def test_the_table_compares_with_the_group_asked_for(runs, tmp_path):
    findings, path = write_comparison(
        str(tmp_path / "demo" / "*"), tmp_path / "out", "macro_f1", "demo width=32"
    )
    assert [row.name for row in findings.rows] == ["demo width=32", "demo width=16"]
    assert findings.rows[1].difference.value < 0
    assert path.read_text(encoding="utf-8").count("demo width=16") >= 2
    assert {p.name for p in path.parent.iterdir()} == {
        "comparison.html",
        "table.md",
        "table.csv",
        "table.tex",
        "difference.svg",
    }


@pytest.mark.parametrize("pattern", ["nothing/*", "other/*"])
def test_fewer_than_two_groups_cannot_be_compared(runs, tmp_path, pattern):
    with pytest.raises(InputError, match="expected two or more to compare"):
        write_comparison(str(tmp_path / pattern), tmp_path / "out", "top1_accuracy")


def test_a_base_that_is_not_there_is_named_with_those_that_are(runs, tmp_path):
    with pytest.raises(InputError, match="no group 'x'; expected demo width=16, demo width=32"):
        write_comparison(str(tmp_path / "demo" / "*"), tmp_path / "out", "top1_accuracy", "x")


def test_a_run_without_config_is_named(runs, tmp_path):
    runs["other"].config.unlink()
    with pytest.raises(InputError, match=r"config\.yaml is missing"):
        gather(str(tmp_path / "*" / "*"))


def test_a_broken_config_is_one_line(runs, tmp_path):
    runs["other"].config.write_text("a: [1,")
    with pytest.raises(InputError, match="not a readable config"):
        gather(str(tmp_path / "*" / "*"))
