"""Clips made once: a folder of files that a second run goes on with instead of making them again."""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from zipfile import BadZipFile

import numpy as np

from orchestrion.audio import Audio
from orchestrion.contracts import Progress
from orchestrion.errors import UserError
from orchestrion.storage import replacing

BATCH = 8
KEY = "key.json"

Make = Callable[[Sequence[int]], list[Audio]]
"""Numbers of clips -> those clips."""


@dataclass(frozen=True)
class Shelf:
    """A contender's folder: `0000.flac` …, and `key.json`, which says what was asked for.

    Whatever is measured is read back from these files, so that a run that goes on gives the same figures
    as one that never stopped.
    """

    folder: Path
    key: str

    def path(self, number: int) -> Path:
        return self.folder / f"{number:04d}.flac"

    def fill(self, count: int, make: Make, progress: Progress | None = None) -> None:
        """Makes the clips that are missing, a few at a time. A folder of another key is emptied first."""
        self._claim()
        missing = [number for number in range(count) if not self.path(number).exists()]
        for start in range(0, len(missing), BATCH):
            some = missing[start : start + BATCH]
            for number, clip in zip(some, make(some)):
                clip.write(self.path(number))
            if progress:
                progress((count - len(missing) + start + len(some)) / count)

    def read(self, count: int) -> list[Audio]:
        return [Audio.read(self.path(number)) for number in range(count)]

    def _claim(self) -> None:
        note = self.folder / KEY
        if note.exists() and json.loads(note.read_text()).get("key") == self.key:
            return
        if self.folder.exists():
            rmtree(self.folder)
        with replacing(note) as part:
            part.write_text(json.dumps({"key": self.key, "since": time.strftime("%Y-%m-%d %H:%M")}))


def keep_arrays(path: Path, arrays: Sequence[np.ndarray]) -> None:
    """Caches arrays in a file, or doesn't where it can't be written: a cache is never worth failing for."""
    try:
        with replacing(path) as part, part.open("wb") as file:
            np.savez(file, allow_pickle=False, **{str(i): array for i, array in enumerate(arrays)})
    except (OSError, UserError):
        pass


def read_arrays(path: Path, count: int) -> list[np.ndarray] | None:
    """What `keep_arrays` kept; None where it isn't there, is damaged, or holds another number."""
    try:
        with np.load(path) as kept:
            return [kept[str(i)] for i in range(count)] if len(kept.files) == count else None
    except (OSError, ValueError, KeyError, BadZipFile):
        return None


def key_of(*facts: object) -> str:
    """A short hash of whatever decides how clips sound."""
    return hashlib.sha256(json.dumps([str(fact) for fact in facts]).encode()).hexdigest()[:16]
