"""How unlike each other the made clips are, as a share of how unlike each other real ones are."""

import numpy as np

from orchestrion.evaluation.bootstrap import interval
from orchestrion.evaluation.points import Points, squared_distances
from orchestrion.evaluation.scoreboard import Measured


class Diversity:
    """Mean distance between made clips over that between real clips of different pieces: 0 where a model makes
    the same clip over and over, 1 where it is as varied as the music."""

    def __init__(self, reference: Points, made: Points) -> None:
        self.sides = [_apart(reference), _apart(made)]

    def __call__(self, first: np.ndarray, second: np.ndarray) -> float:
        real, made = (w @ distances @ w / max(w @ pairs @ w, 1.0)
                      for (distances, pairs), w in zip(self.sides, (first, second)))
        return float(made / max(real, 1e-12))


def _apart(points: Points) -> tuple[np.ndarray, np.ndarray]:
    """Distances `[p p]` between points of different groups, 0 elsewhere, and which pairs those are."""
    pairs = (points.groups[:, None] != points.groups[None]).astype(np.float64)
    return np.sqrt(squared_distances(points.values, points.values)) * pairs, pairs


def diversity(reference: Points, made: Points) -> float:
    return Diversity(reference, made)(np.ones(len(reference)), np.ones(len(made)))


def measure_diversity(reference: Points, made: Points, name: str) -> list[Measured]:
    statistic = Diversity(reference, made)
    value = statistic(np.ones(len(reference)), np.ones(len(made)))
    return [Measured(name, value, *interval(value, statistic, reference, made, lowest=0.0))]
