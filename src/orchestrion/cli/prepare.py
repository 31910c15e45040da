"""`orchestrion prepare`: music into a corpus."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrion.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrion.corpus.preparing import Summary


def register(app: typer.Typer) -> None:
    app.command("prepare")(prepare)


def prepare(
    source: Annotated[str, typer.Argument(help="Folder or zip of audio or MIDI; POP909, MAESTRO, ADL")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the corpus")],
    name: Annotated[str | None, typer.Option(help="The corpus's name; by default the source's")] = None,
    licence: Annotated[str | None, typer.Option(help="The music's licence, where the source states none")] = None,
    sample_rate: Annotated[int, typer.Option(help="Hz")] = 44_100,
    channels: Annotated[int, typer.Option(help="1 or 2")] = 2,
    soundfont: Annotated[Path | None, typer.Option(help="An .sf2 or .sf3 to play MIDI with")] = None,
    program: Annotated[str | None, typer.Option(help="General MIDI programs, as 0,4,11: each piece gets one")] = None,
    vary: Annotated[bool, typer.Option("--vary", help="Play each MIDI piece at a speed, pitch and loudness of its "
                                                      "own, so that captions and sound differ more")] = False,
    reverb: Annotated[bool, typer.Option("--reverb", help="FluidSynth's reverb and chorus")] = False,
    limit: Annotated[int | None, typer.Option(help="At most this many pieces")] = None,
    hours: Annotated[float | None, typer.Option(help="Stop at this many hours of music")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; by default one a core")] = None,
    cluster: Annotated[str | None, typer.Option(help="A Dask scheduler, as tcp://host:8786")] = None,
) -> None:
    """Make a corpus from a folder or a zip of music; after a kill the same command goes on."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from orchestrion.corpus.preparing import PrepareOptions
    from orchestrion.corpus.preparing import prepare as run

    options = PrepareOptions(
        name,
        licence,
        sample_rate,
        channels,
        soundfont,
        programs(program),
        reverb,
        limit,
        hours,
        workers,
        cluster,
        vary,
    )
    bar_console = Console(stderr=True)
    columns = (
        TextColumn("preparing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[heard]}"),
        TimeRemainingColumn(),
    )
    quiet = not bar_console.is_terminal
    with (
        Progress(*columns, console=bar_console, transient=True, disable=quiet) as bar,
        interrupts_answered(bar_console.print),
    ):
        task = bar.add_task("", total=None, heard="")

        def show(summary: "Summary") -> None:
            seen = summary.pieces + (0 if limit else summary.rejected.total())
            bar.update(
                task,
                total=summary.total,
                completed=seen,
                heard=f"{summary.seconds / 3600:.2f} h, {summary.speed:.0f}x real time",
            )

        summary = run(source, output, options, show)
    report(Console(), summary, output)


@contextmanager
def interrupts_answered(say: Callable[[str], None]) -> Iterator[None]:
    """Ctrl-C is answered at once, although the pieces that are being made keep it waiting."""

    def stop(*_: Any) -> None:
        say("stopping as soon as the pieces at hand are made; the same command goes on")
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def programs(text: str | None) -> tuple[int, ...]:
    """`0,4,11` -> (0, 4, 11)."""
    try:
        return tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError as error:
        raise UserError(f"--program takes numbers from 0 to 127 with commas between, not {text!r}") from error


def report(console: "Console", summary: "Summary", output: Path) -> None:
    splits = ", ".join(f"{summary.splits[name]} {name}" for name in ("train", "validation", "test"))
    speed = f", made at {summary.speed:.0f}x real time" if summary.made else ", all of it made before"
    console.print(
        f"{output}: {summary.pieces} pieces ({splits}), {summary.seconds / 3600:.2f} hours{speed}",
        highlight=False,
        soft_wrap=True,
    )
    if not summary.splits["validation"] + summary.splits["test"]:
        console.print(
            "nothing is held out of so few pieces: demos and `compare` will hear what was trained on, until there are "
            "more (one piece in ten is held out, by its name)",
            highlight=False,
            soft_wrap=True,
        )
    if summary.rejected:
        reasons = ", ".join(f"{count} {reason}" for reason, count in summary.rejected.most_common())
        console.print(
            f"{summary.rejected.total()} refused ({reasons}): see {output / 'rejected.jsonl'}",
            highlight=False,
            soft_wrap=True,
        )
