"""Recordings to the corpus's rate and channels: what is refused and why, folding, resampling, peaks."""

import functools
import io
import struct
from typing import IO

import numpy as np
import soundfile as sf
import soxr

from orchestrion.errors import UserError

SILENCE = 1e-4  # peak of what counts as silent: -80 dBFS
CEILING = 10 ** (-0.3 / 20)  # of true peaks
LONGEST = 4 * 3600.0  # seconds


def read_recording(file: IO[bytes]) -> tuple[np.ndarray, int]:
    """A whole audio file -> float32 `[t c]` and its sample rate.

    Raises UserError with the reason where it is empty, cut off, no audio, not finite, or too long.
    """
    size = file.seek(0, io.SEEK_END)
    if size == 0:
        raise UserError("empty file")
    if reason := truncation(file, size):
        raise UserError(f"truncated: {reason}")
    file.seek(0)
    opened = False
    try:
        with sf.SoundFile(file) as sound:
            opened = True
            promised, rate = sound.frames, sound.samplerate
            if LONGEST * rate < promised < 2**60:  # a streamed file may not know its length
                raise UserError(f"longer than {LONGEST / 3600:.0f} hours: cut it into parts")
            exact = sound.format in ("WAV", "WAVEX", "AIFF", "FLAC", "AU", "CAF", "W64", "RF64")
            audio = sound.read(dtype="float32", always_2d=True)
    except (sf.LibsndfileError, RuntimeError) as error:
        what = "truncated or damaged" if opened else "unreadable or not audio"
        raise UserError(f"{what} ({str(error).rpartition(': ')[2].strip(' .')})") from error
    if len(audio) == 0:
        raise UserError("empty: no samples")
    if exact and promised < 2**60 and len(audio) < promised:
        raise UserError(f"truncated: {len(audio)} of {promised} samples")
    check_sound(audio)
    return audio, rate


def check_sound(audio: np.ndarray) -> None:
    """Raises UserError where audio `[t c]` has NaN or infinite samples, or is silent."""
    if not np.isfinite(audio).all():
        raise UserError("NaN or infinite samples")
    if np.abs(audio).max(initial=0.0) < SILENCE:
        raise UserError("silent: its peak is below -80 dBFS")


def truncation(file: IO[bytes], size: int) -> str | None:
    """Why the file's own framing says that its end is missing; None where it doesn't."""
    file.seek(0)
    head = file.read(64)
    if head[:4] in (b"RIFF", b"FORM") and head[8:12] in (b"WAVE", b"AIFF", b"AIFC"):
        return _short_chunk(file, size, "<" if head[:4] == b"RIFF" else ">")
    if head[:4] == b"RF64" and head[12:16] == b"ds64":
        missing = struct.unpack("<Q", head[20:28])[0] + 8 - size
        return f"{missing} bytes are missing" if missing > 0 else None
    if head[:4] == b"OggS":
        return _unfinished_ogg(file, size)
    if head[:3] == b"ID3" or head[:1] == b"\xff":
        return _short_mp3(file, size)
    return None


def _short_chunk(file: IO[bytes], size: int, order: str) -> str | None:
    """RIFF and AIFF: does the sound chunk promise more bytes than follow?"""
    place = 12
    while place + 8 <= size:
        file.seek(place)
        name, length = struct.unpack(f"{order}4sI", file.read(8))
        if name in (b"data", b"SSND"):
            unknown = length in (0, 0xFFFFFFFF, 0x7FFFFFFF) or length >= 0x7FFFF000  # written by a pipe
            missing = place + 8 + length - size
            return f"{missing} bytes of sound are missing" if missing > 0 and not unknown else None
        place += 8 + length + length % 2
    return "it has no sound chunk"


def _unfinished_ogg(file: IO[bytes], size: int) -> str | None:
    """Ogg marks the last page of a stream, and every page states its length."""
    file.seek(max(0, size - 65_307))  # the longest page
    tail = file.read()
    place = tail.rfind(b"OggS")
    if place < 0 or len(tail) < place + 27 or len(tail) < place + 27 + tail[place + 26]:
        return "its last page is cut"
    table = tail[place + 27 : place + 27 + tail[place + 26]]
    if place + 27 + len(table) + sum(table) > len(tail):
        return "its last page is cut"
    return None if tail[place + 5] & 4 else "its last page is missing"


def _short_mp3(file: IO[bytes], size: int) -> str | None:
    """An mp3's Xing or Info header may state its bytes; without one, a cut can't be told."""
    file.seek(0)
    head = file.read(10)
    start = 0
    if head[:3] == b"ID3":
        start = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0)))
    file.seek(start)
    frame = file.read(256)
    place = max(frame.find(b"Xing"), frame.find(b"Info"))
    if place < 0 or len(frame) < place + 16:
        return None
    flags = struct.unpack(">I", frame[place + 4 : place + 8])[0]
    if not flags & 2:
        return None
    offset = place + 8 + (4 if flags & 1 else 0)
    missing = start + struct.unpack(">I", frame[offset : offset + 4])[0] - size
    return f"{missing} bytes are missing" if missing > 0 else None


