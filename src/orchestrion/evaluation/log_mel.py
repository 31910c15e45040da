"""How far a reconstruction's mel spectrum lies from the original's."""

from collections.abc import Sequence

import torch
from torch import Tensor

from orchestrion.audio.spectra import mel_filterbank
from orchestrion.contracts import Figure, Metric
from orchestrion.evaluation.signals import Clip, mean, pair, pairs

WINDOW, HOP, BANDS = 2048, 512, 128
FLOOR = 1e-4


def log_mel(audio: Tensor, sample_rate: int) -> Tensor:
    """audio `[t]` float64 -> natural log of mel magnitudes `[128 n]`.

    |STFT| unscaled (periodic Hann 2048, hop 512, silence outside the clip), Slaney's mel scale from 0 Hz
    to half the rate with triangles of equal area, floored at 1e-4. White noise has about its own root
    mean square in every band, so the floor lies near -79 dBFS: below what is heard beside a piano.
    """
    shape = torch.hann_window(WINDOW, dtype=audio.dtype)
    spectrum = torch.stft(audio, WINDOW, HOP, window=shape, center=True, pad_mode="constant",
                          return_complex=True).abs()
    filters = mel_filterbank(sample_rate, WINDOW, BANDS).to(audio.dtype)
    return (filters @ spectrum).clamp_min(FLOOR).log()


def log_mel_l1(real: Clip, made: Clip, sample_rate: int) -> float:
    """Mean absolute difference of the two log-mel spectra, in nepers (1 neper is 8.7 dB)."""
    first, second = pair(real, made)
    return (log_mel(first, sample_rate) - log_mel(second, sample_rate)).abs().mean().item()


class LogMelL1(Metric):
    """Mean over the clips; `made` are reconstructions of `real`."""

    def __call__(self, real: Sequence[Tensor], made: Sequence[Tensor], sample_rate: int) -> list[Figure]:
        values = [log_mel_l1(r, m, sample_rate) for r, m in pairs(real, made)]
        return [Figure("log-mel L1", mean(values), "neper", "lower")]
