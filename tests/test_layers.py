"""DESIGN's layers, read from the imports: each imports only from layers below, siblings not each other."""

import ast
from pathlib import Path

import pytest

import orchestrion

SOURCE = Path(orchestrion.__file__).parent
GROUND = {"errors", "storage", "config", "devices", "memory", "tempo"}  # words and writing that every layer may use
LAYERS = [
    {"audio"},
    {"contracts", "nn", "sampling"},
    {"codecs", "conditioners", "generators", "objectives", "corpus"},
    {"systems"},
    {"playing", "training", "evaluation", "interchange"},
    {"cli", "studio"},
    {"__main__"},
]
# `contracts` are the words that the rest of its layer and all above it speak.
SPOKEN_BY_SIBLINGS = {"contracts"}


def layer_of(package):
    if package in GROUND:
        return -1
    for number, names in enumerate(LAYERS):
        if package in names:
            return number
    return None


def package_of(file):
    first = file.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


def imported_packages(tree):
    """Names right under `orchestrion` that a module imports, at whatever depth of its code."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not used here"
            names = [node.module or ""]
            if node.module == "orchestrion":
                names = [f"orchestrion.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "orchestrion" and len(parts) > 1:
                yield parts[1]


def offences(package, tree):
    own = layer_of(package)
    for other in imported_packages(tree):
        theirs = layer_of(other)
        if theirs is None or other == package:  # a name of the package itself, such as __version__
            continue
        if theirs > own:
            yield f"imports {other}, a layer above"
        elif theirs == own and other not in SPOKEN_BY_SIBLINGS and own >= 0:
            yield f"imports {other}, its sibling"


MODULES = sorted(p for p in SOURCE.rglob("*.py") if package_of(p) != "__init__" and "models" not in p.parts)


@pytest.mark.parametrize("file", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_module_imports_only_from_below(file):
    package = package_of(file)
    assert layer_of(package) is not None, f"{package} stands on no layer: enter it into LAYERS"
    assert not list(offences(package, ast.parse(file.read_text())))


@pytest.mark.parametrize("package, code, expected", [
    ("audio", "from orchestrion.contracts import Codec", "a layer above"),
    ("codecs", "def f():\n    from orchestrion.systems.system import System", "a layer above"),
    ("codecs", "import orchestrion.generators", "its sibling"),
    ("nn", "from orchestrion import training", "a layer above"),
    ("errors", "from orchestrion.audio import Audio", "a layer above"),
])
def test_this_test_finds_offences(package, code, expected):
    assert [o for o in offences(package, ast.parse(code)) if expected in o]


@pytest.mark.parametrize("code", ["from orchestrion.errors import UserError", "import orchestrion",
                                  "from orchestrion.contracts import Codec", "import torch"])
def test_this_test_lets_the_rest_pass(code):
    assert not list(offences("codecs", ast.parse(code)))


@pytest.mark.parametrize("file", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_file_can_be_read_in_one_sitting(file):
    assert len(file.read_text().splitlines()) <= 420
