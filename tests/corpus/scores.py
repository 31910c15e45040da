"""Hand-made MIDI and sound for the corpus's tests."""

import io
import shutil
import zipfile
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile as sf

needs_fluidsynth = pytest.mark.skipif(
    shutil.which("fluidsynth") is None or not any(Path("/usr/share/sounds/sf2").glob("*.sf2")),
    reason="FluidSynth or a soundfont is not installed: apt install fluidsynth fluid-soundfont-gm",
)
C_MAJOR = (60, 62, 64, 65, 67, 69, 71, 72)


def midi(notes, bpm=120.0, pedal=(), program=0, channel=0) -> bytes:
    """notes: (start, length, pitch, velocity), in beats. pedal: (down, up), in beats."""
    tick = 480
    events = []
    for start, length, pitch, velocity in notes:
        events += [
            (start, 1, mido.Message("note_on", channel=channel, note=pitch, velocity=velocity)),
            (start + length, 0, mido.Message("note_off", channel=channel, note=pitch)),
        ]
    for down, up in pedal:
        events += [
            (beat, 0, mido.Message("control_change", channel=channel, control=64, value=value))
            for beat, value in ((down, 127), (up, 0))
        ]
    track = mido.MidiTrack(
        [
            mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(bpm)),
            mido.Message("program_change", channel=channel, program=program),
        ]
    )
    now = 0
    for beat, _, message in sorted(events, key=lambda event: event[:2]):
        track.append(message.copy(time=round(beat * tick) - now))
        now = round(beat * tick)
    data = io.BytesIO()
    mido.MidiFile(tracks=[track], ticks_per_beat=tick).save(file=data)
    return data.getvalue()


def scale(bars=4, velocity=80, bpm=120.0, step=1.0, root=0, **more) -> bytes:
    """A major scale up and up again, a note every `step` beats."""
    notes = [(i * step, step, root + C_MAJOR[i % 8], velocity) for i in range(int(4 * bars / step))]
    return midi(notes, bpm, **more)


def tone(seconds=1.0, rate=8000, hertz=440.0, channels=1, level=0.5) -> np.ndarray:
    """`[t c]`: each channel an octave above the one before."""
    time = np.arange(round(seconds * rate)) / rate
    waves = [level * np.sin(2 * np.pi * hertz * 2**c * time) for c in range(channels)]
    return np.stack(waves, 1).astype(np.float32)


def encoded(audio, rate=8000, form="WAV", subtype=None) -> bytes:
    data = io.BytesIO()
    sf.write(data, audio, rate, format=form, subtype=subtype)
    return data.getvalue()


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def laid_out(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder
