"""Attributes against scores whose tempo, key, density and so on are known by construction."""

from dataclasses import replace

import numpy as np
import pytest
from scores import midi, scale

from orchestrion.corpus.music import Music, find_key, heard_tempo, on_grid, union
from orchestrion.errors import UserError
from orchestrion.tempo import tempo_of


def attributes(data, **more):
    return Music.read(data).attributes(**more)


@pytest.mark.parametrize("bpm", [60, 93, 150])
def test_tempo_is_the_scores_own_when_notes_keep_to_its_grid(bpm):
    assert attributes(scale(bpm=bpm))["tempo"] == pytest.approx(bpm, rel=1e-4)


@pytest.mark.parametrize("bpm", [72, 100, 132])
def test_tempo_is_heard_when_the_tempo_track_means_nothing(bpm):
    rng = np.random.default_rng(0)  # played freely: 120 bpm on file, another in the fingers
    onsets = np.arange(64) * 120 / bpm + rng.normal(0, 0.02, 64)
    data = midi([(max(t, 0), 0.4, 60 + i % 5, 100 if i % 4 == 0 else 70) for i, t in enumerate(onsets)])
    assert not on_grid(Music.read(data).beat)
    for trusted in (True, False):
        heard = attributes(data, true_tempo=trusted)["tempo"]
        assert min(abs(heard / bpm - octave) for octave in (0.5, 1, 2)) < 0.03


def test_beats_follow_the_tempo_track():
    beats = Music.read(scale(bpm=90)).beats()
    assert np.allclose(np.diff(beats), 60 / 90, atol=1e-6) and beats[0] == 0
    music = Music.read(scale(bpm=120))
    changed = replace(music, tempos=np.array([[0.0, 120.0], [1.0, 60.0]]))
    assert np.allclose(changed.beats()[:5], [0, 0.5, 1, 2, 3])


@pytest.mark.parametrize("octave", [0.5, 1, 2])
def test_beats_are_tapped_where_the_notes_are(octave):
    music = Music.read(scale(bpm=100))
    heard = heard_tempo(music.start, music.velocity)
    beats = music.tapped([60 / (heard * octave) * i for i in range(20)])
    assert tempo_of(beats) == pytest.approx(heard)


def test_no_beats_have_no_tempo():
    assert tempo_of([]) is tempo_of([1.0]) is None
    assert Music.read(scale(bpm=100)).tapped([]) == []


def test_tempo_of_a_single_note_is_a_number():
    assert 40 <= heard_tempo(np.array([0.0]), np.array([80])) <= 200


@pytest.mark.parametrize("root", range(12))
def test_key_of_a_cadence(root):
    def chords(steps):
        return [(4 * i, 4, 48 + (root + p) % 12, 80) for i, chord in enumerate(steps) for p in chord]

    major = attributes(midi(chords([(0, 4, 7), (5, 9, 0), (7, 11, 2), (0, 4, 7)])))
    minor = attributes(midi(chords([(0, 3, 7), (5, 8, 0), (7, 11, 2), (0, 3, 7)])))
    assert (major["key"], major["mode"]) == (root, 1) and major["key_clarity"] > 0.05
    assert (minor["key"], minor["mode"]) == (root, 0)


def test_key_of_all_twelve_notes_alike_is_unclear():
    assert find_key(np.arange(60, 72), np.ones(12))[2] == 0


def test_density_register_velocity_and_polyphony():
    chord = [(beat, 1, pitch, 64) for beat in range(8) for pitch in (48, 55, 64)]  # 120 bpm: 4 s
    found = attributes(midi(chord))
    assert found["density"] == pytest.approx(6)
    assert found["pitch"] == pytest.approx((48 + 55 + 64) / 3)
    assert found["velocity"] == 64 and found["dynamics"] == 0
    assert found["polyphony"] == pytest.approx(3, rel=1e-2)
    assert found["articulation"] == pytest.approx(1, rel=1e-2)


def test_pedal_is_its_share_of_the_time():
    assert attributes(scale(bars=2))["pedal"] == 0
    assert attributes(scale(bars=2, pedal=[(0, 2), (4, 6)]))["pedal"] == pytest.approx(0.5, rel=1e-2)


def test_drums_have_no_pitch():
    with pytest.raises(UserError, match="no notes"):
        Music.read(scale(channel=9))


def test_a_note_never_lifted_ends_with_the_file():
    data = midi([(0, 4, 60, 80), (0, 8, 64, 80)])
    cut = data.replace(bytes((0x80, 60, 64)), bytes((0xB0, 60, 64)))  # the lifting becomes a controller
    assert sorted(Music.read(cut).end) == pytest.approx([4.0, 4.0])


def test_digest_is_of_the_music_and_not_of_the_file():
    plain = Music.read(scale())
    assert Music.read(scale(program=40)).digest() == plain.digest()
    assert Music.read(scale(velocity=81)).digest() != plain.digest()
    assert Music.read(scale(pedal=[(0, 1)])).digest() != plain.digest()


def test_another_program_replaces_every_one_and_silences_drums():
    music = Music.read(scale(program=40))
    assert set(Music.read(music.midi()).program) == {40}
    assert set(Music.read(music.midi(program=11)).program) == {11}
    np.testing.assert_allclose(Music.read(music.midi(11)).start, music.start)
    music.file.tracks.append(Music.read(scale()).file.tracks[0].copy())
    music.file.type = 1
    for message in music.file.tracks[1]:
        if hasattr(message, "channel"):
            message.channel = 9
    assert b"\x99" in music.midi() and b"\x99" not in music.midi(program=11)


def test_spans_unite():
    np.testing.assert_array_equal(union(np.array([(3, 4), (0, 1), (0.5, 2), (4, 4)])), [(0, 2), (3, 4)])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"not midi at all", "not MIDI"),
        (scale()[:40], "truncated"),
        (b"MThd" + bytes(200), "MIDI"),
        (midi([]), "no notes"),
    ],
)
def test_bad_midi_is_refused_with_its_reason(data, reason):
    with pytest.raises(UserError, match=reason):
        Music.read(data)


def test_an_endless_file_is_refused():
    with pytest.raises(UserError, match="longer than"):
        Music.read(midi([(0, 1, 60, 80), (60_000, 1, 60, 80)]))
