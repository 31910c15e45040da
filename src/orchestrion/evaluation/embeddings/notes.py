"""What is played: statistics of pitch (constant Q), of harmony (chroma) and of rhythm (onsets)."""

from functools import cached_property

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from orchestrion.audio.spectra import ConstantQ
from orchestrion.evaluation.embeddings.embedding import Embedding, EmbeddingInfo
from orchestrion.evaluation.onsets import FRAME_RATE, onset_strength, peaks
from orchestrion.evaluation.points import Frame, Points
from orchestrion.evaluation.pulse import autocorrelation
from orchestrion.evaluation.signals import TINY

SAMPLE_RATE, HOP = 22_050, 512
LOWEST, OCTAVES, PER_SEMITONE = 27.5, 8, 3
FLOOR_DB = 60.0
APART = (0.1, 0.25, 0.5, 1.0, 2.0)  # seconds between the chords that are compared
LAGS = tuple(np.geomspace(0.1, 2.0, 24))  # seconds


class NoteStatistics(Embedding):
    """`[1 e]`: mean and deviation of 96 semitones' log level; how chords are built and how fast they change;
    onset strength, rate, and its autocorrelation. None depends on the clip's level.

    The three parts weigh alike, whatever their numbers of dimensions.
    """

    info = EmbeddingInfo("notes", "1", SAMPLE_RATE, True, "what is played: pitches, chords, rhythm")

    def __init__(self) -> None:
        self.transform = ConstantQ(SAMPLE_RATE, HOP, LOWEST, LOWEST * 2**OCTAVES * 0.99, 12 * PER_SEMITONE)

    def __call__(self, audio: Tensor) -> np.ndarray:
        return torch.cat(self._parts(audio))[None].double().numpy()

    def frame(self, reference: Points) -> Frame:
        plain = super().frame(reference)
        return Frame(plain.centre, plain.axes * self._weights)

    @cached_property
    def _weights(self) -> np.ndarray:
        """`[e]`: one over the root of the dimensions in a part."""
        sizes = [len(part) for part in self._parts(torch.zeros(SAMPLE_RATE))]
        return np.concatenate([np.full(size, size**-0.5) for size in sizes])

    def _parts(self, audio: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        magnitude = self.transform(audio).double()
        semitones = rearrange(magnitude[: 12 * PER_SEMITONE * OCTAVES], "(s k) n -> s k n", k=PER_SEMITONE)
        energy = semitones.square().sum(1)
        return self._pitch(energy), self._harmony(energy), self._rhythm(audio)

    def _pitch(self, energy: Tensor) -> Tensor:
        floor = energy.max().clamp_min(TINY) * 10 ** (-FLOOR_DB / 10)
        levels = energy.clamp_min(floor.item()).log() / 2
        levels = levels - levels.max()
        return torch.cat([levels.mean(1), levels.std(1, correction=0)])

    def _harmony(self, energy: Tensor) -> Tensor:
        chroma = rearrange(energy, "(o s) n -> o s n", s=12).sum(0)
        total = chroma.sum(0)
        heard = chroma[:, total > total.max() * 10 ** (-FLOOR_DB / 10)] if total.max() > TINY else chroma[:, :0]
        share = heard / heard.sum(0).clamp_min(TINY)
        unit = share / share.norm(dim=0).clamp_min(TINY)
        intervals = [_mean((share * share.roll(step, 0)).sum(0)) for step in range(7)]
        entropy = -(share * share.clamp_min(TINY).log2()).sum(0)
        lags = [round(seconds * SAMPLE_RATE / HOP) for seconds in APART]
        changes = [_mean(1 - (unit[:, lag:] * unit[:, : unit.shape[1] - lag]).sum(0)) if lag < unit.shape[1]
                   else share.new_zeros(()) for lag in lags]
        return torch.stack([*intervals, _mean(entropy), *changes])

    def _rhythm(self, audio: Tensor) -> Tensor:
        strength = onset_strength(audio, SAMPLE_RATE).double()
        lags = [min(round(lag * FRAME_RATE), len(strength) // 2) for lag in LAGS]
        repeats = autocorrelation(strength, max(lags))[lags]
        rate = len(peaks(strength)) / (len(audio) / SAMPLE_RATE)
        plain = [strength.mean(), strength.std(correction=0), strength.quantile(0.95), strength.new_tensor(rate)]
        return torch.cat([torch.stack(plain), repeats])


def _mean(values: Tensor) -> Tensor:
    return values.mean() if len(values) else values.new_zeros(())
