"""The tempo of beats: what corpora, captions and conditioners must all mean by it. Imports nothing heavy."""

import statistics
from collections.abc import Sequence
from itertools import pairwise


def tempo_of(beats: Sequence[float]) -> float | None:
    """Beats a minute, by the median of the gaps between beats in seconds; None of fewer than two."""
    gaps = [after - before for before, after in pairwise(beats) if after > before]
    return 60 / statistics.median(gaps) if gaps else None
