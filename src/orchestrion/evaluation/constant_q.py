"""Distance of constant-Q spectra: the measure that hears whether notes are kept.

Three bins a semitone at every height, so that bass and treble count alike by their intervals. In the
bass a bin's window lasts most of a second or more; partials that lost their phase from frame to frame
smear there, which mel bands and short windows don't notice.
"""

from collections.abc import Sequence
from functools import cache

from torch import Tensor

from orchestrion.audio.spectra import ConstantQ, floored_log
from orchestrion.contracts import Figure, Metric
from orchestrion.evaluation.signals import TINY, Clip, mean, pair, pairs

HOP, LOWEST, HIGHEST, BINS_PER_OCTAVE = 512, 27.5, 16_000.0, 36
FLOOR_DB = 60.0


@cache
def _transform(sample_rate: int) -> ConstantQ:
    return ConstantQ(sample_rate, HOP, LOWEST, HIGHEST, BINS_PER_OCTAVE)


def constant_q_l1(real: Clip, made: Clip, sample_rate: int) -> float:
    """Mean |difference| of log constant-Q magnitudes in nepers.

    36 bins an octave from 27.5 Hz to 16 kHz, Q = 51.4, hop 512, mono; both clips are floored 60 dB under
    the original's peak, so that what is inaudible beside it doesn't count.
    """
    first, second = (_transform(sample_rate)(audio.float()).double() for audio in pair(real, made))
    peak = first.max().clamp_min(TINY)
    return (floored_log(first, peak, FLOOR_DB) - floored_log(second, peak, FLOOR_DB)).abs().mean().item()


class ConstantQL1(Metric):
    """Mean over the clips; `made` are reconstructions of `real`."""

    def __call__(self, real: Sequence[Tensor], made: Sequence[Tensor], sample_rate: int) -> list[Figure]:
        values = [constant_q_l1(r, m, sample_rate) for r, m in pairs(real, made)]
        return [Figure("constant-Q L1", mean(values), "neper", "lower")]
