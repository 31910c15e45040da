"""`evaluate` and `compare`: the scoreboard."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrion.cli.shared import Device, Dtype, ModelName, progress_bar

if TYPE_CHECKING:
    from orchestrion.contracts import Progress
    from orchestrion.evaluation.scoreboard import Scoreboard

Data = Annotated[Path, typer.Option("--data", help="A corpus made by `orchestrion prepare`; held-out pieces count.")]
Folder = Annotated[Path, typer.Option("-o", "--output", help="The folder of the report and the clips.")]
Clips = Annotated[int, typer.Option("--clips", help="Clips of each contender, and of real music on either side.")]
Seconds = Annotated[float, typer.Option("--seconds", help="Of each clip.")]
Seed = Annotated[int, typer.Option("--seed", help="Of the first clip; the next number for each after it.")]
Embedding = Annotated[list[str] | None, typer.Option("--embedding", help="What clips are compared by: log-mel, notes, "
                                                     "or NAME:WEIGHTS for a learnt one. Default: log-mel and notes.")]
Steps = Annotated[int | None, typer.Option("--steps", help="Sampling steps, of the models that have them.")]
Cost = Annotated[bool, typer.Option("--cost/--no-cost", help="Measure speed and memory in fresh processes.")]
Training = Annotated[float, typer.Option("--training-hours", help="Training music searched for copies; 0: none.")]
Shown = Annotated[int, typer.Option("--shown", help="Clips of each contender in the report.")]


def register(app: typer.Typer) -> None:
    app.command()(evaluate)
    app.command()(compare)


def evaluate(model: ModelName, data: Data, output: Folder = Path("report"), clips: Clips = 64, seconds: Seconds = 5.0,
             seed: Seed = 0, embedding: Embedding = None, steps: Steps = None, cost: Cost = True,
             training_hours: Training = 12.0, shown: Shown = 4, device: Device = "auto", dtype: Dtype = "auto") -> None:
    """Measure one model: orchestrion evaluate piano --data corpora/mine"""
    compare([model], data, output, clips, seconds, seed, embedding, steps, cost, training_hours, shown, device, dtype)


def compare(models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Bundled models, model folders, or "
                                                                                 "hf:owner/name.")],
            data: Data, output: Folder = Path("report"), clips: Clips = 64, seconds: Seconds = 5.0, seed: Seed = 0,
            embedding: Embedding = None, steps: Steps = None, cost: Cost = True, training_hours: Training = 12.0,
            shown: Shown = 4, device: Device = "auto", dtype: Dtype = "auto") -> None:
    """Measure models side by side, and write a page that plays them: orchestrion compare A B --data corpora/mine"""
    from orchestrion.corpus.corpus import Corpus
    from orchestrion.evaluation.comparing import CompareOptions
    from orchestrion.evaluation.comparing import compare as run
    from orchestrion.evaluation.embeddings import DEFAULT
    from orchestrion.evaluation.report import write_report
    from orchestrion.playing.model import Model

    settings = {} if steps is None else {"steps": steps}
    options = CompareOptions(clips, seconds, seed, tuple(embedding or DEFAULT), shown, settings, cost, training_hours)
    load = partial(Model.load, device=device, dtype=dtype)
    board = run(models, Corpus.open(data), output, load, options, [command()], doing)
    written = write_report(board, output)
    show(board)
    for path in written:
        typer.echo(path)


def command() -> str:
    """This very command, as the shell would take it again."""
    import shlex

    return shlex.join(["orchestrion", *sys.argv[1:]])


@contextmanager
def doing(what: str) -> Iterator["Progress"]:
    """A bar on a terminal, a line elsewhere."""
    if not sys.stderr.isatty():
        typer.echo(what, err=True)
    with progress_bar(what) as progress:
        yield progress


def show(board: "Scoreboard") -> None:
    from orchestrion.evaluation.markdown import markdown

    typer.echo(markdown(board))
