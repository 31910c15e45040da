"""How far a sound falls between its notes, octave by octave.

Played notes decay and stop; a generator that hums or hisses fills the gaps, and its spread shrinks.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from orchestrion.contracts import Figure, Metric
from orchestrion.evaluation.signals import TINY, Clip, magnitudes, mean, mono

WINDOW, HOP = 2048, 512
LOWEST, OCTAVES = 55.0, 8  # 55 Hz to 14 kHz
FLOOR_DB = -70.0  # dBFS: what is softer is silence


def octave_levels(audio: Tensor, sample_rate: int) -> Tensor:
    """audio `[t]` -> level of each octave above 55 Hz in dBFS `[octaves n]`, floored at -70.

    A full-scale sinusoid has -3 dBFS (a mean square of 1/2).
    """
    power = magnitudes(audio, WINDOW, HOP).square() * (2 / WINDOW)  # both halves of the spectrum
    frequencies = torch.arange(WINDOW // 2 + 1) * sample_rate / WINDOW
    edges = LOWEST * 2.0 ** torch.arange(OCTAVES + 1)
    bands = [power[(frequencies >= low) & (frequencies < high)].sum(0) for low, high in pairwise(edges)]
    return (10 * torch.stack(bands).clamp_min(TINY).log10()).clamp_min(FLOOR_DB)


def level_spread(clip: Clip, sample_rate: int) -> list[float]:
    """50th minus 10th percentile of the level over time in dB, for each of the eight octaves from 55 Hz."""
    levels = octave_levels(mono(clip), sample_rate)
    ends = torch.tensor([0.1, 0.5], dtype=levels.dtype)
    low, middle = torch.quantile(levels, ends, dim=1)
    return (middle - low).tolist()


class LevelSpread(Metric):
    """Mean over octaves and made clips; nearer to the real clips' own figure is better."""

    def __call__(self, real: Sequence[Tensor], made: Sequence[Tensor], sample_rate: int) -> list[Figure]:
        values = [mean(level_spread(m, sample_rate)) for m in made]
        return [Figure("level spread", mean(values), "dB", "nearer")]
