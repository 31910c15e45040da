"""Which of the twelve pitch classes sound, and how many of them at a time."""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from orchestrion.audio.spectra import ConstantQ
from orchestrion.contracts import Figure, Metric
from orchestrion.evaluation.signals import TINY, Clip, mean, mono

HOP = 2048
LOWEST = 55.0  # A1: below it a bin's window would outlast the notes
HIGHEST = 1760.0  # A6: above it there are hardly any fundamentals
AUDIBLE_DB = 40.0


@cache
def _transform(sample_rate: int) -> ConstantQ:
    return ConstantQ(sample_rate, HOP, LOWEST, HIGHEST, 36)


def chroma(clip: Clip, sample_rate: int) -> Tensor:
    """Clip `[c t]` -> energy of the pitch classes `[12 n]` from A upwards, hop 2048.

    Constant-Q energy at 36 bins an octave over the five octaves above 55 Hz; the three bins around a
    semitone's centre count for it (A440).
    """
    energy = _transform(sample_rate)(mono(clip).float()).double().square()
    classes = (torch.arange(len(energy)) + 1) // 3 % 12
    return torch.zeros(12, energy.shape[1], dtype=energy.dtype).index_add(0, classes, energy)


def entropy(energy: Tensor) -> Tensor:
    """Energies `[12 ...]` -> Shannon entropy in bits: 0 for one pitch class, 3.58 for all alike."""
    share = energy / energy.sum(0).clamp_min(TINY)
    return -(share * share.clamp_min(TINY).log2()).sum(0)


def chroma_entropy(clip: Clip, sample_rate: int) -> float:
    """Mean over frames, in bits: how many pitch classes sound together. Frames 40 dB or more under the
    loudest don't count; silence has 0.

    Taken per frame, since over a whole clip music uses most classes and noise could not be told from it.
    """
    return chroma_entropy_of(chroma(clip, sample_rate))


def chroma_entropy_of(energy: Tensor) -> float:
    """The same, from a chroma `[12 n]` that is known already."""
    total = energy.sum(0)
    if total.max() < TINY:
        return 0.0
    return entropy(energy[:, total > total.max() * 10 ** (-AUDIBLE_DB / 10)]).mean().item()


class ChromaEntropy(Metric):
    """Mean over the made clips; nearer to the real clips' own figure is better."""

    def __call__(self, real: Sequence[Tensor], made: Sequence[Tensor], sample_rate: int) -> list[Figure]:
        values = [chroma_entropy(m, sample_rate) for m in made]
        return [Figure("chroma entropy", mean(values), "bit", "nearer")]
