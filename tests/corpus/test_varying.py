"""Pieces played otherwise than written: what is counted in the notes changes just so, and annotations with it."""

import io

import numpy as np
import pretty_midi
import pytest
from scores import midi, scale

from orchestrion.corpus.making import Variation
from orchestrion.corpus.music import Music

NOTES = [(i / 2, 0.5, 60 + (i % 5), 80) for i in range(40)]


def test_faster_higher_softer_is_heard_in_the_attributes():
    plain = Music.read(midi(NOTES, bpm=100))
    varied = plain.varied(speed=1.5, semitones=7, loudness=0.5)
    before, after = plain.attributes(), varied.attributes()
    assert after["tempo"] == pytest.approx(150, rel=1e-3) and after["density"] == pytest.approx(1.5 * before["density"])
    assert after["pitch"] == pytest.approx(before["pitch"] + 7) and after["velocity"] == 40
    assert varied.seconds == pytest.approx(plain.seconds / 1.5, rel=1e-3)
    assert (after["key"] - before["key"]) % 12 == 7 and after["mode"] == before["mode"]
    again = Music.read(varied.midi())  # what the synthesizer is given
    assert np.allclose(again.start, varied.start, atol=1e-3) and (again.pitch == varied.pitch).all()


def test_as_written_changes_nothing():
    plain = Music.read(scale(pedal=[(0, 15)]))
    assert plain.varied().digest() == plain.digest()


def test_notes_stay_on_the_piano_and_are_struck():
    wide = Music.read(midi([(i, 1, pitch, 5) for i, pitch in enumerate((22, 60, 107))]))
    low, high = wide.varied(semitones=-12, loudness=0.1), wide.varied(semitones=12, loudness=100)
    assert low.pitch.tolist() == [22, 48, 95] and high.pitch.tolist() == [34, 72, 107]
    assert (low.velocity == 1).all() and (high.velocity == 127).all()


def test_every_piece_has_its_own_variation_always_the_same():
    drawn = [Variation.of(f"a/{i}") for i in range(200)]
    assert drawn[7] == Variation.of("a/7") and len(set(drawn)) == 200
    assert min(v.speed for v in drawn) < 0.7 < 1.4 < max(v.speed for v in drawn)
    assert min(v.loudness for v in drawn) < 0.4 < 1.1 < max(v.loudness for v in drawn)
    assert {v.semitones for v in drawn} == set(range(-12, 13))
    assert 0.2 < sum(v.thin for v in drawn) / 200 < 0.45


def test_annotations_follow():
    played = Variation(1.5, -3, 1.0).annotate({"tempo": 80.0, "key": 1.0, "mode": 0.0, "beats_per_bar": 4.0})
    assert played == {"tempo": 120.0, "key": 10.0, "mode": 0.0, "beats_per_bar": 4.0}
    assert Variation(1.5, -3, 1.0).beats([0.0, 3.0]) == [0.0, 2.0]


def tracks(*counts: int) -> bytes:
    """A track for each count, of as many notes, evenly in 20 s; every track on a pitch of its own."""
    score = pretty_midi.PrettyMIDI()
    for number, count in enumerate(counts):
        player = pretty_midi.Instrument(0, name=f"track {number}")
        player.notes = [pretty_midi.Note(80, 60 + number, 20 * i / count, 20 * (i + 0.9) / count) for i in range(count)]
        score.instruments.append(player)
    data = io.BytesIO()
    score.write(data)
    return data.getvalue()


def test_a_thin_piece_is_its_melody_alone():
    music = Music.read(tracks(40, 2, 20))
    thin = music.thinned()
    assert set(thin.pitch) == {62} and len(thin.start) == 20  # two notes in 20 s would be next to nothing
    assert np.allclose(thin.start, music.start[music.pitch == 62], atol=1e-3)
    assert Variation(1.0, 0, 1.0, thin=True).play(music).digest() == thin.digest()
    alone = Music.read(tracks(40))
    assert alone.thinned() is alone
