import json

import pytest

from deeprob.cli import benchmark
from deeprob.cli.benchmark import main
from deeprob.environment import shipped
from deeprob.errors import InputError


@pytest.mark.slow
def test_a_layer_is_timed_in_a_fresh_process_and_written(tmp_path, capsys):
    assert benchmark.main(["layers", "quick=true", "only=softmax", f"out={tmp_path}"]) == 0
    result = json.loads((tmp_path / "layers.json").read_text())
    assert {row["layer"] for row in result["rows"]} == {"softmax"}
    assert all(row["seconds"] > 0 and row["saved_bytes"] > 0 for row in result["rows"])
    assert result["gemm_peak_gflops"] > 0
    assert (tmp_path / "layers.png").stat().st_size > 1000
    assert "| softmax |" in (tmp_path / "layers.md").read_text()
    assert "geometric mean" in capsys.readouterr().out


@pytest.mark.slow
def test_the_simulator_is_timed_in_every_variant(tmp_path):
    out = ["rounds=1", "images=1", "scaling=0", "memory=0", "waiting=0", f"out={tmp_path}"]
    assert benchmark.main(["sim", *out]) == 0
    rows = json.loads((tmp_path / "sim.json").read_text())["rows"]
    assert {"plain", "maps", "frames", "physics", "bop", "tiny"} <= {row["variant"] for row in rows}
    assert {row["size"] for row in rows} == {"128x128", "640x480"}


@pytest.mark.slow
def test_the_trials_of_a_sweep_are_timed(tmp_path, capfd):
    assert benchmark.main(["sweep", "trials=4", "jobs=1", f"out={tmp_path}"]) == 0
    result = json.loads((tmp_path / "sweep.json").read_text())
    (stretch, whole) = result["rows"]
    assert (stretch["first"], stretch["last"]) == (whole["first"], whole["last"]) == (1, 3)
    assert whole["training_seconds"] > 0
    assert 0 < whole["overhead_seconds"] <= whole["overhead_max"]
    assert len(result["first_trial_seconds"]) == 1
    assert "| 1 to 3 |" in (tmp_path / "sweep.md").read_text()
    assert benchmark.main(["sweep", "trials=2", "jobs=2"]) == 2
    assert "expected more trials than workers" in capfd.readouterr().err


def row(ratio):
    return {"layer": "relu", "shape": "s", "layout": "NCHW", "time_ratio": ratio, "torch_seconds": 1.0}


def test_rounds_are_joined_by_medians_with_their_spread():
    rounds = [{"gemm_peak_gflops": 10.0 * k, "rows": [row(r)]} for k, r in ((1, 0.5), (2, 0.9), (3, 0.6))]
    joined = benchmark.join(rounds)
    assert joined["rows"][0]["time_ratio"] == 0.6
    assert joined["rows"][0]["time_ratio_range"] == [0.5, 0.9]
    assert joined["gemm_peak_gflops"] == 20.0
    assert joined["rounds"] == 3


def test_a_geometric_mean():
    assert benchmark.geometric_mean([0.5, 2.0]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "args",
    [
        ["quick=perhaps"],
        ["rounds=0"],
        ["everything"],
        ["only="],
        ["compiled=no"],
    ],
)
def test_arguments_it_cannot_use_are_refused(args):
    with pytest.raises(InputError):
        benchmark.main(args)


def test_a_measurement_that_fails_says_so(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(benchmark, "measure", lambda *_: "ValueError: no such row")
    assert benchmark.main(["layers", f"out={tmp_path}"]) == 1
    assert "no such row" in capsys.readouterr().err


@pytest.mark.parametrize(("left_out", "told"), [(2, "were left out"), (0, "no layers match only=roi_align")])
def test_rows_that_are_left_out_are_not_called_unknown(tmp_path, monkeypatch, left_out, told):
    monkeypatch.setattr(benchmark, "measure", lambda *_: {"rows": [], "left_out": left_out})
    with pytest.raises(InputError, match=told):
        benchmark.main(["layers", "compiled=true", "only=roi_align", f"out={tmp_path}"])


@pytest.mark.slow
def test_the_gpus_benchmark_runs_in_miniature_and_goes_on_where_it_stopped(tmp_path, capfd):
    arguments = ["gpu", f"out={tmp_path}", "size=small", "only=eager,gradcheck,layers,training"]
    assert main([*arguments, "minutes=0.01"]) == 0
    assert "items are left" in capfd.readouterr().out
    assert main([*arguments, "minutes=5"]) == 0
    assert "0 items are left" in capfd.readouterr().out
    lines = [json.loads(line) for line in (tmp_path / "gpu-miniature.jsonl").read_text().splitlines()]
    states = {line["item"]: line["state"] for line in lines}
    assert set(states.values()) == {"done"}, lines
    assert {item.partition(":")[0] for item in states} == {"eager", "gradcheck", "layers", "training"}
    table = (tmp_path / "gpu-miniature.md").read_text()
    assert "| linear |" in table
    assert "| robocup | bf16 |" in table


def test_an_item_whose_process_dies_is_noted_and_not_tried_again(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(shipped("benchmarks"))
    import gpu

    record, script = tmp_path / "gpu-miniature.jsonl", tmp_path / "dies.py"
    script.write_text(
        "import os, sys\n"
        f'print(\'{{"item": "layers:relu", "state": "begun"}}\', file=open({str(record)!r}, \'a\'))\n'
        "os.abort()\n"
    )
    monkeypatch.setattr(gpu, "__file__", str(script))
    gpu.supervise(["layers:relu", "layers:gelu"], "small", record, float("inf"))
    assert gpu.done(record) == {"layers:relu"}
    assert "exit code -6" in gpu.report(gpu.read(record), ["layers:gelu"])
