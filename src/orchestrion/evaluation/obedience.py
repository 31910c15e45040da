"""Obedience: of two clips from one seed, asked for opposite things, is each what it was asked to be?

Beside `adherence`, which compares numbers of a corpus, this takes words alone, as people give them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from orchestrion.corpus.captions import wordings_of
from orchestrion.errors import UserError
from orchestrion.evaluation.adherence import brightness, heard_tempo, level
from orchestrion.evaluation.embeddings.log_mel import SAMPLE_RATE, LogMelStatistics
from orchestrion.evaluation.onsets import onset_rate
from orchestrion.evaluation.signals import Clip, mono

CONTEXTS = ("", "in a major key", "in a minor key", "chords", "long notes", "pop")


@dataclass(frozen=True)
class Contrast:
    """more, less: wordings that ask for opposite ends of one thing; heard: what there must be more of, in a clip.
    attribute: the corpus's number that such words are made of (`corpus.captions.WORDS`)."""

    name: str
    attribute: str
    more: tuple[str, ...]
    less: tuple[str, ...]
    heard: Callable[[Clip, int], float]

    def side(self, attributes: Mapping[str, float]) -> int:
        """1 where a caption of a clip with these attributes may say more, -1 where less, 0 where neither."""
        words = wordings_of(self.attribute, attributes[self.attribute]) if self.attribute in attributes else []
        return int(any(word in self.more for word in words)) - int(any(word in self.less for word in words))


CONTRASTS = (
    Contrast("density", "density", ("busy", "very busy", "many notes"), ("sparse", "few notes", "unhurried"),
             onset_rate),
    Contrast("tempo", "tempo", ("fast", "very fast", "quick"), ("slow", "very slow", "slow tempo"), heard_tempo),
    Contrast("register", "pitch", ("high register", "high notes"), ("low register", "low notes"),
             brightness),
    Contrast("loudness", "velocity", ("loud", "very loud"), ("soft", "very soft"), level),
)


@dataclass(frozen=True)
class Pair:
    """Two prompts that differ in the contrast's words alone, for one seed."""

    more: str
    less: str
    seed: int


def pairs(contrast: Contrast, instruments: Sequence[str], count: int) -> list[Pair]:
    """`count` pairs that go through instruments, wordings and contexts in turn; nothing is left to choose."""
    if not instruments:
        raise UserError("obedience needs at least one instrument to ask for")
    made = []
    for i in range(count):
        turn = i // len(instruments)

        def worded(words: tuple[str, ...], turn: int = turn, i: int = i) -> str:
            phrase = f"{words[(i + turn) % len(words)]} {instruments[i % len(instruments)]}"
            return ", ".join(filter(None, (phrase, CONTEXTS[turn % len(CONTEXTS)])))

        made.append(Pair(worded(contrast.more), worded(contrast.less), seed=i))
    return made


def obeyed(contrast: Contrast, more: Clip, less: Clip, sample_rate: int) -> bool:
    """Whether the clip that was asked for more has more. Where nothing is heard (no pulse), it has not."""
    return bool(contrast.heard(more, sample_rate) > contrast.heard(less, sample_rate))


def told_apart(clips: Sequence[tuple[str, int, float]]) -> tuple[int, int]:
    """(instrument, side, what is heard) of real clips -> of all pairs of one instrument that differ so, in how many the
    one with more has more, and how many there are: what a model that plays like the corpus would reach."""
    met = count = 0
    for instrument in {name for name, _, _ in clips}:
        more, less = ([heard for name, s, heard in clips if name == instrument and s == side] for side in (1, -1))
        met += sum(a > b for a in more for b in less)
        count += len(more) * len(less)
    return met, count


def interval(met: int, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    if count == 0:
        return 0.0, 1.0
    z, share = 1.96, met / count
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return float(centre - half), float(centre + half)


class TimbreJudge:
    """Names the instrument of a clip: ridge regression from log-mel statistics to one-hot names, learned from real
    clips. The level is taken out, so that loudness names nothing."""

    def __init__(self, ridge: float = 10.0) -> None:
        self.look, self.ridge = LogMelStatistics(), ridge

    def features(self, clip: Clip, sample_rate: int) -> np.ndarray:
        from orchestrion.audio import Audio

        sound = mono(clip).float()
        sound = 0.05 * sound / sound.square().mean().sqrt().clamp_min(1e-6)
        return self.look(Audio(sound, sample_rate).resample(SAMPLE_RATE).samples[0])[0]

    def learn(self, features: Sequence[np.ndarray], names: Sequence[str]) -> "TimbreJudge":
        self.names = sorted(set(names))
        if len(self.names) < 2:
            raise UserError("a timbre judge needs clips of two instruments or more")
        rows = np.stack(features)
        self.mean, self.deviation = rows.mean(0), rows.std(0) + 1e-6
        x = self._standard(rows)
        y = np.array([[name == each for each in self.names] for name in names], dtype=float)
        y = y / y.sum(0)  # each instrument weighs the same, however many clips it has
        weights = np.array([1 / list(names).count(name) for name in names])
        gram = (x * weights[:, None]).T @ x + self.ridge * len(self.names) / len(x) * np.eye(x.shape[1])
        self.weights = np.linalg.solve(gram, x.T @ y)
        return self

    def name(self, features: np.ndarray) -> str:
        return self.names[int((self._standard(features[None]) @ self.weights).argmax())]

    def _standard(self, rows: np.ndarray) -> np.ndarray:
        return np.concatenate([(rows - self.mean) / self.deviation, np.ones((len(rows), 1))], 1)
