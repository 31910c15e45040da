"""MIDI to sound by FluidSynth, which hears velocity and the sustain pedal.

The gain is one number for a soundfont and a program, so that loud stays louder than soft: it brings a
fixed passage, played as loudly as music goes, to `PASSAGE_PEAK`.
"""

import io
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile as sf

from orchestrion.errors import UserError

RATE = 44_100  # what soundfonts are sampled at
PASSAGE_PEAK = 0.8
PROBE_GAIN = 0.2  # FluidSynth's own default
PLACES = (
    "/usr/share/sounds/sf2",
    "/usr/share/sounds/sf3",
    "/usr/share/soundfonts",
    "/usr/local/share/sounds/sf2",
    "/usr/local/share/soundfonts",
    "/opt/homebrew/share/soundfonts",
    "/opt/homebrew/share/fluid-synth/sf2",
    "~/.local/share/soundfonts",
    "~/Library/Audio/Sounds/Banks",
)
KNOWN = ("FluidR3_GM.sf2", "default-GM.sf2", "GeneralUser*.sf2", "*.sf2", "*.sf3")  # best first


def find_fluidsynth() -> str:
    """The binary's path. Raises UserError that says how to install it."""
    if found := shutil.which("fluidsynth"):
        return found
    raise UserError(
        "MIDI is rendered by FluidSynth, which is not installed: `sudo apt install fluidsynth "
        "fluid-soundfont-gm`, `brew install fluid-synth`, or `conda install -c conda-forge fluidsynth`"
    )


def find_soundfont(given: str | Path | None = None) -> Path:
    """The soundfont to play with. Raises UserError where there is none, or it is no soundfont."""
    if given is not None:
        path = Path(given).expanduser()
        if not path.is_file():
            raise UserError(f"there is no soundfont at {path}")
        with path.open("rb") as file:
            head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"sfbk":
            raise UserError(f"{path} is no soundfont: give an .sf2 or .sf3 file")
        return path.resolve()
    for pattern in KNOWN:
        for place in PLACES:
            for path in sorted(Path(place).expanduser().glob(pattern)):
                return path.resolve()
    raise UserError(
        "there is no soundfont to play MIDI with: `sudo apt install fluid-soundfont-gm`, "
        "or give one with --soundfont FILE.sf2"
    )


def render(midi: bytes, soundfont: Path, gain: float, reverb: bool = False) -> np.ndarray:
    """Plays a MIDI file -> float32 `[t 2]` at `RATE`, unclipped. Raises UserError where FluidSynth fails."""
    switch = "1" if reverb else "0"
    with tempfile.TemporaryDirectory(prefix="orchestrion-") as folder:
        score, sound = Path(folder, "in.mid"), Path(folder, "out.wav")
        score.write_bytes(midi)
        options = f"-ni -q -R {switch} -C {switch} -g {gain:.6f} -r {RATE} -O float -T wav -F".split()
        faster = ["-z", "512", "-o", "synth.dynamic-sample-loading=1"]  # and not a bit of difference
        command = [find_fluidsynth(), *faster, *options, str(sound), str(soundfont), str(score)]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=1800, check=False)
        except subprocess.TimeoutExpired as error:
            raise UserError("FluidSynth took more than 30 minutes") from error
        if done.returncode or not sound.exists():
            said = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
            raise UserError(f"FluidSynth failed: {said[-1]}")
        return sf.read(sound, dtype="float32", always_2d=True)[0]


@lru_cache(maxsize=256)
def calibrated_gain(soundfont: Path, program: int, reverb: bool = False) -> float:
    """The gain at which the loud passage peaks at `PASSAGE_PEAK`."""
    peak = float(np.abs(render(loud_passage(program), soundfont, PROBE_GAIN, reverb)).max())
    if peak == 0:
        raise UserError(f"the soundfont {soundfont} has no sound for program {program}: choose another --program")
    return float(np.clip(PROBE_GAIN * PASSAGE_PEAK / peak, 0.01, 10.0))  # FluidSynth takes up to 10


def loud_passage(program: int) -> bytes:
    """Full chords over five octaves at velocity 112, two a second, with pedal."""
    import mido

    track = mido.MidiTrack(
        [
            mido.Message("program_change", program=program),
            mido.Message("control_change", control=64, value=127),
        ]
    )
    for root in (0, 5, 7, 0):
        chord = [root + pitch for pitch in (36, 43, 55, 60, 64, 67, 72)]
        track += [mido.Message("note_on", note=pitch, velocity=112) for pitch in chord]
        track += [mido.Message("note_off", note=pitch, time=480 if pitch == chord[0] else 0) for pitch in chord]
        track += [mido.Message("control_change", control=64, value=value) for value in (0, 127)]
    track.append(mido.MetaMessage("end_of_track", time=480))
    data = io.BytesIO()
    mido.MidiFile(tracks=[track], ticks_per_beat=480).save(file=data)
    return data.getvalue()
