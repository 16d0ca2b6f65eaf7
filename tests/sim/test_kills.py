"""A rendering that is killed at random moments, and given again each time, writes the same files."""

from pathlib import Path

import pytest

from deeprob.sim.export.run import export
from tests.fixtures.kills import ROOT, killed_and_given_again
from tests.sim.conftest import small
from tests.sim.test_export import contents

SCENES = 40
SCRIPT = """
import sys
from pathlib import Path
from tests.sim.conftest import small
from deeprob.sim.export.run import export
if __name__ == "__main__":
    format_name, out, scenes = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    export(small(min_visible=0.2), format_name, out, scenes, ("train",), 2, progress=False)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("format_name", "seed"), [("bop", 0)])
def test_a_rendering_killed_at_random_writes_the_same_files(tmp_path, format_name, seed):
    script, cut, whole = tmp_path / "render.py", tmp_path / "cut", tmp_path / "whole"
    script.write_text(SCRIPT)
    records = cut / ".records" / "train"
    command = [str(script), format_name, str(cut), str(SCENES)]
    struck = killed_and_given_again(
        command, lambda: len(list(records.glob("*"))), kills=2, longest=0.3, seed=seed, cwd=ROOT
    )
    assert struck >= 1  # else nothing was tried
    export(small(min_visible=0.2), format_name, Path(whole), SCENES, ("train",), 2, progress=False)
    assert contents(cut) == contents(whole)
