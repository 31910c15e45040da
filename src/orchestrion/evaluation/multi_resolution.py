"""Distance of STFT magnitudes at several windows: short ones hear attacks, long ones hear whether a
partial holds its pitch from frame to frame."""

from collections.abc import Sequence

from torch import Tensor

from orchestrion.contracts import Figure, Metric
from orchestrion.evaluation.signals import Clip, magnitudes, mean, pair, pairs
from orchestrion.evaluation.spectral_convergence import relative_error

WINDOWS = (512, 1024, 2048, 4096, 8192, 16384)
OFFSET = 1e-5  # added before the logarithm: 16-bit quantisation noise, which no listener misses


def stft_distance(real: Clip, made: Clip, window: int) -> float:
    """Spectral convergence plus mean |log(|X| + 1e-5) - log(|Y| + 1e-5)| in nepers, at one window.

    Hann, hop a quarter of the window, spectra scaled so that noise has its own deviation in every bin.
    """
    first, second = (magnitudes(audio, window, window // 4) for audio in pair(real, made))
    logs = ((first + OFFSET).log() - (second + OFFSET).log()).abs().mean().item()
    return relative_error(first, second) + logs


def stft_distances(real: Clip, made: Clip, windows: Sequence[int] = WINDOWS) -> dict[int, float]:
    """`stft_distance` at every window. Their mean is the multi-resolution distance."""
    return {window: stft_distance(real, made, window) for window in windows}


class MultiResolution(Metric):
    """At each window and their mean, over the clips; `made` are reconstructions of `real`."""

    def __init__(self, windows: Sequence[int] = WINDOWS) -> None:
        self.windows = tuple(windows)

    def __call__(self, real: Sequence[Tensor], made: Sequence[Tensor], sample_rate: int) -> list[Figure]:
        clips = [stft_distances(r, m, self.windows) for r, m in pairs(real, made)]
        values: dict[object, float] = {w: mean([clip[w] for clip in clips]) for w in self.windows}
        values = {f"{self.windows[0]}-{self.windows[-1]}": mean(list(values.values())), **values}
        return [Figure(f"STFT {name}", value, "neper + ratio", "lower") for name, value in values.items()]
