"""Kernel distance (KAD): the unbiased squared maximum mean discrepancy. Sound with few clips, where FAD isn't."""

import numpy as np

from orchestrion.evaluation.bootstrap import interval
from orchestrion.evaluation.points import Points, squared_distances
from orchestrion.evaluation.scoreboard import Measured

SCALE = 100.0  # KAD's own unit (Chung et al. 2025)


def bandwidth(reference: Points) -> float:
    """The median distance between points of different groups of the reference."""
    apart = reference.groups[:, None] != reference.groups[None]
    return float(np.sqrt(np.median(squared_distances(reference.values, reference.values)[apart])))


class KernelDistance:
    """E k(x, x') + E k(y, y') - 2 E k(x, y) with k(x, y) = exp(-|x - y|² / 2b²), times 100.

    Unbiased: pairs of a point with itself, and of points of one group, are left out of the first two means
    (Gretton et al. 2012, eq. 3), so a model that is as good as real can come out below 0.
    """

    def __init__(self, reference: Points, made: Points, width: float | None = None) -> None:
        width = bandwidth(reference) if width is None else width
        self.within = [_kernel(points, points, width) * (points.groups[:, None] != points.groups[None])
                       for points in (reference, made)]
        self.apart = [(points.groups[:, None] != points.groups[None]).astype(np.float64)
                      for points in (reference, made)]
        self.across = _kernel(reference, made, width)

    def __call__(self, first: np.ndarray, second: np.ndarray) -> float:
        """Weights of the reference's points `[p]` and of the made ones `[q]`."""
        means = [w @ kernel @ w / max(w @ pairs @ w, 1.0)
                 for kernel, pairs, w in zip(self.within, self.apart, (first, second))]
        cross = first @ self.across @ second / (first.sum() * second.sum())
        return float(SCALE * (sum(means) - 2 * cross))


def _kernel(first: Points, second: Points, width: float) -> np.ndarray:
    return np.exp(-squared_distances(first.values, second.values) / (2 * max(width, 1e-12) ** 2))


def kernel_distance(reference: Points, made: Points, width: float | None = None) -> float:
    """KAD of two clouds of points."""
    return KernelDistance(reference, made, width)(np.ones(len(reference)), np.ones(len(made)))


def measure_kernel(reference: Points, made: Points, name: str) -> list[Measured]:
    statistic = KernelDistance(reference, made)
    value = statistic(np.ones(len(reference)), np.ones(len(made)))
    return [Measured(name, value, *interval(value, statistic, reference, made))]
