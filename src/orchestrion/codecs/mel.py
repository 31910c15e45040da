"""Mel images: sound as a picture of mel bands by time, in decibels, and back by phase recovery.

    audio ── STFT ── mel bands ── decibels, floored ──► z [b 1 f n] ── magnitudes ── Griffin-Lim ──► audio

The image of audio-diffusion (teticio), 64 to 512 bands, without its joints: there each slice of some seconds is
scaled to its own loudest moment, so that the level jumps from slice to slice and a quiet one is raised to full
scale, noise and all. Here 0 dB is one and the same level everywhere, and any length is one image.
"""

import math

import torch
from torch import Tensor

from orchestrion.audio.phases import MelInverse, griffin_lim
from orchestrion.audio.spectra import STFT, mel_filterbank
from orchestrion.contracts import Codec, CodecConfig, Continuous, Windowed
from orchestrion.errors import UserError

LONGEST = 900.0  # seconds of one image; a longer one is made of two, cross-faded


class MelCodecConfig(CodecConfig):
    def build(self) -> "MelCodec":
        raise NotImplementedError


class MelCodec(Codec):
    """Its latents are a mel image `[b 1 f n]`, `filters` `[f bins]` of spectra of `size` samples."""

    filters: Tensor
    size: int

    def centres(self) -> Tensor:
        """Where each band hears most, in Hz, `[f]`."""
        return self.filters.argmax(1) * self.sample_rate / self.size


class MelImageConfig(MelCodecConfig):
    sample_rate: int = 22_050
    bands: int = 256
    size: int = 2048  # window, samples
    hop: int = 512  # samples: a column of the image
    depth: float = 80.0  # dB from white to black
    own_peak: bool = False  # each clip scaled to its own loudest moment, as published pipelines were trained
    iterations: int = 8  # of Griffin-Lim

    def build(self) -> "MelImages":
        return MelImages(self)


class MelImages(MelCodec):
    """Images run from -1 (silence) to 1 (`depth` dB more); they are mono."""

    def __init__(self, config: MelImageConfig) -> None:
        if not 8 <= config.bands <= config.size // 2:
            raise UserError(f"a mel image has 8 to {config.size // 2} bands, not {config.bands}")
        super().__init__(Continuous(1, config.sample_rate / config.hop, config.bands), config.sample_rate, 1,
                         multiple_of=config.hop, chunking=Windowed(round(LONGEST * config.sample_rate / config.hop)))
        self.config, self.size = config, config.size
        self.stft = STFT(config.size, config.hop)
        self.register_buffer("filters", mel_filterbank(config.sample_rate, config.size, config.bands),
                             persistent=False)
        self.mel_inverse = MelInverse(self.filters)
        self.reference = sine_power(config.sample_rate, config.size, self.filters)
        if not config.own_peak:  # about what music has, so that generators see about unit variance unfitted
            self.mean.fill_(-0.4)
            self.deviation.fill_(0.5)

    def powers(self, audio: Tensor) -> Tensor:
        """audio `[b 1 t]` -> mel powers `[b bands n]`; column i is centred on sample i·hop, silence beyond the ends."""
        with torch.autocast(audio.device.type, enabled=False):
            edge = self.config.size // 2
            padded = torch.nn.functional.pad(audio.float(), (edge, edge))[:, 0]
            spectrum = torch.stft(padded, self.config.size, self.config.hop, window=self.stft.window, center=False,
                                  return_complex=True)[..., : audio.shape[-1] // self.config.hop]
            return self.filters @ spectrum.abs().square()

    def analyse(self, audio: Tensor) -> Tensor:
        power = self.powers(audio).clamp_min(1e-10)
        peak = power.amax((1, 2), keepdim=True) if self.config.own_peak else self.reference
        level = 10 * (power / peak).log10()
        return (2 * level / self.config.depth + 1).clamp(-1, 1)[:, None]

    def synthesise(self, latents: Tensor, rng: torch.Generator | None = None, options: object = None) -> Tensor:
        with torch.autocast(latents.device.type, enabled=False):
            image = latents[:, 0].float()
            level = (image.clamp(-1, 1) - 1) / 2 * self.config.depth
            power = self.reference * 10 ** (level / 10)
            power = torch.where(image > -1 + 1e-3, power, torch.zeros_like(power))  # the floor is silence, not hiss
            magnitude = self.mel_inverse(power).sqrt()
            # one column more than the clip has hops, so that its last hop has sound from both sides
            magnitude = torch.cat([magnitude, magnitude[..., -1:]], -1)
            return griffin_lim(self.stft, magnitude, self.config.iterations)[:, None]


def sine_power(sample_rate: int, size: int, filters: Tensor) -> float:
    """The mel power of a full-scale sine of 440 Hz in its loudest band: 0 dB."""
    time = torch.arange(size, dtype=torch.float64) / sample_rate
    frame = torch.sin(2 * math.pi * 440 * time) * torch.hann_window(size, dtype=torch.float64)
    return float((filters.double() @ torch.fft.rfft(frame).abs().square()).max())
