"""One piece of a source made into one file of the corpus. Runs in a worker: everything here pickles."""

import hashlib
import io
import random
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import soundfile as sf

from orchestrion.corpus.captions import caption
from orchestrion.corpus.corpus import Piece
from orchestrion.corpus.music import Music
from orchestrion.corpus.recordings import check_sound, fit, read_recording, sound_attributes, trim_tail
from orchestrion.corpus.rendering import RATE, calibrated_gain, render
from orchestrion.corpus.sources import Item
from orchestrion.corpus.splits import split_of
from orchestrion.corpus.store import Store
from orchestrion.errors import UserError
from orchestrion.storage import replacing
from orchestrion.tempo import tempo_of


@dataclass(frozen=True)
class Sound:
    """What every piece of a corpus has in common."""

    sample_rate: int = 44_100
    channels: int = 2
    soundfont: Path | None = None  # needed for MIDI only
    programs: tuple[int, ...] = ()  # General MIDI; each piece gets one of them; none: as the file says
    reverb: bool = False
    licence: str = "unknown"
    vary: bool = False  # MIDI is played at speeds, pitches and loudnesses of each piece's own


@dataclass(frozen=True)
class Variation:
    """How a piece is played that need not be played as it is written, so that a collection of much alike pieces holds
    slow and fast, low and high, soft and loud."""

    speed: float
    semitones: int
    loudness: float
    thin: bool = False  # its thinnest track alone, where it has several

    @classmethod
    def of(cls, key: str) -> "Variation":
        """Always the same for one key: speeds from 0.6 to 1.6 times the written, transpositions by up to an octave,
        velocities from 0.3 to 1.2 times; one piece in three thin."""
        draw = random.Random(hashlib.sha256(f"variation/{key}".encode()).digest())
        return cls(1.6 ** draw.uniform(-1.08, 1), draw.randint(-12, 12), draw.uniform(0.3, 1.2), draw.random() < 1 / 3)

    def play(self, music: Music) -> Music:
        return (music.thinned() if self.thin else music).varied(self.speed, self.semitones, self.loudness)

    def annotate(self, attributes: dict[str, float]) -> dict[str, float]:
        """What a collection says of the piece as it is written, of the piece as it is played."""
        played = dict(attributes)
        if "tempo" in played:
            played["tempo"] *= self.speed
        if "key" in played:
            played["key"] = (played["key"] + self.semitones) % 12
        return played

    def beats(self, written: Sequence[float]) -> list[float]:
        """The seconds at which they fall, as it is played."""
        return [beat / self.speed for beat in written]


@dataclass(frozen=True)
class Outcome:
    """A piece made, or the reason why it was refused."""

    key: str
    piece: Piece | None = None
    reason: str = ""
    gains: Mapping[str, float] = field(default_factory=dict)  # by program: what FluidSynth was set to


def make(item: Item, store: Store, folder: Path, sound: Sound) -> Outcome:
    """Reads or renders one piece and writes `folder/audio/….flac`.

    A piece that can't be used is an Outcome with its reason; UserError is for what stops all work: a full
    disk, a soundfont without the program.
    """
    try:
        music = Music.read(store.read(item.notes)) if item.notes else None
        if item.recording:
            with store.open(item.recording) as file:
                audio, rate = read_recording(file)
    except UserError as error:
        return Outcome(item.key, reason=str(error))
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:  # zips raise each
        return Outcome(item.key, reason=f"unreadable ({error})")
    annotated, beats = dict(item.attributes), list(item.beats)
    if music and sound.vary and not item.recording:
        variation = Variation.of(item.key)
        music, annotated, beats = variation.play(music), variation.annotate(annotated), variation.beats(beats)
    gains, attributes = {}, music.attributes(item.true_tempo) if music else {}
    if music:
        beats = music.tapped(beats or (music.beats() if item.true_tempo else []))
        annotated |= {"tempo": tempo} if (tempo := tempo_of(beats)) else {}
    if not item.recording:
        assert music and sound.soundfont
        program = choose(item.key, sound.programs)
        played = music.main_program() if program is None else program
        gain = calibrated_gain(sound.soundfont, played, sound.reverb)
        gains, attributes["program"] = {str(played): gain}, float(played)
        try:
            played_out = render(music.midi(program), sound.soundfont, gain, sound.reverb)
            check_sound(played_out)
        except UserError as error:
            return Outcome(item.key, reason=str(error))
        audio, rate = trim_tail(played_out, RATE), RATE
    audio = fit(audio, rate, sound.sample_rate, sound.channels)
    samples = np.clip((audio * 32768).round(), -32768, 32767).astype("<i2")  # 16 bits stay as they were
    attributes |= sound_attributes(audio, sound.sample_rate) | annotated
    heard = music.digest() if music and not item.recording else hashlib.sha256(samples.tobytes()).hexdigest()
    path = f"audio/{file_name(item.key)}"
    write_flac(folder / path, samples, sound.sample_rate)
    return Outcome(
        item.key,
        Piece(
            path=path,
            seconds=len(samples) / sound.sample_rate,
            split=item.split or split_of(item.key),
            caption=caption(item.key, attributes, item.facts),
            attributes={name: round(value, 4) for name, value in attributes.items()},
            source=item.key,
            licence=sound.licence,
            sha256=heard,
            facts=dict(item.facts),
            curves={name: list(sums) for name, sums in music.curves().items()} if music else {},
            beats=[round(beat, 3) for beat in beats],
        ),
        gains=gains,
    )


def choose(key: str, programs: tuple[int, ...]) -> int | None:
    """The program that plays a piece: always the same for one key and one list."""
    if not programs:
        return None
    return programs[int(hashlib.sha256(f"program/{key}".encode()).hexdigest()[:8], 16) % len(programs)]


def file_name(key: str) -> str:
    """A name that every file system takes, readable, and different for every key."""
    stem = PurePosixPath(key).stem if PurePosixPath(key).suffix[1:].isalnum() else PurePosixPath(key).name
    readable = re.sub(r"[^A-Za-z0-9_]+", "-", stem)[:60].strip("-") or "piece"
    return f"{readable}-{hashlib.sha256(key.encode()).hexdigest()[:10]}.flac"


def write_flac(path: Path, samples: np.ndarray, sample_rate: int) -> None:
    """samples: int16 `[t c]`. Encoded in memory, so that a full disk is told from a damaged piece."""
    data = io.BytesIO()
    sf.write(data, samples, sample_rate, format="FLAC", subtype="PCM_16")
    with replacing(path) as part:
        part.write_bytes(data.getvalue())


def forget(folder: Path, piece: Piece) -> None:
    """Removes a piece's file."""
    (folder / piece.path).unlink(missing_ok=True)
