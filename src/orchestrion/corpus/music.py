"""Notes: a MIDI file read once, re-orchestrated for rendering, and measured for its attributes."""

import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from orchestrion.errors import UserError
from orchestrion.tempo import tempo_of

DRUMS = 9  # General MIDI's channel for percussion, counted from 0
CURVE_STEP = 2.0  # seconds
LONGEST = 4 * 3600.0  # seconds; beyond it a tempo track is broken, or the machine's memory would be

MAJOR = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
MINOR = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])


@dataclass(frozen=True)
class Music:
    """The notes of a piece in seconds, sorted by onset; drums are left out of everything but `file`."""

    start: np.ndarray  # [notes] seconds
    end: np.ndarray  # [notes] seconds
    beat: np.ndarray  # [notes] onsets in quarter notes
    pitch: np.ndarray  # [notes] MIDI numbers
    velocity: np.ndarray  # [notes] 1 to 127
    program: np.ndarray  # [notes] General MIDI, 0 to 127
    tempos: np.ndarray  # [changes 2] seconds, beats a minute
    pedals: np.ndarray  # [spans 2] seconds during which the sustain pedal is down
    file: Any  # mido.MidiFile

    @classmethod
    def read(cls, data: bytes) -> "Music":
        """Raises UserError, with the reason, where the bytes are no MIDI, are cut off or hold no notes."""
        import mido

        if not data:
            raise UserError("empty file")
        if not data.startswith((b"MThd", b"RIFF")):
            raise UserError("not MIDI")
        try:
            file = mido.MidiFile(file=io.BytesIO(data), clip=True)
        except EOFError as error:
            raise UserError("truncated MIDI") from error
        except Exception as error:  # mido raises many kinds, bare ones too, on damaged files
            raise UserError(f"unreadable MIDI ({error or type(error).__name__})") from error
        if file.ticks_per_beat <= 0:
            raise UserError("unreadable MIDI (its time is in film frames, not in beats)")
        music = _read_notes(file)
        if len(music.start) == 0:
            raise UserError("empty: no notes")
        if music.end.max() > LONGEST:
            raise UserError(f"longer than {LONGEST / 3600:.0f} hours: cut it into parts")
        return music

    @property
    def seconds(self) -> float:
        return float(self.end.max())

    def digest(self) -> str:
        """A hash of what is played, whatever the file calls it: notes to the millisecond, and pedals."""
        notes = np.stack([(self.start * 1000).round(), (self.end * 1000).round(), self.pitch, self.velocity])
        order = np.lexsort(notes)
        return hashlib.sha256(
            notes[:, order].astype("<i8").tobytes() + (self.pedals * 1000).round().astype("<i8").tobytes()
        ).hexdigest()

    def main_program(self) -> int:
        """The program that plays most of the notes."""
        return int(np.bincount(self.program).argmax())

    def midi(self, program: int | None = None, tail: float = 3.0) -> bytes:
        """A MIDI file for the synthesizer, with `tail` seconds after the last event for notes to ring.

        program: plays every note; the drums fall silent. None: as written.
        """
        import mido

        file = mido.MidiFile(type=self.file.type, ticks_per_beat=self.file.ticks_per_beat, charset="utf-8")
        for track in self.file.tracks:
            kept, waited = mido.MidiTrack(), 0
            if program is not None and not file.tracks:
                kept += [mido.Message("program_change", channel=c, program=program) for c in range(16) if c != DRUMS]
            for message in track:
                waited += message.time
                if _kept(message, program):
                    kept.append(message.copy(skip_checks=True, time=waited))  # checks take most of the time
                    waited = 0
            file.tracks.append(kept)
        last_tempo = 60 / self.tempos[-1, 1]  # seconds a beat
        for track in file.tracks:
            ticks = round(tail / last_tempo * file.ticks_per_beat)
            track.append(mido.MetaMessage("end_of_track", time=ticks))
        data = io.BytesIO()
        file.save(file=data)
        return data.getvalue()

    def varied(self, speed: float = 1.0, semitones: int = 0, loudness: float = 1.0) -> "Music":
        """The same music played faster, transposed and struck harder: velocities are multiplied, and kept from 1 to
        127. Notes that would leave the piano's range (21 to 108) stay an octave nearer. Drums keep their sounds."""
        import mido

        file = mido.MidiFile(type=self.file.type, ticks_per_beat=self.file.ticks_per_beat, charset="utf-8")
        for track in self.file.tracks:
            file.tracks.append(mido.MidiTrack(_varied(message, speed, semitones, loudness) for message in track))
        default = mido.MetaMessage("set_tempo", tempo=round(500_000 / speed))  # until the first of the file's own
        file.tracks[0].insert(0, default)
        return _read_notes(file)

    def thinned(self) -> "Music":
        """The track with the fewest notes alone (of those with at least one every three seconds), as a melody without
        its accompaniment; the same music where no other track has notes."""
        import mido

        counts = [sum(map(_is_note, track)) for track in self.file.tracks]
        enough = [count for count in counts if count >= self.seconds / 3]
        if sum(count > 0 for count in counts) < 2 or not enough:
            return self
        chosen = counts.index(min(enough))
        file = mido.MidiFile(type=self.file.type, ticks_per_beat=self.file.ticks_per_beat, charset="utf-8")
        for number, track in enumerate(self.file.tracks):
            kept, waited = mido.MidiTrack(), 0
            for message in track:
                waited += message.time
                if number == chosen or message.type not in ("note_on", "note_off"):
                    kept.append(message.copy(skip_checks=True, time=waited))
                    waited = 0
            file.tracks.append(kept)
        return _read_notes(file)

    def attributes(self, true_tempo: bool = True) -> dict[str, float]:
        """What can be counted in the notes: the ground truth for captions and for scoring adherence."""
        key, mode, clarity = find_key(self.pitch, self.end - self.start)
        sounding = np.maximum(self.end - self.start, 1e-3)
        length = max(self.seconds - float(self.start.min()), 1.0)
        onsets = np.unique(self.start.round(2))
        gap = float(np.median(np.diff(onsets))) if len(onsets) > 1 else length
        low, high = np.percentile(self.pitch, (5, 95))
        return {
            "tempo": self.tempo(true_tempo),  # beats a minute
            "key": float(key),  # pitch class of the tonic, C = 0
            "mode": float(mode),  # 1 major, 0 minor
            "key_clarity": clarity,  # best correlation less the second best
            "density": len(self.start) / length,  # notes a second
            "pitch": float(np.average(self.pitch, weights=sounding)),  # MIDI number
            "span": float(high - low),  # semitones between the 5th and the 95th percentile
            "velocity": float(self.velocity.mean()),  # 1 to 127
            "dynamics": float(self.velocity.std()),
            "polyphony": float(sounding.sum() / covered(self.start, self.end)),  # notes at once, while any
            "articulation": float(np.median(sounding) / max(gap, 1e-3)),  # 1: each lasts until the next
            "pedal": float(min(np.sum(self.pedals[:, 1] - self.pedals[:, 0]) / length, 1.0)),  # share of time
        }

    def curves(self) -> dict[str, list[int]]:
        """How the playing changes: for every `CURVE_STEP` seconds the notes that begin in them, and the sums of their
        pitches and velocities, from which `during` tells what any stretch is like."""
        place = (self.start / CURVE_STEP).astype(int)
        sums = {"notes": np.ones_like(self.pitch), "pitch": self.pitch, "velocity": self.velocity}
        return {name: np.bincount(place, weights=what).astype(int).tolist() for name, what in sums.items()}

    def beats(self) -> list[float]:
        """When the tempo track's beats fall, in seconds; none where the notes don't keep to its grid."""
        if not on_grid(self.beat):
            return []
        times, paces = self.tempos[:, 0], self.tempos[:, 1] / 60  # beats a second from each change on
        counted = np.concatenate([[0.0], np.cumsum(np.diff(times) * paces[:-1])])  # beats at each change
        last = counted[-1] + (self.seconds - times[-1]) * paces[-1]
        whole = np.arange(int(max(last, 0)) + 1)
        place = np.searchsorted(counted, whole, side="right") - 1
        return (times[place] + (whole - counted[place]) / paces[place]).tolist()

    def tapped(self, beats: Sequence[float]) -> list[float]:
        """The beats as a listener taps them: twice as many, or every other, where that is what the notes say.
        Collections count so often enough: of POP909's first 250 songs 74 are counted at half the tempo, 11 at twice."""
        if (tempo := tempo_of(beats)) is None:
            return list(beats)
        octaves = math.log2(heard_tempo(self.start, self.velocity) / tempo)
        if abs(octaves - 1) < 0.15:
            between = [(first + second) / 2 for first, second in pairwise(beats)]
            return sorted([*beats, *between])
        return list(beats[::2]) if abs(octaves + 1) < 0.15 else list(beats)

    def tempo(self, trusted: bool = True) -> float:
        """Beats a minute: the tempo track's, where the notes keep to its grid; else heard from the onsets."""
        if trusted and on_grid(self.beat):
            times = np.append(self.tempos[:, 0], self.seconds)
            spans = np.maximum(np.diff(times), 0)
            if spans.sum() > 0:
                return float(self.tempos[spans.argmax(), 1])
        return heard_tempo(self.start, self.velocity)


