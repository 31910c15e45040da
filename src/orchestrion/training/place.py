"""The run folder: whose it is, which recipe it holds, and one process at a time in it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrion.config import first_difference
from orchestrion.errors import UserError
from orchestrion.storage import check_writable, replacing
from orchestrion.systems.system import Recipe

RECIPE, BEGUN, LOCK = "recipe.json", "begun.json", ".lock"


def check_place(folder: Path, recipe: Recipe) -> None:
    """Refuses a folder that is none, holds something else, or holds a run of another recipe."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file, and a run needs a folder: choose another with -o")
    if (folder / RECIPE).exists():
        held = Recipe.from_dict(json.loads((folder / RECIPE).read_text()))
        if found := first_difference(held.to_dict(), recipe.to_dict()):
            field, there, here = found
            raise UserError(f"{folder} holds a run of another recipe, where {field} is {_short(there)} and not "
                            f"{_short(here)}: use another folder with -o, or the system, size and --set that it was "
                            "begun with")
    elif folder.exists() and any(not path.name.startswith(".") for path in folder.iterdir()):
        raise UserError(f"{folder} holds something that is not a run; choose another folder with -o")


def keep_recipe(folder: Path, recipe: Recipe, seed: int, say: Callable[[str], None]) -> None:
    """Writes what the run is begun with, once; says where it goes on with another seed."""
    if not (folder / RECIPE).exists():
        for name, data in ((BEGUN, {"seed": seed}), (RECIPE, recipe.to_dict())):
            with replacing(folder / name) as part:
                part.write_text(json.dumps(data, indent=2))
    elif (folder / BEGUN).exists():
        begun = json.loads((folder / BEGUN).read_text())["seed"]
        if begun != seed:
            say(f"this run was begun with --seed {begun}: what is drawn from here on follows from {seed}")


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Holds the folder, which is made where it is missing. Raises UserError where another process holds it."""
    check_writable(folder / LOCK)
    with (folder / LOCK).open("w") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:  # Windows
            pass
        except OSError as error:
            raise UserError(f"this run is in use by another process: {folder}; wait for it, or choose another folder "
                            "with -o") from error
        yield


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
