"""How this process asks the system for memory: what tensors have freed is kept for the next ones.

glibc gives large blocks back to the kernel at once, and asks anew for the next. A network's layers do that hundreds of
times a second, and first touching fresh pages costs more than most of what is then done to them: kept, RAVE takes two
thirds of the time on two threads of a virtual machine (docs/speed.md).
"""

import ctypes
import os
import sys

TRIM, MMAP = -1, -3  # malloc.h: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
KEPT = 512 * 2**20  # bytes that may lie free before any are given back
LARGEST = 32 * 2**20  # bytes of a block that comes from what is kept: the most that glibc allows


def keep_freed() -> bool:
    """Whether it could be arranged: on Linux with glibc, unless the environment settles it (`MALLOC_…`)."""
    if not sys.platform.startswith("linux") or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(MMAP, LARGEST) and mallopt(TRIM, KEPT))