def during(curves: Mapping[str, Sequence[float]], start: float, seconds: float) -> dict[str, float]:
    """density, pitch and velocity (as in `attributes`) of a stretch, from its piece's `curves`. Where no note begins
    in it: a density of 0 alone; without curves: nothing."""
    if not curves:
        return {}
    first, last = round(start / CURVE_STEP), max(round((start + seconds) / CURVE_STEP), round(start / CURVE_STEP) + 1)
    notes, pitch, velocity = (sum(curves[name][first:last]) for name in ("notes", "pitch", "velocity"))
    told = {"density": notes / (CURVE_STEP * (last - first))}
    return told | ({"pitch": pitch / notes, "velocity": velocity / notes} if notes else {})


def _varied(message: Any, speed: float, semitones: int, loudness: float) -> Any:
    if message.type == "set_tempo":
        return message.copy(tempo=max(round(message.tempo / speed), 1))
    if message.type not in ("note_on", "note_off"):
        return message
    changes = {}
    if message.channel != DRUMS:
        pitch = message.note + semitones
        pitch += 12 * (math.ceil(max(21 - pitch, 0) / 12) - math.ceil(max(pitch - 108, 0) / 12))
        changes["note"] = min(max(pitch, 0), 127)
    if message.type == "note_on" and message.velocity > 0:
        changes["velocity"] = min(max(round(message.velocity * loudness), 1), 127)
    return message.copy(**changes)


