"""An up-sampler by diffusion as a codec: encoding keeps every n-th sample, decoding makes up what lay above.

    audio ── low-pass, ÷factor ──► z, a waveform          z ── ×factor, beside the noise ── U-Net ──► audio

audio-diffusion-pytorch 0.1.3's DiffusionUpsampler, weight by weight. A generator over its latents makes waveforms at
the low rate: a cascade.
"""

import math

import torch
from torch import Tensor

from orchestrion.codecs.diffused import DiffusedCodec
from orchestrion.contracts import CodecConfig, Continuous
from orchestrion.nn.unet1d import UNet1d, UNet1dConfig


class UpsamplerConfig(CodecConfig):
    sample_rate: int = 44_100
    channels: int = 1
    level: float = 0.1  # deviation of the music's samples, by which they are divided
    factor: int = 16
    levels: UNet1dConfig
    overlap: int = 4096  # low-rate samples that windows share

    def build(self) -> "Upsampler":
        return Upsampler(self)


class Upsampler(DiffusedCodec):
    """Latents `[b c t/factor]`: the low-passed audio at the low rate."""

    def __init__(self, config: UpsamplerConfig) -> None:
        super().__init__(Continuous(config.channels, config.sample_rate / config.factor), config.sample_rate,
                         config.channels, multiple_of=math.lcm(config.factor, config.levels.multiple_of),
                         overlap=config.overlap, level=config.level)
        self.factor = config.factor
        self.decoder = UNet1d(config.levels, 2 * config.channels, config.channels)
        self.deviation.fill_(config.level)

    def analyse(self, audio: Tensor) -> Tensor:
        return resample(audio, 1, self.factor)

    def output(self, x: Tensor, time: Tensor, latents: Tensor) -> Tensor:
        low = resample(latents, self.factor, 1) / self.level
        return self.decoder(torch.cat([x, low.to(x.dtype)], 1), time)


def resample(audio: Tensor, up: int, down: int, rolloff: float = 0.99, lobes: int = 6) -> Tensor:
    """`[b c t]` -> `[b c t·up/down]` by a sinc under a squared cosine, `lobes` zero crossings on either side, cut off
    at `rolloff` of the lower Nyquist frequency (torchaudio's default, which the peers use)."""
    cutoff = min(up, down) * rolloff
    reach = math.ceil(lobes * down / cutoff)
    place = torch.arange(-reach, reach + down, dtype=torch.float64) / down
    phase = torch.arange(up, dtype=torch.float64)[:, None] / up
    time = ((place - phase) * cutoff).clamp(-lobes, lobes)
    kernel = torch.sinc(time) * torch.cos(time * math.pi / lobes / 2).square() * cutoff / down
    flat = torch.nn.functional.pad(audio.float().flatten(0, 1)[:, None], (reach, reach + down))
    with torch.autocast(audio.device.type, enabled=False):
        made = torch.nn.functional.conv1d(flat, kernel[:, None].to(flat), stride=down)
    made = made.mT.flatten(1).unflatten(0, audio.shape[:2])
    return made[..., : audio.shape[-1] * up // down]
