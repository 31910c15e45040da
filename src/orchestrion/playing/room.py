"""Whether what is asked for fits into this machine, found out before the work."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from orchestrion.contracts import Continuous, Space
from orchestrion.errors import UserError

COPIES = 4  # of the latents while they are sampled: noise, state, prediction, and what is known
WAV_BYTES = 2**32 - 2**16  # a wav's sizes have 32 bits, and tags come after the sound


def check_memory(space: Space, frames: int, count: int) -> None:
    """Refuses what can't be held: all latents of all clips are in memory at once."""
    width = space.channels * (space.bands or 1) if isinstance(space, Continuous) else 2 * space.codebooks
    _refuse_memory(4 * COPIES * width * frames * count)


def check_memory_of_audio(samples: int, channels: int) -> None:
    """Refuses edits, whose sound is in memory: what was and what becomes of it."""
    _refuse_memory(4 * 2 * samples * channels)


def _refuse_memory(needed: int) -> None:
    have = memory()
    if have is not None and needed > have:
        raise UserError(f"that would take {_gib(needed)} of memory, and this machine has {_gib(have)}; ask for fewer "
                        "seconds, or fewer clips")


def memory() -> int | None:
    """Bytes of this machine's memory; None where it doesn't tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def check_disk(paths: Sequence[Path], samples: int, channels: int) -> None:
    """Refuses files that the disk can't hold beside the one that is in the making, and wavs beyond 4 GiB."""
    size = 2 * samples * channels
    if paths[0].suffix.lower() == ".wav" and size > WAV_BYTES:
        raise UserError(f"{paths[0]} would have {_gib(size)}, and a wav holds 4 GiB; write flac, or ask for "
                        "fewer seconds")
    needed, free = 2 * size + size * len(paths), shutil.disk_usage(paths[0].parent).free
    if needed > free:
        raise UserError(f"{paths[0]} would take {_gib(needed)} of disk while it is made, and {_gib(free)} are free; "
                        "ask for fewer seconds, or free some space")


def _gib(size: int) -> str:
    return f"{size / 2**30:,.1f} GiB" if size >= 2**30 else f"{size / 2**20:,.1f} MiB"