def _kept(message: Any, program: int | None) -> bool:
    if message.type == "end_of_track":
        return False
    if program is None or message.is_meta:
        return True
    other_bank = message.type == "control_change" and message.control in (0, 32)
    drum = getattr(message, "channel", None) == DRUMS
    return not (other_bank or drum or message.type in ("program_change", "sysex"))


def _is_note(message: Any) -> bool:
    return message.type == "note_on" and message.velocity > 0 and message.channel != DRUMS


def _read_notes(file: Any) -> Music:
    import mido

    seconds, ticks, tempo = 0.0, 0, 500_000
    programs, tempos = [0] * 16, [(0.0, 120.0)]
    held: dict[tuple[int, int], list[tuple[float, int, int, int]]] = {}
    notes: list[tuple[float, float, float, int, int, int]] = []
    down: dict[int, float] = {}  # since when each channel's pedal is down
    pedals: list[tuple[float, float]] = []

    def lift(channel: int, pitch: int) -> None:
        if waiting := held.get((channel, pitch)):
            start, tick, velocity, program = waiting.pop(0)
            if channel != DRUMS:
                notes.append((start, seconds, tick / file.ticks_per_beat, pitch, velocity, program))

    for message in mido.merge_tracks(file.tracks, skip_checks=True):
        ticks += message.time
        seconds += mido.tick2second(message.time, file.ticks_per_beat, tempo)
        if message.type == "set_tempo" and message.tempo > 0:
            tempo = message.tempo
            tempos = [t for t in tempos if t[0] < seconds] + [(seconds, mido.tempo2bpm(tempo))]
        elif message.type == "program_change":
            programs[message.channel] = message.program
        elif message.type == "note_on" and message.velocity > 0:
            held.setdefault((message.channel, message.note), []).append(
                (seconds, ticks, message.velocity, programs[message.channel])
            )
        elif message.type in ("note_on", "note_off"):
            lift(message.channel, message.note)
        elif message.type == "control_change" and message.control == 64:
            if message.value >= 64:
                down.setdefault(message.channel, seconds)
            elif message.channel in down:
                pedals.append((down.pop(message.channel), seconds))
    for channel, pitch in held:  # never lifted: they end with the file
        while held[channel, pitch]:
            lift(channel, pitch)
    pedals += [(start, seconds) for start in down.values()]
    table = np.array(sorted(notes), dtype=float).reshape(-1, 6).T
    start, end, beat = table[:3]
    pitch, velocity, program = table[3:].astype(int)
    spans = union(np.array(pedals).reshape(-1, 2))
    return Music(start, end, beat, pitch, velocity, program, np.array(tempos), spans, file)


