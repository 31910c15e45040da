"""Whether what was played a bar ago comes back."""

from collections.abc import Sequence

from torch import Tensor

from orchestrion.contracts import Figure, Metric
from orchestrion.evaluation.chroma import HOP, chroma
from orchestrion.evaluation.signals import TINY, Clip, mean, mono

SHORTEST, LONGEST = 1.2, 4.0  # seconds: a bar of four beats at 200 to 60 a minute


def bar_similarity(clip: Clip, sample_rate: int) -> float:
    """Mean cosine of the chroma now and a bar ago, at the lag from 1.2 to 4 s where it is highest.

    Chroma frames are compressed by a square root and freed of the clip's mean chroma, so that staying in
    one key is not yet repetition: 1 for a loop, near 0 for what never returns or never changes.
    """
    return bar_similarity_of(chroma(mono(clip), sample_rate), sample_rate)


def bar_similarity_of(energy: Tensor, sample_rate: int) -> float:
    """The same, from a chroma `[12 n]` that is known already."""
    frames = energy.sqrt()
    frames = frames - frames.mean(1, keepdim=True)
    second = sample_rate / HOP
    lags = range(round(SHORTEST * second), min(round(LONGEST * second), frames.shape[1] // 2) + 1)
    return max((_similarity(frames, lag) for lag in lags), default=0.0)


def _similarity(frames: Tensor, lag: int) -> float:
    """Correlation of `[12 n]` with itself `lag` frames later, loud frames counting more."""
    now, then = frames[:, lag:], frames[:, :-lag]
    scale = (now.square().sum() * then.square().sum()).sqrt()
    return ((now * then).sum() / scale).item() if scale > TINY else 0.0


class BarSimilarity(Metric):
    """Mean over the made clips; nearer to the real clips' own figure is better."""

    def __call__(self, real: Sequence[Tensor], made: Sequence[Tensor], sample_rate: int) -> list[Figure]:
        values = [bar_similarity(m, sample_rate) for m in made]
        return [Figure("bar similarity", mean(values), "ratio", "nearer")]
