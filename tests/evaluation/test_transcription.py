"""Posteriors become the notes that made them, and note F1 counts the notes of both."""

import numpy as np
import pytest

from orchestrion.evaluation.transcription import Note, note_f1, notes_of

RATE = 86.0


def posteriors(notes, seconds=4.0):
    """What a perfect transcriber would give: 1 at an onset, and while a note sounds."""
    frames = round(seconds * RATE)
    sounding, beginning = np.zeros((frames, 88)), np.zeros((frames, 88))
    for note in notes:
        first, last = round(note.start * RATE), round(note.end * RATE)
        beginning[first, note.key] = sounding[first:last, note.key] = 1.0
    return sounding, beginning


CHORD = [Note(39, 0.5, 1.5), Note(43, 0.5, 1.5), Note(46, 0.52, 2.0), Note(39, 1.5, 2.5), Note(39, 3.0, 3.9)]


def test_clear_posteriors_give_the_notes_back():
    found = notes_of(*posteriors(CHORD), rate=RATE)
    assert [note.key for note in found] == [39, 39, 39, 43, 46]
    for ours, true in zip(found, sorted(CHORD, key=lambda note: (note.key, note.start))):
        assert ours.start == pytest.approx(true.start, abs=1 / RATE)
        assert ours.end == pytest.approx(true.end, abs=2 / RATE)
    assert note_f1(found, CHORD) == 1


def test_a_dip_is_bridged_a_long_gap_ends_a_note_and_a_flicker_is_none():
    sounding, beginning = posteriors([Note(10, 0.5, 2.0), Note(20, 0.5, 2.0), Note(30, 1.0, 1.03)])
    sounding[86:92, 10] = 0.1  # 70 ms
    sounding[86:130, 20] = 0.1  # half a second
    found = {note.key: note for note in notes_of(sounding, beginning, RATE)}
    assert found.keys() == {10, 20}
    assert found[10].end == pytest.approx(2.0, abs=0.03) and found[20].end == pytest.approx(1.0, abs=0.03)


def test_note_f1_is_the_plain_one():
    missing, wrong = CHORD[1:], [Note(key=note.key + 1, start=note.start, end=note.end) for note in CHORD]
    late = [Note(note.key, note.start + 0.06, note.end) for note in CHORD]
    assert note_f1(missing, CHORD) == pytest.approx(2 * 4 / 9)
    assert note_f1([*CHORD, Note(1, 0, 1)], CHORD) == pytest.approx(2 * 5 / 11)
    assert note_f1(wrong, CHORD) == note_f1(late, CHORD) == note_f1([], CHORD) == 0
    assert note_f1([*CHORD, *CHORD], CHORD) == pytest.approx(2 * 5 / 15)  # each is counted once
    assert note_f1([], []) == 1
