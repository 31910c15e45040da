"""`embed`, `search` and `label`: sound and words in one space."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from orchestrion.cli.shared import Device, Output, progress_bar
from orchestrion.errors import UserError

Clap = Annotated[str, typer.Argument(metavar="MODEL", help="A model with a CLAP (`orchestrion train clap`), hf:owner/"
                                                           "name, or laion:WEIGHTS through transformers.")]


def register(app: typer.Typer) -> None:
    for verb in (embed, search, label):
        app.command()(verb)


def embed(
    model: Clap,
    sounds: Annotated[list[Path] | None, typer.Argument(metavar="[IN]...", help="Audio files or folders.")] = None,
    text: Annotated[list[str] | None, typer.Option("--text", help="Words to place in the space; repeatable.")] = None,
    output: Output = None,
    device: Device = "auto",
) -> None:
    """The place of sounds and words in a CLAP's space: orchestrion embed MODEL dog.wav --text "a dog"."""
    import torch

    from orchestrion.playing.listening import Listener, sounds_in, write_points

    if not sounds and not text:
        raise UserError("there is nothing to embed: give audio files, or words with --text")
    files = sounds_in(sounds) if sounds else []
    listener = Listener.load(model, device)
    with progress_bar("listening") as progress:
        heard = listener.hear_files(files, progress, _said(files)) if files else {}
    names = [str(path) for path in heard] + list(text or [])
    points = torch.stack([*heard.values(), *(listener.read(each) for each in text or [])])
    if output is not None:
        write_points(output, names, points, listener.name)
        typer.echo(output)
        return
    for name, point in zip(names, points):
        typer.echo(json.dumps({"of": name, "embedding": [round(float(x), 6) for x in point]}, ensure_ascii=False))


def search(
    model: Clap,
    query: Annotated[str, typer.Argument(help="Words, or an audio file to find the like of.")],
    sounds: Annotated[list[Path], typer.Argument(metavar="IN...", help="Audio files or folders to search in.")],
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many to show.")] = 10,
    device: Device = "auto",
) -> None:
    """The sounds nearest to words or to a sound: orchestrion search MODEL "slow harp" folder/"""
    import torch

    from orchestrion.playing.listening import Listener, asked_for, sounds_in
    from orchestrion.playing.listening import search as nearest

    files = sounds_in(sounds)
    listener = Listener.load(model, device)
    point = asked_for(listener, query)
    with progress_bar("listening") as progress:
        heard = listener.hear_files(files, progress, _said(files))
    for found in nearest(point, torch.stack(list(heard.values())), [str(path) for path in heard], count):
        typer.echo(f"{found.nearness:+.3f}  {found.name}")


def label(
    model: Clap,
    corpus: Annotated[Path, typer.Argument(help="A corpus made by `orchestrion prepare`.")],
    captions: Annotated[Path, typer.Option("--captions", help="A text file with a caption a line, or a captioned "
                                                              "corpus, to choose from.")],
    device: Device = "auto",
) -> None:
    """Give each piece of a corpus that has no caption the nearest one: its manifest is changed."""
    from orchestrion.corpus.corpus import Corpus
    from orchestrion.playing.listening import Listener, captions_from
    from orchestrion.playing.listening import label as give

    opened, choice = Corpus.open(corpus), captions_from(captions)
    with progress_bar("listening") as progress:
        count = give(Listener.load(model, device), opened, choice, progress)
    typer.echo(f"{corpus}: {count} of {len(opened.pieces)} pieces labelled")


def _said(files: list[Path]) -> Callable[[str], None] | None:
    """Of several files, those that can't be heard are told of and left out; a single one is an error."""
    return (lambda sentence: typer.echo(sentence, err=True)) if len(files) > 1 else None
