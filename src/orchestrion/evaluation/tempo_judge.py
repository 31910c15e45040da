"""How fast is it? A judge that learns from real renders which of the periods that repeat is the beat."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from orchestrion.errors import UserError
from orchestrion.evaluation.onsets import FRAME_RATE, onset_strength, peaks
from orchestrion.evaluation.pulse import autocorrelation
from orchestrion.evaluation.signals import Clip, mono

SLOWEST, FASTEST, AN_OCTAVE = 50.0, 220.0, 36  # candidates: beats a minute, and how many to an octave
BEATS = (1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4, 1, 3 / 2, 2, 3, 4, 6, 8)  # lags at which a candidate is listened for
LONGEST = 5.0  # seconds of lag
BLUR = 0.03  # octaves by which a true tempo may be missed
FEWEST = 4  # onsets, below which there is no beat


class TempoJudge:
    """Beats a minute of a clip. Each candidate is described by how well the onsets repeat after a quarter of its beat,
    a third, … eight beats, and by how usual it is; a small network weighs that, and the candidates share one softmax.

    Bars, beats and halves all repeat, and no fixed rule (`pulse.beat_of`) says well which of them is the beat. How
    *much* is played is not shown to the judge, so that many notes aren't taken for a fast beat.
    """

    def __init__(self, hidden: int = 8, decay: float = 0.1, steps: int = 150, seed: int = 0) -> None:
        self.hidden, self.decay, self.steps, self.seed = hidden, decay, steps, seed
        count = math.ceil(AN_OCTAVE * math.log2(FASTEST / SLOWEST))
        self.octaves = math.log2(SLOWEST) + torch.arange(count) / AN_OCTAVE  # log2 of beats a minute

    def features(self, clip: Clip, sample_rate: int) -> Tensor | None:
        """Clip `[c t]` -> `[candidates k]`; None where too little is struck for a beat."""
        return self.repetitions(onset_strength(mono(clip), sample_rate))

    def repetitions(self, strength: Tensor) -> Tensor | None:
        """The same, from an onset strength `[n]`."""
        if len(peaks(strength)) < FEWEST:
            return None
        line = autocorrelation(strength, min(round(LONGEST * FRAME_RATE), len(strength) // 2))
        line = nn.functional.max_pool1d(line[None, None].float(), 3, stride=1, padding=1)[0, 0]
        lag = FRAME_RATE * 60 / self.octaves.exp2()[:, None] * torch.tensor(BEATS)
        heard = lag < len(line) - 2
        before = lag.floor().long().clamp(0, len(line) - 2)
        repeats = torch.lerp(line[before], line[before + 1], lag - before) * heard
        usual = (self.octaves - math.log2(95))[:, None] ** torch.arange(1, 4)
        return torch.cat([repeats, heard[:, -2:].float(), usual], 1)

    def learn(self, features: Sequence[Tensor], tempos: Sequence[float]) -> "TempoJudge":
        """tempos: beats a minute, as a listener would tap them."""
        if len(features) < 2:
            raise UserError("a judge of tempo needs clips to learn from; the corpus has fewer than two with a beat")
        rows = torch.stack(list(features))
        self.mean, self.deviation = rows.flatten(0, 1).mean(0), rows.flatten(0, 1).std(0) + 1e-6
        away = (self.octaves - torch.tensor(tempos).log2()[:, None]) / BLUR
        target = torch.softmax(-0.5 * away.square(), 1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.net = nn.Sequential(nn.Linear(rows.shape[-1], self.hidden), nn.Tanh(), nn.Linear(self.hidden, 1))
        optimiser = torch.optim.AdamW(self.net.parameters(), lr=0.02, weight_decay=self.decay)
        for _ in range(self.steps):
            optimiser.zero_grad()
            nn.functional.cross_entropy(self._scores(rows), target).backward()
            optimiser.step()
        return self

    @torch.no_grad()
    def tempo(self, features: Tensor | None) -> float:
        """The expected tempo, the candidates' mean in logarithms by their probabilities; nan where there is no beat."""
        if features is None:
            return math.nan
        return float(2 ** (self._scores(features).softmax(-1) @ self.octaves))

    @torch.no_grad()
    def beat(self, features: Tensor | None) -> float:
        """The likeliest candidate instead: right to a few percent or wrong by an octave."""
        return math.nan if features is None else float(2 ** self.octaves[self._scores(features).argmax()])

    def __call__(self, clip: Clip, sample_rate: int) -> float:
        return self.tempo(self.features(clip, sample_rate))

    def _scores(self, features: Tensor) -> Tensor:
        return self.net((features - self.mean) / self.deviation)[..., 0]
