"""The command line: parse, call, print. Each file holds a few verbs and enters them by `register(app)`.

Errors are one sentence on stderr; exit code 2 for the user's mistake, 1 for ours, 130 after Ctrl-C. No
traceback unless `--debug`, which may stand anywhere.
"""

import errno
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from orchestrion.cli import (
    catalogue,
    codec,
    doctor,
    edits,
    embed,
    evaluate,
    generate,
    interchange,
    prepare,
    train,
    transfer,
)
from orchestrion.errors import UserError

app = typer.Typer(name="orchestrion", add_completion=False,
                  pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]},
                  help="Train and play neural audio generators.")
UsageError = typer.BadParameter.__bases__[0]  # typer carries its own click since 0.25, click's before that
for group in (generate, edits, prepare, train, codec, transfer, embed, interchange, evaluate, catalogue, doctor):
    group.register(app)


STOPPED = 130  # by Ctrl-C, as shells count it
_OUT_OF_MEMORY = ("can't allocate memory", "out of memory")  # as torch says it, on CPUs and on GPUs
_FULL_OR_FORBIDDEN = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)


def _version(wanted: bool) -> None:
    if wanted:
        from orchestrion import __version__

        typer.echo(f"orchestrion {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True,
                                          help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Train and play neural audio generators."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and exits."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    try:
        code = typer.main.get_command(app)([w for w in words if w != "--debug"] or ["--help"],
                                           prog_name="orchestrion", standalone_mode=False)
        if code == STOPPED:  # typer makes a code of Ctrl-C since 0.16
            raise KeyboardInterrupt
        sys.exit(code if isinstance(code, int) else 0)
    except (typer.Abort, KeyboardInterrupt):
        _fail("stopped", STOPPED, debug)
    except UserError as error:
        _fail(str(error), 2, debug)
    except Exception as error:
        if isinstance(error, UsageError):
            context = getattr(error, "ctx", None)
            hint = f" (see `{context.command_path} --help`)" if context else ""
            _fail(f"{error.format_message().rstrip('.')}{hint}", 2, debug)  # type: ignore[attr-defined]
        if isinstance(error, OSError) and error.errno in _FULL_OR_FORBIDDEN:
            _fail(f"{error.filename or 'the output'} can't be written: {error.strerror}", 2, debug)
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            _fail(f"{Path(str(error.filename)).name[:40]}… is too long a name for a file: shorten it", 2, debug)
        if isinstance(error, MemoryError) or any(words in str(error) for words in _OUT_OF_MEMORY):
            _fail(f"there is not enough memory for this ({str(error)[:200]}): ask for fewer seconds, fewer clips, a "
                  "smaller batch or a smaller size", 2, debug)
        _fail(f"a mistake of ours, {type(error).__name__}: {error}; run again with --debug and report it", 1,
              debug)


def _fail(sentence: str, code: int, debug: bool) -> None:
    if debug:
        import traceback

        traceback.print_exc()
    typer.echo(f"orchestrion: {' '.join(sentence.split())}", err=True)
    sys.exit(code)
