"""What several verbs share: their common options, progress bars, tables, and reading NAME=VALUE."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from orchestrion.errors import UserError

Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")]
Dtype = Annotated[str, typer.Option("--dtype", help="auto (bfloat16 where that is faster), float32 or bfloat16.")]
ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="A bundled model (see `orchestrion models`), a "
                                                                "model folder, or hf:owner/name.")]
Output = Annotated[Path | None, typer.Option("-o", "--output", help="The file to write, its format by its ending.")]


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[float], None]]:
    """A bar on stderr, from 0 to 1."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
               TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=1.0)
        yield lambda done: bar.update(task, completed=done)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Plain columns, so that a pipe can read them too."""
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    for row in [heads, *rows]:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def numbers(pairs: list[str], flag: str, example: str = "tempo=90") -> dict[str, float]:
    """`NAME=NUMBER` arguments as a dict."""
    read: dict[str, float] = {}
    for pair in pairs:
        name, found, value = (part.strip() for part in pair.partition("="))
        try:
            number = float(value)
        except ValueError as error:
            raise UserError(f"{flag} takes NAME=NUMBER, such as {example}, not {pair!r}") from error
        if not name or not found or not math.isfinite(number):
            raise UserError(f"{flag} takes NAME=NUMBER, such as {example}, not {pair!r}")
        if name in read:
            raise UserError(f"{flag} gives {name} twice, {read[name]:g} and {number:g}: leave one out")
        read[name] = number
    return read