def fit(audio: np.ndarray, rate: int, sample_rate: int, channels: int) -> np.ndarray:
    """audio `[t c]` at `rate` -> `[t channels]` at `sample_rate`, true peaks under the ceiling."""
    audio = fold(audio, channels)
    if rate != sample_rate:
        audio = soxr.resample(audio, rate, sample_rate, "VHQ")
    return limit(audio, sample_rate)


def fold(audio: np.ndarray, channels: int) -> np.ndarray:
    """audio `[t c]` -> `[t channels]`. Mono goes to both sides; more are mixed so that none can clip.

    5.1 (in the order of wav: L R C LFE Ls Rs) as ITU-R BS.775 mixes it, scaled to sum to 1; others by
    turns to the left and to the right, an odd last one to both.
    """
    count = audio.shape[1]
    if count == channels:
        return audio
    if channels == 1:
        left, right = fold(audio, 2).T
        return ((left + right) / 2)[:, None]
    if count == 1:
        return np.repeat(audio, 2, axis=1)
    weights = np.zeros((count, 2), dtype=np.float32)
    weights[0::2, 0] = weights[1::2, 1] = 1.0
    if count == 6:
        weights[:] = np.array([(1, 0), (0, 1), (0.7071, 0.7071), (0, 0), (0.7071, 0), (0, 0.7071)])
    elif count % 2:
        weights[-1] = 0.7071
    return audio @ (weights / weights.sum(0))


def limit(audio: np.ndarray, rate: int, ceiling: float = CEILING, reach: float = 0.05) -> np.ndarray:
    """audio `[t c]` with true peaks under `ceiling`: bit for bit the same where none comes near it.

    Gain goes down over `reach` seconds before a peak and up over as long after it. The gain that each
    moment needs is held over that window (a running minimum) and smoothed by a mean of the same width,
    which therefore never exceeds what any moment in it needs.
    """
    from scipy.ndimage import minimum_filter1d, uniform_filter1d

    peaks = envelope(audio, ceiling)
    if peaks.max(initial=0.0) <= ceiling:
        return audio
    width = 2 * round(reach * rate) + 1
    needed = np.minimum(1.0, ceiling / np.maximum(peaks, 1e-9))
    gain = uniform_filter1d(minimum_filter1d(needed, width, mode="nearest"), width, mode="nearest")
    return (audio * gain[:, None]).astype(np.float32)


def envelope(audio: np.ndarray, ceiling: float, block: int = 4096, margin: int = 64) -> np.ndarray:
    """Largest magnitude over channels at each sample `[t]`, with the three points after it where it is loud.

    Interpolated (four times, as ITU-R BS.1770 asks) only in blocks above half of the ceiling.
    """
    from scipy.signal import resample_poly

    peaks = loudest(audio)
    for start in range(0, len(audio), block):
        stop = min(start + block, len(audio))
        if peaks[start:stop].max() > 0.5 * ceiling:
            first = max(start - margin, 0)
            fine = resample_poly(audio[first : stop + margin], 4, 1, axis=0)
            fine = np.abs(fine[4 * (start - first) : 4 * (stop - first)]).max(1)
            peaks[start:stop] = np.maximum(peaks[start:stop], fine.reshape(-1, 4).max(1))
    return peaks


def loudest(audio: np.ndarray) -> np.ndarray:
    """audio `[t c]` -> the largest magnitude over its channels `[t]`."""
    return functools.reduce(np.maximum, np.abs(audio).T)  # numpy's own max over a short axis is slow


def trim_tail(audio: np.ndarray, rate: int, floor: float = 10 ** (-70 / 20)) -> np.ndarray:
    """audio `[t c]` without what follows its last sample above -70 dBFS, a tenth of a second kept."""
    for start in range(max(len(audio) - rate, 0), -rate, -rate):
        loud = np.flatnonzero(loudest(audio[max(start, 0) : start + rate]) > floor)
        if len(loud):
            return audio[: max(start, 0) + loud[-1] + rate // 10]
    return audio


def sound_attributes(audio: np.ndarray, rate: int) -> dict[str, float]:
    """What can be measured without notes: level in dBFS, brightness as the spectral centroid in Hz."""
    mono = sum(audio.T) / audio.shape[1]
    level = float(np.sqrt(mono @ mono / max(len(mono), 1)))
    windows = mono[: len(mono) // 4096 * 4096].reshape(-1, 4096)[:: max(1, len(mono) // 4096 // 512)]
    if len(windows) == 0:
        windows = np.pad(mono, (0, 4096 - len(mono)))[None]
    power = np.abs(np.fft.rfft(windows * np.hanning(4096))) ** 2
    centroid = float(power.sum(0) @ np.fft.rfftfreq(4096, 1 / rate) / max(power.sum(), 1e-20))
    return {"level": 20 * float(np.log10(max(level, 1e-9))), "brightness": centroid}
