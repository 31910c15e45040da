"""Embedded clips as points, and the frame in which they are compared."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

FLAT = 0.1  # a dimension that hardly varies counts by this share of the mean deviation at least


@dataclass(frozen=True)
class Points:
    """values `[p e]` float64; clips `[p]`: which clip a point belongs to; groups `[p]`: which piece.

    Clips of one piece resemble each other, so pieces, not clips, are what chance draws: intervals draw whole
    groups again, and pairs within a group are left out where pairs are compared. A made clip is a group of
    its own.
    """

    values: np.ndarray
    clips: np.ndarray
    groups: np.ndarray

    @classmethod
    def of(cls, embedded: Sequence[np.ndarray], groups: Sequence[int] | None = None) -> "Points":
        """embedded: `[w e]` for each clip; groups: the piece of each clip, by default itself."""
        clips = np.repeat(np.arange(len(embedded)), [len(each) for each in embedded])
        values = np.concatenate([np.asarray(each, dtype=np.float64) for each in embedded])
        return cls(values, clips, clips if groups is None else np.asarray(groups)[clips])

    def __len__(self) -> int:
        return len(self.values)

    @property
    def count(self) -> int:
        """Clips."""
        return len(np.unique(self.clips))

    @property
    def pieces(self) -> int:
        return len(np.unique(self.groups))


@dataclass(frozen=True)
class Frame:
    """An affine map `(x - centre) @ axes`, fitted on reference points."""

    centre: np.ndarray  # [e]
    axes: np.ndarray  # [e k]

    def __call__(self, points: Points) -> Points:
        return replace(points, values=(points.values - self.centre) @ self.axes)


def standard_frame(reference: Points) -> Frame:
    """Every dimension in deviations of the reference."""
    deviation = reference.values.std(0)
    deviation = np.maximum(deviation, FLAT * deviation.mean())
    return Frame(reference.values.mean(0), np.diag(1 / np.where(deviation > 0, deviation, 1.0)))


def principal_frame(reference: Points, dimensions: int) -> Frame:
    """The directions in which the reference varies most, unscaled (no whitening)."""
    centre = reference.values.mean(0)
    _, _, rows = np.linalg.svd(reference.values - centre, full_matrices=False)
    return Frame(centre, rows[:dimensions].T)


def squared_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """`[n e]`, `[m e]` -> |x - y|² `[n m]`, never below 0."""
    products = first @ second.T
    squares = np.square(first).sum(1)[:, None] + np.square(second).sum(1)[None]
    return np.maximum(squares - 2 * products, 0.0)
