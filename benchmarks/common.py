"""What the benchmarks share: tables, errors, the machine's name."""

import argparse
import math
import platform
import sys
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import torch

from orchestrion.errors import UserError


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; numbers with three significant digits."""
    def cell(value: object) -> str:
        return f"{value:.3g}" if isinstance(value, float) else str(value)
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell(value) for value in line) + " |" for line in lines)


def machine() -> str:
    """Date, processor and threads: figures travel only with these."""
    names = [line.partition(":")[2].strip() for line in _read("/proc/cpuinfo").splitlines()
             if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{date.today()}, {name}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def _read(path: str) -> str:
    return Path(path).read_text() if Path(path).exists() else ""


def count(text: str) -> int:
    """An argument that is a whole number, 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number, 1 or more, not {text!r}")
    return int(text)


def duration(text: str) -> float:
    """An argument that is a time, above 0."""
    try:
        time = float(text)
    except ValueError:
        time = math.nan
    if not 0 < time < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0, not {text!r}")
    return time


def run(main: Callable[[], int | None]) -> None:
    """Runs a benchmark; a user's mistake is one sentence and exit code 2."""
    try:
        sys.exit(main() or 0)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.filename is None:
            raise
        print(f"error: {error.filename} can't be read or written: {error.strerror}", file=sys.stderr)
        sys.exit(2)
