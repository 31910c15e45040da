"""How clearly a beat is heard."""

from collections.abc import Sequence

import torch
from torch import Tensor

from orchestrion.contracts import Figure, Metric
from orchestrion.evaluation.onsets import FRAME_RATE, onset_strength, peaks
from orchestrion.evaluation.signals import TINY, Clip, mean, mono

SHORTEST, LONGEST = 0.25, 2.0  # seconds: 240 to 30 beats a minute
USUAL, TASTE = 60 / 95, 0.9  # seconds, octaves: where people tap, and how far they stray


def autocorrelation(series: Tensor, lags: int) -> Tensor:
    """Series `[n]`, mean removed -> correlation with itself `lags` later and fewer `[lags + 1]`, 1 at lag 0.

    Every lag is divided by the energy of the two stretches that it compares, so that a repetition gives 1
    however long the lag.
    """
    series = series - series.mean()
    size = 2 * len(series)
    products = torch.fft.irfft(torch.fft.rfft(series, size).abs().square(), size)[: lags + 1]
    energy = torch.nn.functional.pad(series.square().cumsum(0), (1, 0))
    lag = torch.arange(lags + 1)
    first, last = energy[len(series) - lag], energy[-1] - energy[lag]
    scale = (first * last).clamp_min(0).sqrt()
    return torch.where(scale > TINY, products / scale.clamp_min(TINY), torch.zeros_like(scale))


def pulse(clip: Clip, sample_rate: int) -> tuple[float, float]:
    """(clarity, period in seconds): the highest peak of the onset strength's autocorrelation at 0.25 to 2 s.

    1 for a machine's beat, near 0 where attacks come anyhow; 0 where there is no peak at all.
    """
    return pulse_of(onset_strength(mono(clip), sample_rate))


def pulse_of(strength: Tensor) -> tuple[float, float]:
    """The same, from an onset strength `[n]` that is known already."""
    line, at_peak = _repetitions(strength)
    if not at_peak.any():
        return 0.0, 0.0
    place = int(torch.where(at_peak, line, -1.0).argmax())
    return max(0.0, line[place].item()), place / FRAME_RATE


def beat_of(strength: Tensor) -> float:
    """An onset strength `[n]` -> the period that a listener would tap, in seconds; 0 without a pulse.

    Bars, beats and their parts all repeat, and the highest peak is often not the beat's. So peaks count by how readily
    people tap at their pace: most at 95 a minute, exp(-1/2) as much 0.9 octaves away (the form is Ellis's, Beat
    Tracking by Dynamic Programming, 2007; the figures were chosen on renders of training pieces, docs/text.md).
    """
    line, at_peak = _repetitions(strength)
    if len(peaks(strength)) < 4 or not at_peak.any():
        return 0.0
    octaves = torch.log2(torch.arange(len(line)).clamp_min(1) / FRAME_RATE / USUAL)
    weighed = line.clamp_min(0) * torch.exp(-0.5 * (octaves / TASTE).square())
    return int(torch.where(at_peak, weighed, -1.0).argmax()) / FRAME_RATE


def _repetitions(strength: Tensor) -> tuple[Tensor, Tensor]:
    """Onset strength -> its autocorrelation by lag, and where that has a peak at 0.25 to 2 s."""
    lags = min(round(LONGEST * FRAME_RATE) + 1, len(strength) // 2)
    line = autocorrelation(strength, lags)
    at_peak = torch.zeros(len(line), dtype=torch.bool)
    at_peak[1:-1] = (line[1:-1] > line[:-2]) & (line[1:-1] >= line[2:])
    return line, at_peak & (torch.arange(len(line)) >= SHORTEST * FRAME_RATE)


class PulseClarity(Metric):
    """Mean over the made clips; nearer to the real clips' own figure is better."""

    def __call__(self, real: Sequence[Tensor], made: Sequence[Tensor], sample_rate: int) -> list[Figure]:
        return [Figure("pulse clarity", mean([pulse(m, sample_rate)[0] for m in made]), "ratio", "nearer")]
