"""No codec: the samples themselves, for generators that make waveforms."""

from typing import Any

import torch
from torch import Tensor

from orchestrion.contracts import Codec, CodecConfig, Continuous, Exact
from orchestrion.errors import UserError


class WaveformConfig(CodecConfig):
    sample_rate: int = 44_100
    channels: int = 1
    level: float = 0.1  # deviation of the music's samples, by which they are divided

    def build(self) -> "Waveform":
        return Waveform(self)


class Waveform(Codec):
    """audio `[b c t]` <-> audio / level `[b c t]`.

    A generator should see unit variance. Recorded music's samples deviate by 0.05 to 0.2, so that a diffusion model
    given them as they are sees hardly anything but noise at most of its levels, and ends in noise.
    """

    def __init__(self, config: WaveformConfig) -> None:
        if config.level <= 0:
            raise UserError(f"the level of a waveform is a deviation above 0, got {config.level}")
        space = Continuous(config.channels, config.sample_rate)
        super().__init__(space, config.sample_rate, config.channels, multiple_of=64, chunking=Exact(0))
        self.deviation.fill_(config.level)

    def analyse(self, audio: Tensor) -> Tensor:
        return audio

    def synthesise(self, latents: Tensor, rng: torch.Generator | None = None, options: Any = None) -> Tensor:
        return latents
