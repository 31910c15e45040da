"""Scale-invariant signal-to-distortion ratio: the only distance here that hears absolute phase."""

from collections.abc import Sequence

from torch import Tensor

from orchestrion.contracts import Figure, Metric
from orchestrion.evaluation.signals import TINY, Clip, mean, pair, pairs


def si_sdr(real: Clip, made: Clip) -> float:
    """10 log10(|a·real|² / |made - a·real|²) in dB with a = <made, real> / |real|² (Le Roux et al. 2019).

    Means are removed first. Codecs that invent phase score low here however good they sound.
    """
    target, estimate = (audio - audio.mean() for audio in pair(real, made))
    projection = (estimate @ target) / (target @ target).clamp_min(TINY) * target
    rest = estimate - projection
    return (10 * ((projection @ projection).clamp_min(TINY) / (rest @ rest).clamp_min(TINY)).log10()).item()


class SISDR(Metric):
    """Mean over the clips; `made` are reconstructions of `real`."""

    def __call__(self, real: Sequence[Tensor], made: Sequence[Tensor], sample_rate: int) -> list[Figure]:
        values = [si_sdr(r, m) for r, m in pairs(real, made)]
        return [Figure("SI-SDR", mean(values), "dB", "higher")]
