"""How far a figure would move with other clips: bootstrap intervals by pieces."""

from collections.abc import Callable, Sequence

import numpy as np

from orchestrion.evaluation.points import Points

DRAWS = 200
LEVEL = 0.95
FEWEST = 3  # groups on a side, below which there is no interval

Interval = tuple[float | None, float | None]
Statistic = Callable[[np.ndarray, np.ndarray], float]
"""Weights of the reference's points `[p]` and of the made ones `[q]` (how often each was drawn) -> a figure."""


def drawn_weights(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many groups as there are, drawn with replacement -> how often each point was drawn `[p]`."""
    names, places = np.unique(groups, return_inverse=True)
    counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)))
    return counts[places].astype(np.float64)


def interval(value: float, statistic: Statistic, reference: Points, made: Points, draws: int = DRAWS,
             seed: int = 0, lowest: float | None = None) -> Interval:
    """95 % of the draws, shifted so that their mean lies on `value`.

    Drawing again adds the bias of a small sample a second time (Fréchet distances grow by it); the shift takes
    that out and keeps the spread. lowest: what the figure can't fall below. (None, None) where either side
    has too few groups to draw from.
    """
    if min(reference.pieces, made.pieces) < FEWEST:
        return None, None
    rng = np.random.default_rng(seed)
    found = [statistic(drawn_weights(reference.groups, rng), drawn_weights(made.groups, rng)) for _ in range(draws)]
    return _shifted(value, np.array(found), lowest)


def mean_interval(values: Sequence[float], groups: Sequence[int] | None = None, draws: int = DRAWS,
                  seed: int = 0, centre: Callable[[np.ndarray], float] = lambda x: float(np.mean(x))) -> Interval:
    """Of one number a clip: the interval of their mean (or of another `centre`), drawn by groups."""
    table = np.asarray(values, dtype=np.float64)
    names, places = np.unique(np.arange(len(table)) if groups is None else np.asarray(groups), return_inverse=True)
    if len(names) < FEWEST:
        return None, None
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(places == i) for i in range(len(names))]
    found = [centre(table[np.concatenate([members[i] for i in rng.integers(len(names), size=len(names))])])
             for _ in range(draws)]
    return _shifted(centre(table), np.array(found), None)


def _shifted(value: float, found: np.ndarray, lowest: float | None) -> Interval:
    found = found[np.isfinite(found)]
    if len(found) < 2:
        return None, None
    low, high = np.quantile(found - found.mean() + value, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return (float(low) if lowest is None else max(lowest, float(low))), float(high)
