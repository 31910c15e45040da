"""Loss curves out of a run folder's logs."""

import csv
import math
from pathlib import Path

from orchestrion.evaluation.scoreboard import Curve

POINTS = 200  # of a curve, at most
NOT_LOSSES = ("step", "seconds", "hours", "learning_rate")


def run_of(source: str) -> Path | None:
    """The run folder that wrote a model folder: `RUN/model`; None for other models."""
    folder = Path(source)
    return folder.parent if folder.name == "model" and (folder.parent / "recipe.json").is_file() else None


def read_log(path: Path) -> tuple[list[int], dict[str, list[float]]]:
    """`log.csv` -> steps, and each column that has a number in every row."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns: dict[str, list[float]] = {}
    for name in rows[0] if rows else ():
        try:
            columns[name] = [float(row[name]) for row in rows]
        except (ValueError, TypeError):
            continue
    return [int(step) for step in columns.pop("step", [])], columns


def loss_curves(run: Path) -> tuple[Curve, ...]:
    """Every loss of every stage, averaged over as many stretches as a curve has points."""
    curves = []
    for log in sorted(run.glob("stages/*/log.csv"), key=lambda path: path.stat().st_mtime):
        steps, columns = read_log(log)
        for name, values in columns.items():
            if name in NOT_LOSSES or not all(map(math.isfinite, values)) or not steps:
                continue
            size = math.ceil(len(steps) / POINTS)
            places = range(0, len(steps), size)
            curves.append(Curve(log.parent.name, name, tuple(steps[min(i + size, len(steps)) - 1] for i in places),
                                tuple(sum(values[i : i + size]) / len(values[i : i + size]) for i in places)))
    return tuple(curves)
