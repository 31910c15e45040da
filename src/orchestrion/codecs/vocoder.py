"""A vocoder by diffusion as a codec: mel spectrograms to waveforms.

    audio ── log mel ──► z          z ── transposed convolution ── a waveform beside the noise ── U-Net ──► audio

audio-diffusion-pytorch 0.1.3's DiffusionVocoder with `mel_normalize_log`, weight by weight. Every audio channel goes
through it by itself.
"""

import math

import torch
from einops import rearrange
from torch import Tensor, nn

from orchestrion.audio.spectra import mel_filterbank
from orchestrion.codecs.diffused import DiffusedCodec
from orchestrion.contracts import CodecConfig, Continuous
from orchestrion.errors import UserError
from orchestrion.nn.unet1d import UNet1d, UNet1dConfig

FLOOR = 1e-5  # of mel magnitudes, before the logarithm


class VocoderConfig(CodecConfig):
    sample_rate: int = 48_000
    channels: int = 1
    level: float = 0.1  # deviation of the music's samples, by which they are divided
    bands: int = 80
    n_fft: int = 1024
    hop: int = 256
    levels: UNet1dConfig
    overlap: int = 32  # frames that windows share

    def build(self) -> "Vocoder":
        return Vocoder(self)


class Vocoder(DiffusedCodec):
    """Latents `[b c·bands n]`: natural logarithms of mel magnitudes, the first channel's first."""

    filters: Tensor
    window: Tensor

    def __init__(self, config: VocoderConfig) -> None:
        if (config.n_fft - config.hop) % 2:
            raise UserError(f"a vocoder's window and hop must differ by an even number of samples, got "
                            f"{config.n_fft} and {config.hop}")
        step, pad = math.lcm(config.hop, config.levels.multiple_of), (config.n_fft - config.hop) // 2
        super().__init__(Continuous(config.channels * config.bands, config.sample_rate / config.hop),
                         config.sample_rate, config.channels, multiple_of=step * (pad // step + 1),  # to reflect `pad`
                         overlap=config.overlap, level=config.level)
        self.config = config
        self.flatten = nn.ConvTranspose1d(config.bands, 1, config.n_fft, config.hop, pad, bias=False)
        self.decoder = UNet1d(config.levels, 2, 1)
        filters = mel_filterbank(config.sample_rate, config.n_fft, config.bands, scale="htk")
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)

    def analyse(self, audio: Tensor) -> Tensor:
        pad = (self.config.n_fft - self.config.hop) // 2
        flat = rearrange(audio.float(), "b c t -> (b c) 1 t")
        flat = nn.functional.pad(flat, (pad, pad), mode="reflect").squeeze(1)
        with torch.autocast(audio.device.type, enabled=False):
            spectrum = torch.stft(flat, self.config.n_fft, self.config.hop, window=self.window, center=False,
                                  return_complex=True)
            mel = (self.filters @ spectrum.abs()).clamp_min(FLOOR).log()
        return rearrange(mel, "(b c) f n -> b (c f) n", c=self.channels)

    def output(self, x: Tensor, time: Tensor, latents: Tensor) -> Tensor:
        told = self.flatten(rearrange(latents, "b (c f) n -> (b c) f n", c=self.channels))
        noisy = rearrange(x, "b c t -> (b c) 1 t")
        times = time.repeat_interleave(self.channels)
        made = self.decoder(torch.cat([noisy, told.to(noisy.dtype)], 1), times)
        return rearrange(made, "(b c) 1 t -> b c t", c=self.channels)
