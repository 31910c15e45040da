"""From times in pairs to ratios with an interval."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Ratio:
    """How many times as fast ours is: the median over pairs, and a 95 % bootstrap interval of that median."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f} … {self.high:.2f}]"


def ratio(theirs: Sequence[float], ours: Sequence[float], draws: int = 2000) -> Ratio:
    """Times of the same rounds, in order."""
    pairs = [first / second for first, second in zip(theirs, ours, strict=True)]
    rng = random.Random(0)
    medians = sorted(median(rng.choices(pairs, k=len(pairs))) for _ in range(draws))
    return Ratio(median(pairs), medians[round(0.025 * (draws - 1))], medians[round(0.975 * (draws - 1))])
