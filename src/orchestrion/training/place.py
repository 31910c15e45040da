"""The run folder: whose it is, which recipe it holds, and one process at a time in it."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrion.config import first_difference
from orchestrion.errors import UserError
from orchestrion.storage import check_writable, replacing
from orchestrion.systems.system import Recipe

RECIPE, BEGUN, LOCK = "recipe.json", "begun.json", ".lock"


def check_place(folder: Path, recipe: Recipe) -> None:
    """Refuses a folder that is none, holds something else, or holds a run of another recipe. Only the steps of a stage
    may be others than they were, as long as no later stage stands on it."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file, and a run needs a folder: choose another with -o")
    if (folder / RECIPE).exists():
        held = _held(folder)
        if found := first_difference(held.to_dict(), _as_long_as(held, recipe).to_dict()):
            field, there, here = found
            raise UserError(f"{folder} holds a run of another recipe, where {field} is {_short(there)} and not "
                            f"{_short(here)}: use another folder with -o, or the system, size and --set that it was "
                            "begun with")
        _check_lengths(folder, held, recipe)
    elif folder.exists() and any(not path.name.startswith(".") and path.name != BEGUN for path in folder.iterdir()):
        raise UserError(f"{folder} holds something that is not a run; choose another folder with -o")


def keep_recipe(folder: Path, recipe: Recipe, seed: int, start: Sequence[str], say: Callable[[str], None]) -> None:
    """Writes what the run is begun with; says where it goes on with another seed, or with other lengths. Refuses to go
    on from other models than it was begun with (start: as `--from` names them)."""
    named = [str(Path(name).resolve()) if Path(name).exists() else name for name in start]
    if not (folder / RECIPE).exists():
        _write(folder / BEGUN, {"seed": seed, "from": named})
        _write(folder / RECIPE, recipe.to_dict())  # last: a folder that has it is a run
        return
    begun = _read(folder / BEGUN, "delete it to go on") if (folder / BEGUN).exists() else {}
    if (had := begun.get("from", named)) != named:
        raise UserError(f"{folder} holds a run that was begun {_from(had)}, not {_from(named)}: go on as it was begun, "
                        "or use another folder with -o")
    if (drawn := begun.get("seed", seed)) != seed:
        say(f"this run was begun with --seed {drawn}: what is drawn from here on follows from {seed}")
    changed = [(old, new) for old, new in zip(_held(folder).stages, recipe.stages) if old.steps != new.steps]
    for old, new in changed:
        say(f"stage {new.name} has {new.steps} steps now, not {old.steps}: its learning rate follows")
    if changed:
        _write(folder / RECIPE, recipe.to_dict())


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
        _sweep(folder)
        yield


def _sweep(folder: Path) -> None:
    """Removes what a killed process left half-written; a model that it had only moved aside comes back."""
    stages = folder / "stages"
    for left in (*folder.glob(".*.json.*"), *folder.glob(".model.*"), *stages.glob("*/.checkpoint.pt.*"),
                 *stages.glob("*/demos/.*")):
        if (left / "old").is_dir() and not (folder / "model").exists():
            os.replace(left / "old", folder / "model")
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _held(folder: Path) -> Recipe:
    advice = "use another folder with -o"
    data = _read(folder / RECIPE, advice)
    try:
        return Recipe.from_dict(data)
    except UserError as error:
        raise UserError(f"{folder / RECIPE} is damaged, or of another version ({error}): {advice}") from error


def _read(path: Path, advice: str) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict):
            raise ValueError("it is no table of fields")
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}): {advice}") from error
    return data


def _write(path: Path, data: dict[str, Any]) -> None:
    with replacing(path) as part:
        part.write_text(json.dumps(data, indent=2), encoding="utf-8")


def _as_long_as(held: Recipe, recipe: Recipe) -> Recipe:
    """The recipe with its stages as long as those of `held`."""
    if len(held.stages) != len(recipe.stages):
        return recipe
    stages = tuple(replace(new, steps=old.steps) for old, new in zip(held.stages, recipe.stages))
    return replace(recipe, stages=stages)


def _check_lengths(folder: Path, held: Recipe, recipe: Recipe) -> None:
    """Refuses another length for a stage on which a later one is trained already."""
    begun = [(folder / "stages" / stage.name / "checkpoint.pt").exists() for stage in recipe.stages]
    for i, (old, new) in enumerate(zip(held.stages, recipe.stages)):
        later = next((s.name for s, there in zip(recipe.stages[i + 1 :], begun[i + 1 :]) if there), None)
        if old.steps != new.steps and later:
            raise UserError(f"{folder} holds stage {later!r}, which stands on stage {new.name!r} as it was after "
                            f"{old.steps} steps: use another folder with -o, and --from {folder} to begin with its "
                            "parts")


def _from(names: Sequence[str]) -> str:
    return " ".join(f"--from {name}" for name in names) if names else "without --from"


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
