"""Starting up is quick: nothing heavy is imported before it is used."""

import subprocess
import sys
import time

HEAVY = ("torch", "numpy", "lightning", "matplotlib", "pretty_midi", "transformers", "huggingface_hub", "scipy")


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_the_package_imports_nothing_heavy():
    loaded = python("import sys, orchestrion; print(*sys.modules)").split()
    assert not set(HEAVY) & set(loaded)


def test_importing_the_package_takes_under_two_seconds():
    started = time.perf_counter()
    python("import orchestrion")
    assert time.perf_counter() - started < 2


def test_the_command_line_starts_without_torch():
    loaded = python("import sys, orchestrion.cli; print(*sys.modules)").split()
    assert not set(HEAVY) & set(loaded)


def test_loading_a_model_needs_neither_the_trainer_nor_pictures():
    loaded = python("import sys, orchestrion; orchestrion.load; print(*sys.modules)").split()
    assert not {"lightning", "matplotlib", "pretty_midi", "transformers"} & set(loaded)


def test_public_names_are_there():
    assert python("import orchestrion as oc; print(*(getattr(oc, n) is not None for n in oc.__all__))").split() == [
        "True"] * 5
