"""Fréchet distance between clouds of points taken as Gaussians (FAD), and its limit for infinite samples."""

import numpy as np

from orchestrion.evaluation.bootstrap import interval
from orchestrion.evaluation.points import Points, principal_frame
from orchestrion.evaluation.scoreboard import Measured

MOST_DIMENSIONS = 64
CLIPS_A_DIMENSION = 4  # the covariance of fewer clips says little
ENOUGH = 200  # clips a side, below which the plain figure is mostly a measure of the sample's size
SIZES, REPEATS = 8, 4  # of the extrapolation


def gaussian_distance(mean: np.ndarray, covariance: np.ndarray, other_mean: np.ndarray,
                      other_covariance: np.ndarray) -> float:
    """|m - m'|² + tr(C + C' - 2 (C C')^½) of two Gaussians (Dowson & Landau 1982), float64.

    (C C')^½ has the trace of (C^½ C' C^½)^½, which is symmetric: no complex root is ever met.
    """
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    shared = np.linalg.eigvalsh(root @ other_covariance @ root)
    trace = np.trace(covariance) + np.trace(other_covariance) - 2 * np.sqrt(np.maximum(shared, 0.0)).sum()
    return float(np.square(mean - other_mean).sum() + trace)


def moments(values: np.ndarray, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Points `[p e]` -> mean `[e]` and unbiased covariance `[e e]`; weights: how often each point counts."""
    weights = np.ones(len(values)) if weights is None else weights
    total = weights.sum()
    mean = weights @ values / total
    centred = values - mean
    return mean, (centred * weights[:, None]).T @ centred / (total - 1)


def frechet(reference: np.ndarray, made: np.ndarray) -> float:
    """Fréchet distance of two clouds `[p e]`, `[q e]` (Kilgour et al. 2019)."""
    return gaussian_distance(*moments(reference), *moments(made))


def frechet_infinite(reference: np.ndarray, made: np.ndarray, seed: int = 0, both: bool = True,
                     sizes: int = SIZES, repeats: int = REPEATS) -> float:
    """The distance at 1/N = 0, on a line fitted to it at sample sizes from a half to all (Chong & Forsyth 2020).

    both: draw the smaller samples of either side together, so that the bias of both goes; otherwise only of
    the made side, as FAD toolkits do. Can fall below 0, as an unbiased estimate of 0 must.
    """
    rng = np.random.default_rng(seed)
    shares = 1 / np.linspace(2.0, 1.0, sizes)
    inverse, found = [], []
    for share in shares:
        count = max(2, round(share * len(made)))
        others = max(2, round(share * len(reference)))
        for _ in range(repeats if share < 1 else 1):
            some = made[rng.permutation(len(made))[:count]]
            against = reference[rng.permutation(len(reference))[:others]] if both else reference
            inverse.append(1 / count)
            found.append(frechet(against, some))
    return float(np.polynomial.polynomial.polyfit(inverse, found, 1)[0])


def measure_frechet(reference: Points, made: Points, names: tuple[str, str]) -> list[Measured]:
    """FAD and FAD∞, under the two `names`, in the reference's main directions: at most 64, and no more than a
    quarter of the clips on the smaller side."""
    clips = min(reference.count, made.count)
    dimensions = max(2, min(MOST_DIMENSIONS, reference.values.shape[1], clips // CLIPS_A_DIMENSION))
    frame = principal_frame(reference, dimensions)
    reference, made = frame(reference), frame(made)

    def plain(first: np.ndarray, second: np.ndarray) -> float:
        return gaussian_distance(*moments(reference.values, first), *moments(made.values, second))

    def infinite(first: np.ndarray, second: np.ndarray) -> float:
        drawn, others = (np.repeat(points.values, weights.astype(int), axis=0)
                         for points, weights in ((made, second), (reference, first)))
        return frechet_infinite(others, drawn, sizes=4, repeats=1)

    value = frechet(reference.values, made.values)
    limit = frechet_infinite(reference.values, made.values)
    warning = None
    if clips < ENOUGH:
        warning = f"{clips} clips a side, {ENOUGH} or more are needed: read FAD∞ or KAD instead"
    return [Measured(names[0], value, *interval(value, plain, reference, made, lowest=0.0), warning),
            Measured(names[1], limit, *interval(limit, infinite, reference, made, draws=60))]
