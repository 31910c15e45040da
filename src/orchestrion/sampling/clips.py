"""Chance, clip by clip."""

from collections.abc import Sequence

import torch
from torch import Tensor


def clip_generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """One CPU random generator per clip, so that a clip doesn't depend on its batch or device."""
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def clip_noise(generators: Sequence[torch.Generator], *shape: int) -> Tensor:
    """Normal noise `[b *shape]`, each clip from its own generator."""
    return torch.stack([torch.randn(*shape, generator=g) for g in generators])
