"""The scoreboard as Markdown: a table for each heading, intervals in brackets, warnings as notes."""

from collections.abc import Sequence
from pathlib import Path

from orchestrion.evaluation.scoreboard import Contender, MetricInfo, Scoreboard
from orchestrion.evaluation.tables import ARROWS, COST_HEADS, best, cost_cells, interval, number, rows, warnings
from orchestrion.storage import replacing


def markdown(board: Scoreboard) -> str:
    parts = [f"# {board.title}", f"{board.corpus}; {board.date}; {board.machine}; "
             + ", ".join(f"{name} {value}" for name, value in board.settings.items())]
    parts += [f"> {note}" for note in board.notes]
    numbers = warnings(board)
    for group in board.groups:
        metrics = [metric for metric in board.metrics if metric.group == group]
        winners = {metric.name: best(board, metric) for metric in metrics}
        heads = ["", *(f"{metric.name.removesuffix(' ' + group.partition(': ')[2])} ({metric.unit}) "
                       f"{ARROWS[metric.better]}" for metric in metrics)]
        body = [[contender.name, *(_cell(contender, metric, contender.name in winners[metric.name], numbers)
                                   for metric in metrics)] for contender in rows(board, metrics)]
        parts += [f"## {group}", table(heads, body)]
    costs = [[c.name, *cost_cells(c.cost)] for c in board.contenders if c.cost]
    if costs:
        parts += ["## cost", table(["", *COST_HEADS], costs)]
    if numbers:
        parts.append("\n".join(f"{number}. {text}" for text, number in numbers.items()))
    if board.commands:
        parts += ["## again", "```\n" + "\n".join(board.commands) + "\n```"]
    return "\n\n".join(parts) + "\n"


def _cell(contender: Contender, metric: MetricInfo, bold: bool, numbers: dict[str, int]) -> str:
    figure = contender.figure(metric.name)
    if figure is None:
        return ""
    text = f"**{number(figure.value)}**" if bold else number(figure.value)
    spread = interval(figure)
    note = f" ⁽{numbers[figure.warning]}⁾" if figure.warning else ""
    return text + (f" [{spread}]" if spread else "") + note


def table(heads: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in [heads, ["---"] * len(heads), *body])


def write_markdown(board: Scoreboard, path: Path) -> Path:
    with replacing(path) as part:
        part.write_text(markdown(board), encoding="utf-8")
    return path
