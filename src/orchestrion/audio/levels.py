"""How loud: true peaks, and the policy that keeps generated audio from clipping.

The policy: a clip whose true peak (between the samples too) is above the ceiling is scaled down as a
whole, by one gain, until its true peak is at the ceiling; a clip below it is left exactly as it is. The
ceiling is -0.3 dBFS, and -1 dBFS for lossy files (mp3, ogg), whose coders overshoot. One gain keeps the
music's own dynamics, where a limiter would not. Long audio that is written as it comes is measured
while it is made and scaled when it is finished.
"""

import math

import torch
from torch import Tensor, nn

CEILING_DB = -0.3
LOSSY_CEILING_DB = -1.0

_PHASES, _TAPS = 4, 16  # four times oversampling, as ITU-R BS.1770 asks
_PIECE = 2**15  # samples looked at together: they stay in the processor's cache


def decibels(gain: float) -> float:
    return 20 * math.log10(max(gain, 1e-12))


def from_decibels(level: float) -> float:
    return 10 ** (level / 20)


class PeakMeter:
    """The true peak of audio that comes in blocks `[... t]`: the largest magnitude, with three points
    interpolated between samples. Interpolation is done only where it can matter: around samples above 0.6 of
    the largest.
    """

    def __init__(self) -> None:
        self._peak = 0.0
        self._before: Tensor | None = None  # the last samples, which the next block's first gaps need

    def hear(self, block: Tensor) -> None:
        if self._before is None:
            self._before = block.new_zeros(*block.shape[:-1], _TAPS // 2 - 1)
        if block.numel():
            self._peak = max(self._peak, _largest(block))
        for piece in block.split(_PIECE, -1):
            joined = torch.cat([self._before, piece], dim=-1)
            self._between(joined)
            self._before = joined[..., -(_TAPS - 1) :].clone()

    def peak(self) -> float:
        """So far, as if silence followed."""
        if self._before is not None:
            self._between(nn.functional.pad(self._before, (0, _TAPS // 2)))
        return self._peak

    def _between(self, samples: Tensor) -> None:
        if samples.shape[-1] < _TAPS or self._peak == 0 or _largest(samples) < 0.6 * self._peak:
            return
        starts = samples.unfold(-1, _TAPS, 1)  # a view: [... t taps], the gap in the middle of each
        half = _TAPS // 2
        level = samples.abs()
        left, right = level[..., half - 1 : level.shape[-1] - half], level[..., half : level.shape[-1] - half + 1]
        loud = torch.maximum(left, right) >= 0.6 * self._peak
        if loud.any():
            self._peak = max(self._peak, (starts[loud] @ _interpolator().to(samples)).abs().max().item())


def _largest(samples: Tensor) -> float:
    low, high = samples.aminmax()
    return max(-low.item(), high.item())


def true_peak(samples: Tensor) -> float:
    """Largest magnitude of audio `[... t]`, between its samples too."""
    meter = PeakMeter()
    meter.hear(samples.float())
    return meter.peak()


def _interpolator() -> Tensor:
    """Windowed-sinc filters `[taps phases-1]` for the points between the two middle samples."""
    fractions = torch.arange(1, _PHASES, dtype=torch.float64) / _PHASES
    distance = torch.arange(_TAPS, dtype=torch.float64)[:, None] - (_TAPS // 2 - 1) - fractions
    window = torch.cos(math.pi * distance / (_TAPS + 1)).square()
    return (torch.sinc(distance) * window).float()


def ceiling_gain(peak: float, ceiling_db: float = CEILING_DB) -> float:
    """The one gain that the policy asks for, given a true peak: 1 unless it is above the ceiling."""
    ceiling = from_decibels(ceiling_db)
    return ceiling / peak if peak > ceiling else 1.0


def below_ceiling(samples: Tensor, ceiling_db: float = CEILING_DB) -> Tensor:
    """Audio `[... t]` under the peak policy: the same, or scaled as a whole."""
    gain = ceiling_gain(true_peak(samples), ceiling_db)
    return samples if gain == 1.0 else samples * gain
