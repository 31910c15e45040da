"""When notes begin, heard in the audio alone: spectral flux, its peaks, and how many there are a second."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from orchestrion.audio.spectra import mel_filterbank
from orchestrion.contracts import Figure, Metric
from orchestrion.evaluation.signals import TINY, Clip, magnitudes, mean, mono

FRAME_RATE = 100.0  # frames a second
WINDOW = 2048
BANDS = 96
RANGE_DB = 50.0  # under the clip's loudest bands: what is softer compresses towards nothing
APART = 0.05  # seconds: attacks closer than this are one onset (a chord)
THRESHOLD = 0.04  # neper of mean rise above its surroundings, tuned on rendered MIDI


def onset_strength(audio: Tensor, sample_rate: int) -> Tensor:
    """audio `[t]` -> how much rises at each hundredth of a second `[n]`, in nepers averaged over bands.

    Log-compressed mel magnitudes against the largest of three neighbouring bands 30 ms earlier, rises
    alone (spectral flux with a maximum filter against vibrato: Boeck & Widmer 2013). Frames that reach
    beyond the clip count as 0, since cutting a clip out is heard as an attack.
    """
    hop = round(sample_rate / FRAME_RATE)
    filters = mel_filterbank(sample_rate, WINDOW, BANDS, 30.0, min(16_000.0, sample_rate / 2), "htk")
    spectrum = filters.to(audio.dtype) @ magnitudes(audio, WINDOW, hop)
    loud = spectrum.flatten().quantile(0.99) if spectrum.numel() < 2**24 else spectrum.max() / 10
    compressed = torch.log1p(spectrum / loud.clamp_min(TINY) * 10 ** (RANGE_DB / 20))
    before = nn.functional.max_pool1d(compressed.T, 3, stride=1, padding=1).T
    lag, edge = round(0.03 * FRAME_RATE), WINDOW // 2 // hop + 1
    count = compressed.shape[1]
    strength = compressed.new_zeros(count)
    if count > lag + 2 * edge:
        rise = (compressed[:, lag:] - before[:, :-lag]).clamp_min(0).mean(0)
        strength[lag + edge : count - edge] = rise[edge : len(rise) - edge]
    return strength


def peaks(strength: Tensor, threshold: float = THRESHOLD) -> Tensor:
    """Strength `[n]` -> frames `[m]` that are the largest within 50 ms and `threshold` above the mean of
    the quarter second around them."""
    near, wide = round(APART * FRAME_RATE), round(0.125 * FRAME_RATE)
    line = strength[None, None]
    largest = nn.functional.max_pool1d(line, 2 * near + 1, stride=1, padding=near)[0, 0]
    around = nn.functional.avg_pool1d(line, 2 * wide + 1, stride=1, padding=wide,
                                      count_include_pad=False)[0, 0]
    return ((strength == largest) & (strength > around + threshold)).nonzero()[:, 0]


def onset_times(clip: Clip, sample_rate: int) -> Tensor:
    """Clip `[c t]` -> seconds at which notes or chords begin `[m]`."""
    return peaks(onset_strength(mono(clip), sample_rate)) / FRAME_RATE


def onset_rate(clip: Clip, sample_rate: int) -> float:
    """Onsets a second; a chord counts once."""
    audio = mono(clip)
    return len(onset_times(audio, sample_rate)) / (len(audio) / sample_rate)


def match(found: Sequence[float], true: Sequence[float],
          tolerance: float = 0.05) -> tuple[float, float, float]:
    """Precision, recall and F1 of onsets in seconds, both sorted, each matched at most once."""
    i = j = hits = 0
    while i < len(found) and j < len(true):
        difference = found[i] - true[j]
        if abs(difference) <= tolerance:
            hits, i, j = hits + 1, i + 1, j + 1
        elif difference < 0:
            i += 1
        else:
            j += 1
    precision, recall = hits / max(len(found), 1), hits / max(len(true), 1)
    return precision, recall, 2 * hits / max(len(found) + len(true), 1)


class OnsetRate(Metric):
    """Mean over the made clips; nearer to the real clips' own figure is better."""

    def __call__(self, real: Sequence[Tensor], made: Sequence[Tensor], sample_rate: int) -> list[Figure]:
        return [Figure("onset rate", mean([onset_rate(m, sample_rate) for m in made]), "1/s", "nearer")]
