"""Audio files: reading parts of them, writing them whole or as they come, and what their tags say.

Endings: wav, flac, ogg (Vorbis) and mp3 are written; whatever libsndfile knows is read. Provenance is one
JSON object in the tag `ORCHESTRION` (a Vorbis comment, or an ID3 `TXXX` frame), with a line for humans in
the comment, the RIFF INFO chunk of a wav included.
"""

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor

from orchestrion.audio.levels import CEILING_DB, LOSSY_CEILING_DB, PeakMeter, ceiling_gain
from orchestrion.errors import UserError
from orchestrion.storage import check_writable, replacing

TAG = "ORCHESTRION"
_IN_MEMORY = 64 * 2**20  # bytes of unfinished audio kept in memory; more goes to disk
LOUDEST = 1e6  # times full scale: what is louder is no sound, and its squares are soon no numbers
_FULL = 2**16  # bytes free
_BLOCK = 2**16  # frames encoded at a time (libsndfile's Vorbis coder overflows its stack on millions)


@dataclass(frozen=True)
class Format:
    container: str
    subtype: str
    lossy: bool
    rates: tuple[int, ...] | None = None  # the only sample rates that it can hold; None: any


FORMATS = {
    ".wav": Format("WAV", "PCM_16", lossy=False),
    ".flac": Format("FLAC", "PCM_16", lossy=False),
    ".ogg": Format("OGG", "VORBIS", lossy=True),
    ".mp3": Format("MP3", "MPEG_LAYER_III", lossy=True,
                   rates=(8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)),
}


@dataclass(frozen=True)
class Info:
    """What a file's header says."""

    seconds: float
    sample_rate: int
    channels: int


def info(path: str | Path) -> Info:
    with _open(path) as file:
        return Info(file.frames / file.samplerate, file.samplerate, file.channels)


def read_samples(path: str | Path, start: float = 0.0, duration: float | None = None) -> tuple[Tensor, int]:
    """-> samples `[c t]` float32 and the sample rate; only the part from `start`, `duration` seconds long.

    A part that reaches beyond the end is cut there.
    """
    with _open(path) as file:
        first = round(start * file.samplerate)
        if start < 0 or (file.frames and first >= file.frames):
            raise UserError(f"{path} lasts {file.frames / file.samplerate:.2f} s; "
                            f"it can't be read from {start:g} s")
        count = -1 if duration is None else max(0, round(duration * file.samplerate))
        try:
            file.seek(first)
            samples = file.read(count, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise UserError(f"{path} is damaged: {error.error_string}") from error
        if not np.isfinite(samples).all():
            raise UserError(f"{path} has samples that are no finite numbers (NaN or infinite): export it anew")
        if samples.size and not -LOUDEST <= samples.min() <= samples.max() <= LOUDEST:
            raise UserError(f"{path} has samples of more than {LOUDEST:g} times full scale: export it anew")
        return torch.from_numpy(np.ascontiguousarray(samples.T)), file.samplerate


def _open(path: str | Path) -> soundfile.SoundFile:
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder, and one audio file is wanted: give a file in it")
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    try:
        return soundfile.SoundFile(path)
    except soundfile.LibsndfileError as error:
        raise UserError(f"{path} can't be read as audio ({error.error_string.rstrip('.')}); convert it to "
                        "wav, flac, ogg or mp3") from error


def output_format(path: str | Path, sample_rate: int | None = None, channels: int = 1) -> Format:
    """The format that a path's ending asks for; `UserError` where there is none or it can't hold the audio."""
    ending = Path(path).suffix.lower()
    if ending not in FORMATS:
        raise UserError(f"{path}: audio is written as {', '.join(FORMATS)}, not {ending or 'without ending'!r}")
    form = FORMATS[ending]
    if sample_rate and form.rates and sample_rate not in form.rates:
        raise UserError(f"{path}: {ending} can't hold {sample_rate} Hz; write wav or flac, or resample")
    if ending == ".mp3" and channels > 2:
        raise UserError(f"{path}: .mp3 can't hold {channels} channels; write wav or flac")
    return form


class Writer:
    """Writes one file as its samples come, in bounded memory, under the peak policy of `levels`.

    Used as a context: the file appears, complete, when the context ends well; not at all otherwise.
    """

    def __init__(self, path: str | Path, sample_rate: int, channels: int,
                 provenance: dict[str, Any] | None = None, exact: bool = False) -> None:
        """exact: the samples as they are, whatever their peaks (those of a file that is edited)."""
        self.path, self.sample_rate, self.channels, self.exact = Path(path), sample_rate, channels, exact
        self.provenance = provenance
        self.format = output_format(path, sample_rate, channels)
        check_writable(path)
        self.meter = PeakMeter()
        # Closed by the context that this writer is.
        self._spool = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY, dir=str(self.path.parent))  # noqa: SIM115

    def write(self, samples: Tensor) -> None:
        """The next samples `[c t]`."""
        samples = samples.detach().float().cpu()
        if not samples.isfinite().all():
            maker = (self.provenance or {}).get("model", "what made it")
            raise UserError(f"{self.path} is not written: {maker} gave samples that are no finite numbers; try other "
                            "options, or --dtype float32, and if that doesn't help the model is damaged")
        self.meter.hear(samples)
        try:
            self._spool.write(samples.T.contiguous().numpy().tobytes())
        except OSError as error:
            raise UserError(f"{self.path} can't be written: {error.strerror or error}") from error

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._spool.close()

    def _finish(self) -> None:
        ceiling = LOSSY_CEILING_DB if self.format.lossy else CEILING_DB
        gain = 1.0 if self.exact else ceiling_gain(self.meter.peak(), ceiling)
        self._spool.seek(0)
        with replacing(self.path) as part:
            try:
                with soundfile.SoundFile(part, "w", self.sample_rate, self.channels,
                                         subtype=self.format.subtype, format=self.format.container) as file:
                    if self.provenance and self.format.container == "WAV":
                        file.comment, file.software = _for_humans(self.provenance), "orchestrion"
                    while block := self._spool.read(_BLOCK * self.channels * 4):
                        frames = np.frombuffer(block, dtype=np.float32).reshape(-1, self.channels)
                        file.write(frames * np.float32(gain))
            except soundfile.LibsndfileError as error:
                full = shutil.disk_usage(part.parent).free < _FULL  # libsndfile only says "System error."
                reason = "no space is left there" if full else error.error_string
                raise UserError(f"{self.path} can't be written: {reason}") from error
            if self.provenance:
                write_tags(part, self.provenance)


