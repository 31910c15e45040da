"""`Audio`: the sound that users hold."""

import base64
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from orchestrion.audio.files import Writer, read_samples, read_tags
from orchestrion.errors import UserError


@dataclass(frozen=True, eq=False)
class Audio:
    """Samples `[c t]`, float32 in [-1, 1], and their rate in Hz.

    provenance: how it was made (model, seed, prompt, settings, licence, command); written into the
    file's tags and read back from them.
    """

    samples: Tensor
    sample_rate: int
    provenance: dict[str, Any] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        samples = torch.as_tensor(self.samples).detach().to("cpu", torch.float32)
        if samples.ndim == 1:
            samples = samples[None]
        if samples.ndim != 2:
            raise ValueError(f"samples must be [c t], got {tuple(samples.shape)}")
        object.__setattr__(self, "samples", samples)

    @classmethod
    def read(cls, path: str | Path, start: float = 0.0, duration: float | None = None) -> "Audio":
        """From a file; only `duration` seconds from `start` on, if given."""
        samples, sample_rate = read_samples(path, start, duration)
        return cls(samples, sample_rate, read_tags(path))

    def write(self, path: str | Path) -> Path:
        """To a wav, flac, ogg or mp3 file, by its ending. Never clips: see `levels` for the policy."""
        with Writer(path, self.sample_rate, self.channels, self.provenance) as writer:
            writer.write(self.samples)
        return Path(path)

    @property
    def channels(self) -> int:
        return self.samples.shape[0]

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.samples.shape[1] / self.sample_rate

    def resample(self, sample_rate: int) -> "Audio":
        """At another rate, band-limited (soxr, high quality)."""
        if sample_rate == self.sample_rate:
            return self
        import soxr

        samples = soxr.resample(self.samples.T.contiguous().numpy(), self.sample_rate, sample_rate)
        return replace(self, samples=torch.from_numpy(samples.T.copy()), sample_rate=sample_rate)

    def to_channels(self, channels: int) -> "Audio":
        """Mixed to fewer channels or copied to more.

        To mono: the mean. 5.1 (left, right, centre, low, surrounds) to stereo: centre and surrounds at
        -3 dB, as ITU-R BS.775 mixes, over the sum of the gains. Otherwise channel i goes to i mod
        `channels`, and what meets is averaged.
        """
        have = self.channels
        if channels < 1:
            raise UserError(f"audio needs at least one channel, not {channels}")
        if have == channels:
            return self
        if have < channels:
            mixed = self.samples[torch.arange(channels) % have]
        elif channels == 1:
            mixed = self.samples.mean(0, keepdim=True)
        elif (have, channels) == (6, 2):
            left, right, centre, _, left_back, right_back = self.samples
            half = 0.5**0.5
            sides = (left + half * (centre + left_back), right + half * (centre + right_back))
            mixed = torch.stack(sides) / (1 + 2 * half)
        else:
            mixed = torch.stack([self.samples[i::channels].mean(0) for i in range(channels)])
        return replace(self, samples=mixed)

    def plot(self, path: str | Path, title: str | None = None) -> Path:
        """A spectrogram picture (PNG)."""
        from orchestrion.audio.plots import plot_spectrograms

        return plot_spectrograms([self], path, [title or f"{self.duration:.1f} s"])

    def _repr_html_(self) -> str:
        """A player in a notebook."""
        with tempfile.TemporaryDirectory() as folder:
            data = self.write(Path(folder) / "clip.wav").read_bytes()
        source = f"data:audio/wav;base64,{base64.b64encode(data).decode()}"
        return f'<audio controls src="{source}"></audio>'
