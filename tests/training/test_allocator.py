import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from deeprob.training.allocator import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        x.clone()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

torch.set_num_threads(1)
x = torch.zeros(1 << 21)
faults()
before, kept = faults(), keep_freed_memory()
faults()
print(before, faults(), kept)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts the page faults of glibc")
def test_freed_memory_is_used_again_without_the_kernel():
    said = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True).stdout
    before, after, kept = said.split()
    if kept == "False":
        pytest.skip("this C library has no mallopt")
    assert int(before) > 1000
    assert int(after) < int(before) / 10