# Tags


def write_tags(path: Path, provenance: dict[str, Any]) -> None:
    """Puts provenance into the tags of a wav, flac, ogg or mp3 file, in place."""
    from mutagen.flac import FLAC
    from mutagen.id3 import COMM, TXXX
    from mutagen.mp3 import MP3
    from mutagen.oggvorbis import OggVorbis
    from mutagen.wave import WAVE

    text = json.dumps(provenance, ensure_ascii=False)
    ending = path.suffix.lower()
    if ending in (".flac", ".ogg"):
        comments = FLAC(path) if ending == ".flac" else OggVorbis(path)
        comments[TAG], comments["COMMENT"] = text, _for_humans(provenance)
        comments.save()
    else:
        tagged = WAVE(path) if ending == ".wav" else MP3(path)
        if tagged.tags is None:
            tagged.add_tags()
        frames: Any = tagged.tags
        frames.add(TXXX(encoding=3, desc=TAG, text=text))
        frames.add(COMM(encoding=3, lang="eng", desc="", text=_for_humans(provenance)))
        tagged.save()


def read_tags(path: str | Path) -> dict[str, Any] | None:
    """The provenance that `write_tags` left, or None."""
    import mutagen

    try:
        tagged = mutagen.File(path)
    except mutagen.MutagenError:
        return None
    if tagged is None or tagged.tags is None:
        return None
    found = tagged.tags.get(f"TXXX:{TAG}") or tagged.tags.get(TAG)
    if not found:
        return None
    try:
        data = json.loads(str(found[0] if isinstance(found, list) else found))
    except json.JSONDecodeError:
        return None
    return data if isinstance(data, dict) else None


def _for_humans(provenance: dict[str, Any]) -> str:
    """One line: by what it was made, and how to make it again."""
    made = f"Made by {provenance.get('software', 'orchestrion')}"
    command = provenance.get("command")
    return f"{made}: {command}" if command else made
