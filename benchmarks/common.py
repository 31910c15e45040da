"""What the benchmarks share: tables, errors, the machine's name."""

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


def run(main: Callable[[], int | None]) -> None:
    """Runs a benchmark; a user's mistake is one sentence and exit code 2."""
    try:
        sys.exit(main() or 0)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
