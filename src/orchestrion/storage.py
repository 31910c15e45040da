"""Writing so that nothing is lost or half-written."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from orchestrion.errors import UserError


@contextmanager
def replacing(target: str | Path) -> Iterator[Path]:
    """A temporary path beside `target`, with its ending; it takes the target's place when all went well.

    A file or a folder. An existing folder is moved aside before and removed after.
    """
    target = Path(target)
    check_writable(target)
    fence = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    part = fence / target.name
    try:
        yield part
        if target.is_dir() and part.is_dir():
            os.replace(target, fence / "old")
        os.replace(part, target)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{target} can't be written: {getattr(error, 'strerror', None) or error}") from error
    finally:
        shutil.rmtree(fence, ignore_errors=True)


def share(part: Path) -> None:
    """Gives a file that was written for its owner alone the mode that any new file has."""
    usual = part.with_name(f"{part.name}.usual")
    usual.touch()
    part.chmod(usual.stat().st_mode)
    usual.unlink()


def check_writable(target: str | Path) -> None:
    """Refuses an output path before the work starts: `UserError` where it can't be written.

    Missing parent folders are made.
    """
    target = Path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise UserError(
            f"{target} can't be written: {error.strerror or error}; choose another output") from error