def union(spans: np.ndarray) -> np.ndarray:
    """spans `[n 2]` (start, end) -> the same time as spans that don't overlap, sorted."""
    joined: list[list[float]] = []
    for start, end in sorted(spans.tolist()):
        if joined and start <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], end)
        elif end > start:
            joined.append([start, end])
    return np.array(joined).reshape(-1, 2)


def covered(start: np.ndarray, end: np.ndarray) -> float:
    """Seconds during which at least one note sounds."""
    spans = union(np.stack([start, np.maximum(end, start + 1e-3)], 1))
    return float((spans[:, 1] - spans[:, 0]).sum())


def find_key(pitch: np.ndarray, duration: np.ndarray) -> tuple[int, int, float]:
    """Krumhansl and Schmuckler: correlate the durations of the 12 pitch classes with 24 key profiles.

    -> tonic (C = 0), mode (1 major, 0 minor), best correlation less the second best.
    """
    classes = np.bincount(pitch % 12, weights=np.maximum(duration, 1e-3), minlength=12)
    if np.ptp(classes) == 0:
        return 0, 1, 0.0
    profiles = [np.roll(profile, tonic) for profile in (MINOR, MAJOR) for tonic in range(12)]
    scores = np.array([np.corrcoef(classes, profile)[0, 1] for profile in profiles])
    second, best = np.argsort(scores)[-2:]
    return int(best % 12), int(best // 12), float(scores[best] - scores[second])


def on_grid(beat: np.ndarray) -> bool:
    """Do the onsets, in quarter notes, fall on twelfths of a beat (sixteenths and triplets)?

    The mean of unit vectors turning twelve times a beat is 1 on the grid and near 0 for free playing.
    """
    return bool(abs(np.exp(2j * np.pi * 12 * beat).mean()) > 0.5)


def heard_tempo(start: np.ndarray, velocity: np.ndarray, rate: int = 100) -> float:
    """Beats a minute from the autocorrelation of onset strength; may be an octave off, as listeners are.

    40 to 200 bpm, weighed towards 110 as people's sense of pulse is.
    """
    strength = np.bincount((start * rate).round().astype(int), weights=velocity.astype(float))
    blur = np.exp(-0.5 * (np.arange(-8, 9) / 2.5) ** 2)
    strength = np.convolve(strength, blur)
    strength -= strength.mean()
    size = 1 << (2 * len(strength) - 1).bit_length()
    correlation = np.fft.irfft(np.abs(np.fft.rfft(strength, size)) ** 2)[: len(strength)]
    lags = np.arange(60 * rate // 200, min(60 * rate // 40 + 1, len(correlation) - 1))
    if len(lags) == 0:
        return 120.0
    taste = np.exp(-0.5 * (np.log2(60 * rate / lags / 110) / 0.9) ** 2)
    weighed = correlation[lags] * taste
    best = int(lags[weighed.argmax()])
    before, here, after = correlation[best - 1 : best + 2]
    bend = before - 2 * here + after
    shift = 0.5 * (before - after) / bend if bend < 0 else 0.0  # top of the parabola through three points
    return 60 * rate / (best + float(np.clip(shift, -0.5, 0.5)))
