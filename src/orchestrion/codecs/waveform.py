"""No codec: the samples themselves, for generators that make waveforms, or as many bands of them.

    audio ── MDCT ── every band divided by its deviation ──► z [b c·bands t/bands] ──► and back, exactly
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from orchestrion.audio.mdct import MDCT
from orchestrion.contracts import Codec, CodecConfig, Continuous, Exact
from orchestrion.errors import UserError

MOST_BANDS = 4096  # a tenth of a second at 44.1 kHz
QUIETEST = 1e-5  # deviation: what rounding to 16 bits leaves in an empty band


class WaveformConfig(CodecConfig):
    sample_rate: int = 44_100
    channels: int = 1
    level: float = 0.1  # deviation of the music's samples, by which they are divided
    bands: int = 1  # above 1: of an MDCT, each divided by its own deviation, which training measures first

    def build(self) -> "Waveform":
        return Waveform(self)


class Waveform(Codec):
    """audio `[b c t]` <-> audio / level `[b c t]`, or bands `[b c·bands t/bands]` / their levels.

    A generator should see unit variance. Recorded music's samples deviate by 0.05 to 0.2, so that a diffusion model
    given them as they are sees hardly anything but noise at most of its levels, and ends in noise. Music falls by some
    60 dB from its low notes to its highest octave, too: what is a hundredth of the samples' deviation is a loud hiss
    there. In bands, an error is as loud as the music where it lies.
    """

    def __init__(self, config: WaveformConfig) -> None:
        if config.level <= 0:
            raise UserError(f"the level of a waveform is a deviation above 0, got {config.level}")
        if config.bands != 1 and (config.bands % 2 or config.bands > MOST_BANDS):
            raise UserError(f"a waveform has 1 band or an even number of them, {MOST_BANDS} at most, got "
                            f"{config.bands}")
        split = config.bands > 1
        space = Continuous(config.channels * config.bands, config.sample_rate / config.bands)
        super().__init__(space, config.sample_rate, config.channels, multiple_of=config.bands if split else 64,
                         chunking=Exact(1 if split else 0))
        self.deviation.fill_(config.level)
        self.mdct = MDCT(config.bands) if split else None

    def begin(self, batches: Iterable[Tensor]) -> None:
        """Measures the bands' deviations; their means are 0."""
        if self.mdct is None:
            return
        power = torch.stack([self.analyse(self.pad(audio)).double().square().mean((0, 2)) for audio in batches]).mean(0)
        self.deviation.copy_(power.sqrt().clamp_min(QUIETEST)[:, None])

    def analyse(self, audio: Tensor) -> Tensor:
        return audio if self.mdct is None else self.mdct(audio).flatten(1, 2)

    def synthesise(self, latents: Tensor, rng: torch.Generator | None = None, options: Any = None) -> Tensor:
        if self.mdct is None:
            return latents
        return self.mdct.inverse(latents.unflatten(1, (self.channels, -1)))
