"""The relative error of magnitudes: dominated by what is loud, where logarithms hear what is soft."""

from collections.abc import Sequence

from torch import Tensor

from orchestrion.contracts import Figure, Metric
from orchestrion.evaluation.signals import TINY, Clip, magnitudes, mean, pair, pairs


def relative_error(real: Tensor, made: Tensor) -> float:
    """||real - made|| / ||real|| of two magnitude spectra `[f n]`, Frobenius norm (Arik et al. 2018)."""
    return ((real - made).norm() / real.norm().clamp_min(TINY)).item()


def spectral_convergence(real: Clip, made: Clip, window: int = 2048) -> float:
    """Relative error of STFT magnitudes, Hann window, hop a quarter of it: 0 is the same, 1 is silence."""
    first, second = (magnitudes(audio, window, window // 4) for audio in pair(real, made))
    return relative_error(first, second)


class SpectralConvergence(Metric):
    """Mean over the clips, window 2048; `made` are reconstructions of `real`."""

    def __call__(self, real: Sequence[Tensor], made: Sequence[Tensor], sample_rate: int) -> list[Figure]:
        values = [spectral_convergence(r, m) for r, m in pairs(real, made)]
        return [Figure("spectral convergence", mean(values), "ratio", "lower")]
