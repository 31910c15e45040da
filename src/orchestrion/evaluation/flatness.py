"""Spectral flatness: 0 for a few pure partials, 1 for white noise."""

from collections.abc import Sequence
from statistics import median

from torch import Tensor

from orchestrion.contracts import Figure, Metric
from orchestrion.evaluation.signals import TINY, Clip, magnitudes, mono

WINDOW, HOP = 2048, 512
LEVEL = 0.05  # root mean square that every clip is brought to, so that soft ones are not called noisy
FLOOR = 1e-5  # 16-bit quantisation noise: a file of 16 bits and one of 24 measure alike
AUDIBLE_DB = 60.0


def flatness(clip: Clip) -> float:
    """Median over frames of geometric mean / arithmetic mean of STFT magnitudes (not powers).

    Hann 2048, hop 512, every bin up to half the rate, the clip scaled to -26 dBFS. Frames 60 dB or more
    under the loudest are silence and don't count; a clip of nothing else has flatness 1.
    """
    audio = mono(clip)
    level = audio.square().mean().sqrt()
    if level < TINY:
        return 1.0
    spectrum = magnitudes(audio * (LEVEL / level), WINDOW, HOP)
    energy = spectrum.square().sum(0)
    spectrum = spectrum[:, energy > energy.max() * 10 ** (-AUDIBLE_DB / 10)] + FLOOR
    return (spectrum.log().mean(0).exp() / spectrum.mean(0)).median().item()


class Flatness(Metric):
    """Median over the made clips; nearer to the real clips' own figure is better."""

    def __call__(self, real: Sequence[Tensor], made: Sequence[Tensor], sample_rate: int) -> list[Figure]:
        return [Figure("spectral flatness", median(flatness(m) for m in made), "ratio", "nearer")]
