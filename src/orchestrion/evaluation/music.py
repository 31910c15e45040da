"""Every music check of a clip, and the bars that generated piano must clear."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from orchestrion.contracts import Metric
from orchestrion.evaluation.bars import BarSimilarity, bar_similarity_of
from orchestrion.evaluation.chroma import ChromaEntropy, chroma, chroma_entropy_of
from orchestrion.evaluation.flatness import Flatness, flatness
from orchestrion.evaluation.level_spread import LevelSpread, level_spread
from orchestrion.evaluation.onsets import OnsetRate, onset_strength, peaks
from orchestrion.evaluation.pulse import PulseClarity, pulse_of
from orchestrion.evaluation.signals import Clip, mean, mono

CHECKS: tuple[Metric, ...] = (
    OnsetRate(), Flatness(), ChromaEntropy(), PulseClarity(), BarSimilarity(), LevelSpread()
)


def music_checks(clip: Clip, sample_rate: int) -> dict[str, float]:
    """{name: value} of one clip `[c t]`, for training demos and tables. Units: see each metric's file."""
    audio = mono(clip)
    strength, energy = onset_strength(audio, sample_rate), chroma(audio, sample_rate)
    return {"onset rate": len(peaks(strength)) / (len(audio) / sample_rate),
            "spectral flatness": flatness(audio),
            "chroma entropy": chroma_entropy_of(energy),
            "pulse clarity": pulse_of(strength)[0],
            "bar similarity": bar_similarity_of(energy, sample_rate),
            "level spread": mean(level_spread(audio, sample_rate))}


@dataclass(frozen=True)
class Bar:
    """A made figure must lie between `lowest` and `highest` times the real one."""

    name: str
    lowest: float
    highest: float

    def holds(self, real: float, made: float) -> bool:
        return self.lowest * real <= made <= self.highest * real


PIANO_BARS = (
    Bar("onset rate", 0.7, 1.5), Bar("spectral flatness", 0.0, 2.0), Bar("chroma entropy", 0.9, 1.1),
    Bar("pulse clarity", 0.7, math.inf),
)
"""What lets a listener say that a piano plays notes; medians over clips are compared."""


def medians(checks: Sequence[dict[str, float]]) -> dict[str, float]:
    """{name: median over clips} of `music_checks`."""
    return {name: median(check[name] for check in checks) for name in checks[0]}
