"""Freed memory is kept for what is made next."""

import os
import subprocess
import sys

import pytest

from orchestrion.memory import keep_freed

FAULTS = """
import resource, torch
{}
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def layers():
    return [torch.ones(4 * 2**20) for _ in range(12)]  # 16 MiB each: 4096 pages
for _ in range(3):
    layers()
before = faults()
for _ in range(3):
    layers()
print(faults() - before)
"""


def faults(first_line, **environment):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")} | environment
    told = subprocess.run([sys.executable, "-c", FAULTS.format(first_line)], env=kept, capture_output=True, text=True,
                          check=True)
    return int(told.stdout)


@pytest.mark.skipif(not keep_freed(), reason="another C library, or the environment settles it")
def test_what_a_round_has_freed_serves_the_next():
    # with the thresholds that glibc starts from, held there: left alone it raises them as blocks are freed
    fresh = faults("", MALLOC_MMAP_THRESHOLD_=str(2**17), MALLOC_TRIM_THRESHOLD_=str(2**17))
    kept = faults("import orchestrion")
    print(f"page faults of 36 tensors of 16 MiB: {fresh}, kept {kept}")
    assert fresh > 36 * 4000 and kept < 0.05 * fresh


def test_what_the_environment_says_goes_first(monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1000")
    assert not keep_freed()
