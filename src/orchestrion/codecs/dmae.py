"""DMAE: Moûsai's diffusion magnitude autoencoder (Schneider et al. 2023, arXiv 2301.11757, §3.2).

    audio ── |STFT| ── convolutions ── tanh ──► z [32 n]          z ── injected into a U-Net, diffusion ──► audio

z knows magnitudes alone; phases come out of the noise, so that 32 numbers every 512 or 1024 samples suffice for
stereo. The encoder is ME1d with a TanhBottleneck (audio-encoders-pytorch 0.0.22), the decoder DiffusionAE's
(audio-diffusion-pytorch 0.1.3), both weight by weight.
"""

import math

import torch
from einops import rearrange
from torch import Tensor, nn

from orchestrion.codecs.diffused import DiffusedCodec
from orchestrion.config import Config
from orchestrion.contracts import CodecConfig, Continuous
from orchestrion.errors import UserError
from orchestrion.nn.unet1d import LearnedTransform, UNet1dConfig


class MagnitudeEncoderConfig(Config):
    """Widths and factors of the convolutions after the spectrum, one number a layer."""

    bins: int = 512  # the STFT has 2·bins - 1 samples, odd, so that there is a frame every hop and no more
    hop: int = 256
    width: int = 512
    factors: tuple[int, ...] = (2, 2)
    blocks: tuple[int, ...] = (4, 8)
    latents: int = 32
    groups: int = 8  # of the group norms


class DmaeConfig(CodecConfig):
    sample_rate: int = 48_000
    channels: int = 2
    level: float = 0.1  # deviation of the music's samples, by which they are divided
    encoder: MagnitudeEncoderConfig = MagnitudeEncoderConfig()
    levels: UNet1dConfig
    filters: int = 128  # a channel, of the learned transform round the U-Net
    window: int = 64  # samples
    stride: int = 64  # samples
    depth: int = 4  # at which level of the U-Net z is injected
    overlap: int = 32  # frames that windows share

    def build(self) -> "Dmae":
        return Dmae(self)


class Dmae(DiffusedCodec):
    """Latents `[b 32 n]` in ±1, one every hop·∏factors samples."""

    def __init__(self, config: DmaeConfig) -> None:
        encoder, levels = config.encoder, config.levels
        frame = encoder.hop * math.prod(encoder.factors)
        there = config.stride * math.prod(levels.factors[: config.depth + 1])
        if config.depth >= len(levels.channels) or frame != there:
            raise UserError(f"the encoder makes a latent every {frame} samples, and level {config.depth} of the "
                            f"U-Net, where they are injected, has a frame every {there}: make them agree")
        super().__init__(Continuous(encoder.latents, config.sample_rate / frame), config.sample_rate, config.channels,
                         multiple_of=math.lcm(frame, config.stride * levels.multiple_of), overlap=config.overlap,
                         level=config.level)
        self.config = config
        self.encoder = MagnitudeEncoder(encoder, config.channels)
        self.decoder = LearnedTransform(levels, config.channels, config.channels, config.filters, config.window,
                                        config.stride, injected={config.depth: encoder.latents})

    def analyse(self, audio: Tensor) -> Tensor:
        return self.encoder(audio)

    def output(self, x: Tensor, time: Tensor, latents: Tensor) -> Tensor:
        return self.decoder(x, time, channels={self.config.depth: latents})


class MagnitudeEncoder(nn.Module):
    """audio `[b c t]` -> `[b latents n]` in ±1."""

    window: Tensor

    def __init__(self, config: MagnitudeEncoderConfig, channels: int) -> None:
        super().__init__()
        if len(config.factors) != len(config.blocks):
            raise UserError(f"an encoder of {len(config.factors)} factors needs as many numbers of blocks, got "
                            f"{len(config.blocks)}")
        self.config = config
        self.enter = Residual(channels * config.bins, config.width, groups=1)
        self.downs = nn.ModuleList(Down(config, factor, count) for factor, count in zip(config.factors, config.blocks))
        self.leave = nn.Conv1d(config.width, config.latents, 1)
        self.register_buffer("window", torch.hann_window(2 * config.bins - 1), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        x = self.enter(self.magnitudes(audio))
        for down in self.downs:
            x = down(x)
        return self.leave(x).tanh()

    def magnitudes(self, audio: Tensor) -> Tensor:
        """`[b c t]` -> `[b c·bins t/hop]`, the spectrum divided by the root of the window's length."""
        flat = rearrange(audio.float(), "b c t -> (b c) t")
        spectrum = torch.stft(flat, len(self.window), self.config.hop, window=self.window, normalized=True,
                              return_complex=True)
        return rearrange(spectrum.abs(), "(b c) f n -> b (c f) n", b=len(audio))


class Down(nn.Module):
    """Fewer frames, then residual blocks."""

    def __init__(self, config: MagnitudeEncoderConfig, factor: int, blocks: int) -> None:
        super().__init__()
        self.convolve = nn.Conv1d(config.width, config.width, 2 * factor + 1, factor, factor)
        self.blocks = nn.Sequential(*(Residual(config.width, config.width, config.groups) for _ in range(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.convolve(x))


class Residual(nn.Module):
    """Two convolutions, each after group norm and SiLU, beside x itself. `[b in n]` -> `[b out n]`."""

    def __init__(self, inputs: int, outputs: int, groups: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(groups, inputs), nn.Conv1d(inputs, outputs, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(groups, outputs), nn.Conv1d(outputs, outputs, 3, padding=1)
        self.pass_by = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(nn.functional.silu(self.norm1(x)))
        return self.pass_by(x) + self.conv2(nn.functional.silu(self.norm2(y)))
