import importlib.util
import os
import subprocess
import sys

import numba
import pytest

from deeprob import machine_code
from deeprob.machine_code import keep

LOOP = "def twice(x):\n    return 2 * x\n"


@pytest.fixture
def compiled(tmp_path, monkeypatch):
    """Write a loop and another file into a folder; return the loop, compiled for integers."""
    monkeypatch.setenv("DEEPROB_CACHE", str(tmp_path / "cache"))

    def make(folder, other="SIZE = 1\n", module="loops_of_test"):
        (tmp_path / folder).mkdir()
        own, beside = tmp_path / folder / "loops.py", tmp_path / folder / "sizes.py"
        own.write_text(LOOP)
        beside.write_text(other)
        spec = importlib.util.spec_from_file_location(module, own)
        made = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, module, made)
        spec.loader.exec_module(made)
        loop = numba.njit(made.twice, cache=True)
        keep(loop, [own, beside])
        assert loop(21) == 42
        return loop

    return make


def compilations(loop):
    return sum(loop.stats.cache_misses.values())


def test_the_same_text_elsewhere_is_not_compiled_again(compiled):
    assert compilations(compiled("one")) == 1
    assert compilations(compiled("two")) == 0


def test_a_change_in_any_of_the_files_compiles_anew(compiled):
    compiled("one")
    assert compilations(compiled("two", other="SIZE = 2\n")) == 1


def test_a_file_that_was_moved_compiles_anew_for_its_code_names_the_module(compiled, monkeypatch):
    compiled("one", module="loops_before")
    monkeypatch.delitem(sys.modules, "loops_before")
    assert compilations(compiled("two", module="loops_after")) == 1


def test_code_that_names_what_is_not_there_is_compiled_again(compiled, tmp_path):
    compiled("one")
    (kept,) = (tmp_path / "cache/machine_code").iterdir()
    kept.write_bytes(b"cdeeprob_of_before\nloops\n.")  # a pickle of deeprob_of_before.loops
    assert compilations(compiled("two")) == 1


def test_a_file_that_was_cut_off_is_compiled_again(compiled, tmp_path):
    compiled("one")
    (kept,) = (tmp_path / "cache/machine_code").iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    assert compilations(compiled("two")) == 1
    assert compilations(compiled("three")) == 0


def test_where_nothing_can_be_written_a_loop_still_runs(compiled, tmp_path):
    (tmp_path / "cache").write_text("a file")
    assert compilations(compiled("one")) == 1


def test_what_nobody_has_loaded_for_long_goes(compiled, tmp_path):
    compiled("one")
    (kept,) = (tmp_path / "cache/machine_code").iterdir()
    os.utime(kept, (0, kept.stat().st_mtime - machine_code.UNUSED - 60))
    compiled("two", other="SIZE = 2\n")
    assert not kept.exists()
    assert len(list((tmp_path / "cache/machine_code").iterdir())) == 1


@pytest.mark.slow
def test_layers_work_where_numba_compiles_nothing():
    code = "import torch; from deeprob import layers; x = torch.randn(64, 64, requires_grad=True); "
    code += "layers.LayerNorm(64)(x).sum().backward(); print(x.grad.shape)"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "torch.Size([64, 64])", done.stderr
