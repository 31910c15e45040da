"""From a transcriber's posteriors to notes, and from two lists of notes to note F1."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from orchestrion.evaluation.onsets import match

ONSET, SOUNDING = 0.6, 0.3  # posteriors above which a note begins, and below which it has ended
ENDED = 0.128  # seconds below SOUNDING before a note counts as ended
SHORTEST = 0.058  # seconds; what is shorter is taken for a flicker
TOLERANCE = 0.05  # seconds between onsets that are the same


@dataclass(frozen=True)
class Note:
    """key: of a piano, 0 to 87. start, end: seconds."""

    key: int
    start: float
    end: float


def notes_of(sounding: np.ndarray, beginning: np.ndarray, rate: float) -> list[Note]:
    """Posteriors of notes and of onsets `[n 88]`, `rate` frames a second -> notes by key, then time.

    Where an onset's posterior has a peak of 0.6 a note begins. It lasts until its key begins again, or has been below
    0.3 for an eighth of a second.
    """
    return [note for key in range(sounding.shape[1]) for note in _key(key, sounding[:, key], beginning[:, key], rate)]


def _key(key: int, sounding: np.ndarray, beginning: np.ndarray, rate: float) -> list[Note]:
    before, after = (np.pad(beginning, 1)[i : i + len(beginning)] for i in (0, 2))
    starts = np.flatnonzero((beginning >= ONSET) & (beginning > before) & (beginning >= after))
    patience, notes = round(ENDED * rate), []
    for start, following in zip(starts, [*starts[1:], len(sounding)]):
        end = last = start
        while end < following and end - last <= patience:
            last = end if sounding[end] >= SOUNDING else last
            end += 1
        if last + 1 - start >= SHORTEST * rate:
            notes.append(Note(key, float(start / rate), float((last + 1) / rate)))
    return notes


def note_f1(found: Sequence[Note], true: Sequence[Note]) -> float:
    """Twice the notes of both over all notes: those of the same key that begin within 50 ms, each counted once. 1
    where neither has any."""
    hits = 0.0
    for key in {note.key for note in found} & {note.key for note in true}:
        ours, theirs = (sorted(note.start for note in notes if note.key == key) for notes in (found, true))
        hits += match(ours, theirs, TOLERANCE)[0] * len(ours)
    return 2 * hits / (len(found) + len(true)) if found or true else 1.0
