"""Precision, recall, density, coverage: is what was made like the real, and is all of the real made?"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from orchestrion.evaluation.bootstrap import interval
from orchestrion.evaluation.points import Points, squared_distances
from orchestrion.evaluation.scoreboard import Measured

NEIGHBOURS = 5
NAMES = ("precision", "recall", "density", "coverage")


def radii(points: Points, neighbours: int = NEIGHBOURS) -> np.ndarray:
    """Squared distance of each point to its k-th nearest of another group `[p]`."""
    distances = squared_distances(points.values, points.values)
    distances[points.groups[:, None] == points.groups[None]] = np.inf
    k = min(neighbours, len(points) - 1)
    return np.partition(distances, k - 1, axis=1)[:, k - 1]


@dataclass(frozen=True)
class Manifold:
    """Who lies in whose ball `[p q]`: real balls around the reference's points, made ones around the others.

    Precision and recall: Kynkäänniemi et al. 2019; density and coverage: Naeem et al. 2020.
    """

    in_real: np.ndarray
    in_made: np.ndarray
    neighbours: int

    @classmethod
    def of(cls, reference: Points, made: Points, neighbours: int = NEIGHBOURS) -> "Manifold":
        across = squared_distances(reference.values, made.values)
        return cls(across <= radii(reference, neighbours)[:, None], across <= radii(made, neighbours)[None], neighbours)

    def precision(self, first: np.ndarray, second: np.ndarray) -> float:
        """Share of made points in some real ball."""
        return _share(self.in_real[first > 0].any(0), second)

    def recall(self, first: np.ndarray, second: np.ndarray) -> float:
        """Share of real points in some made ball."""
        return _share(self.in_made[:, second > 0].any(1), first)

    def density(self, first: np.ndarray, second: np.ndarray) -> float:
        """In how many real balls a made point lies, over k: about 1 for real music, more where it is dense."""
        balls = first @ self.in_real * len(first) / first.sum()
        return float(balls @ second / second.sum() / self.neighbours)

    def coverage(self, first: np.ndarray, second: np.ndarray) -> float:
        """Share of real balls with a made point in them."""
        return _share(self.in_real[:, second > 0].any(1), first)


def _share(hits: Any, weights: np.ndarray) -> float:
    return float(hits @ weights / weights.sum())


def measure_manifold(reference: Points, made: Points, names: tuple[str, ...] = NAMES) -> list[Measured]:
    """The four figures, under `names`. Empty where either side has too few points for k neighbours."""
    if min(len(reference), len(made)) <= NEIGHBOURS or min(reference.pieces, made.pieces) < 2:
        return []
    manifold = Manifold.of(reference, made)
    ones = np.ones(len(reference)), np.ones(len(made))
    figures = []
    for name, statistic in zip(names, (manifold.precision, manifold.recall, manifold.density, manifold.coverage)):
        value = statistic(*ones)
        low, high = interval(value, statistic, reference, made, lowest=0.0)
        ceiling = None if statistic == manifold.density or high is None else min(1.0, high)
        figures.append(Measured(name, value, low, high if ceiling is None else ceiling))
    return figures
