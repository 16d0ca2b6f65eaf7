import os
import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from deeprob.training.allocator import give_back_freed_memory, keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        x.clone()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

torch.set_num_threads(1)
x = torch.zeros(1 << 21)
faults()
before, kept = faults(), keep_freed_memory()
faults()
faults()  # what was freed first may not fit where it is asked for next
after = faults()
y = [x.clone() for _ in range(20)]  # 160 MB
del y
held = resident()
give_back_freed_memory()
print(before, after, kept, held - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts the page faults of glibc")
def test_freed_memory_is_used_again_without_the_kernel_until_it_is_given_back():
    # maps every large array, whatever was freed before: else it is chance what glibc gives back by itself
    mapped = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(128 << 10)}
    run = subprocess.run(
        [sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True, env=mapped
    )
    said = run.stdout
    before, after, kept, given_back = said.split()
    if kept == "False":
        pytest.skip("this C library has no mallopt")
    assert int(before) > 1000
    assert int(after) < int(before) / 10
    assert int(given_back) > 100 << 20
