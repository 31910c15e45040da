"""What FluidSynth must hear: velocity, the sustain pedal, the program, one gain for all."""

import io

import numpy as np
import pytest
from scores import midi, needs_fluidsynth, scale

from orchestrion.corpus.music import Music
from orchestrion.corpus.recordings import trim_tail
from orchestrion.corpus.rendering import (
    PASSAGE_PEAK,
    RATE,
    calibrated_gain,
    find_fluidsynth,
    find_soundfont,
    loud_passage,
    render,
)
from orchestrion.errors import UserError

pytestmark = needs_fluidsynth


def played(data, gain=0.5, **more):
    return render(Music.read(data).midi(), find_soundfont(), gain, **more)


def energy(audio, start=0.0, stop=None):
    """Mean square from `start` to `stop` seconds."""
    part = audio[int(start * RATE) : int(stop * RATE) if stop else None]
    return float(np.mean(part.astype(np.float64) ** 2))


def test_velocity_is_heard():
    soft, loud = (energy(played(scale(bars=1, velocity=v))) for v in (30, 110))
    assert loud > 30 * soft


def test_the_pedal_is_heard():
    note = [(0, 0.5, 60, 90), (8, 0.1, 60, 1)]  # short, then nothing until beat 8
    dry, held = (energy(played(midi(note, pedal=pedal)), 1.0, 3.0) for pedal in ((), [(0, 7)]))
    assert held > 100 * dry


def test_the_program_is_heard():
    music = Music.read(scale(bars=1))
    piano, organ = (render(music.midi(p), find_soundfont(), 0.5) for p in (0, 19))
    size = min(len(piano), len(organ), RATE)
    assert abs(np.corrcoef(piano[:size, 0], organ[:size, 0])[0, 1]) < 0.5


def test_reverb_is_off_unless_asked_for():
    note = midi([(0, 0.5, 72, 100)])
    dry, wet = (energy(played(note, reverb=on), 0.8, 2.0) for on in (False, True))
    assert wet > 3 * dry


def test_the_last_note_rings_out_and_silence_after_it_is_cut():
    audio = trim_tail(played(midi([(0, 8, 36, 100)])), RATE)
    assert len(audio) > 4.1 * RATE  # the note itself ends at 4 s
    assert np.abs(audio[-RATE // 10 - RATE // 4 : -RATE // 10]).max() > 10 ** (-70 / 20)
    assert np.abs(audio[-RATE // 20 :]).max() < 10 ** (-70 / 20)


@pytest.mark.parametrize("program", [0, 11, 19])
def test_the_loud_passage_peaks_where_it_should_for_every_program(program):
    font = find_soundfont()
    audio = render(loud_passage(program), font, calibrated_gain(font, program))
    assert np.abs(audio).max() == pytest.approx(PASSAGE_PEAK, rel=0.02)


def test_gain_is_linear_and_nothing_clips_on_the_way():
    low, high = (render(loud_passage(0), find_soundfont(), gain) for gain in (0.2, 2.0))
    assert np.abs(high).max() > 1.5
    np.testing.assert_allclose(high, 10 * low, atol=1e-3)


def test_a_tail_of_a_score_with_a_tempo_change_still_rings():
    import mido

    file = Music.read(scale(bars=1)).file
    file.tracks[0].append(mido.MetaMessage("set_tempo", tempo=100_000))
    data = io.BytesIO()
    file.save(file=data)
    assert len(played(data.getvalue())) > (2 + 2.9) * RATE


def test_no_fluidsynth_says_how_to_install_it(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match="apt install fluidsynth"):
        find_fluidsynth()


def test_a_soundfont_that_is_none_is_refused(tmp_path):
    with pytest.raises(UserError, match="there is no soundfont"):
        find_soundfont(tmp_path / "piano.sf2")
    (tmp_path / "piano.sf2").write_bytes(b"RIFF0000WAVE")
    with pytest.raises(UserError, match="no soundfont"):
        find_soundfont(tmp_path / "piano.sf2")
