"""Where a stage's figures go: a CSV file always, TensorBoard and Weights & Biases when asked."""

import csv
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from orchestrion.errors import UserError, did_you_mean
from orchestrion.storage import replacing


def means(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Each figure's mean over the steps that had it."""
    names = dict.fromkeys(name for row in rows for name in row)
    found = {name: [row[name] for row in rows if name in row] for name in names}
    return {name: sum(values) / len(values) for name, values in found.items()}


class Log(Protocol):
    def write(self, step: int, figures: dict[str, float]) -> None: ...

    def close(self) -> None: ...


class CsvLog:
    """`log.csv`: a row each time. Rows after `step`, of a run that was killed, are dropped on opening."""

    def __init__(self, folder: Path, step: int) -> None:
        self.path = folder / "log.csv"
        self.rows: list[dict[str, str]] = []
        if self.path.exists():
            with self.path.open(newline="", errors="replace") as file:
                self.rows = [row for row in csv.DictReader(file) if _reached(row) <= step]
        self.columns = list(self.rows[0]) if self.rows else []
        self._rewrite()

    def write(self, step: int, figures: dict[str, float]) -> None:
        row = {"step": str(step)} | {name: f"{value:.6g}" for name, value in figures.items()}
        self.rows.append(row)
        if row.keys() - set(self.columns):
            self.columns += [name for name in row if name not in self.columns]
            self._rewrite()
        else:
            with self.path.open("a", newline="") as file:
                csv.DictWriter(file, self.columns).writerow(row)

    def close(self) -> None: ...

    def _rewrite(self) -> None:
        with replacing(self.path) as part, part.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.columns)
            if self.columns:
                writer.writeheader()
            writer.writerows(self.rows)


def _reached(row: dict[str, str]) -> float:
    """A row's step; beyond all steps where a kill or a bad disk left no whole row."""
    step = row.get("step") or ""
    return int(step) if step.isdecimal() and None not in row else math.inf


class TensorBoardLog:
    def __init__(self, folder: Path, step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UserError("TensorBoard isn't installed: pip install 'orchestrion[tensorboard]'") from error
        self.writer = SummaryWriter(str(folder), purge_step=step + 1)

    def write(self, step: int, figures: dict[str, float]) -> None:
        for name, value in figures.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        self.writer.close()


class WandbLog:
    def __init__(self, folder: Path, step: int) -> None:
        try:
            import wandb
        except ImportError as error:
            raise UserError("Weights & Biases isn't installed: pip install 'orchestrion[wandb]'") from error
        recipe = json.loads((folder.parents[1] / "recipe.json").read_text())
        name = f"{folder.parents[1].name}-{folder.name}"
        self.run = wandb.init(project="orchestrion", name=name, id=name, resume="allow", dir=folder, config=recipe)

    def write(self, step: int, figures: dict[str, float]) -> None:
        self.run.log(figures, step=step)

    def close(self) -> None:
        self.run.finish()


LOGS: dict[str, Callable[[Path, int], Log]] = {"tensorboard": TensorBoardLog, "wandb": WandbLog}


def check_logs(names: Sequence[str]) -> None:
    for name in names:
        if name not in LOGS:
            raise UserError(f"there is no log {name!r}; {did_you_mean(name, LOGS)}")


def open_logs(names: Sequence[str], folder: Path, step: int) -> list[Log]:
    kinds: list[Callable[[Path, int], Log]] = [CsvLog, *(LOGS[name] for name in names)]
    return [kind(folder, step) for kind in kinds]
