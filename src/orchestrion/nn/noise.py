"""Noise that follows from latents: the same for the same frames, in any chunk, batch and machine, with no state.

The bits of a frame's latents are hashed and a counter is mixed in by SplitMix64 (Steele et al. 2014).
"""

import math

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # as a signed integer


def uniform_noise(latents: Tensor, count: int) -> Tensor:
    """latents or tokens `[b d n]` -> `[b count n]` in [-1, 1)."""
    return (_bits(hashed(latents), count) & 0xFFFFFF).float() * (2 / 0x1000000) - 1


def normal_noise(latents: Tensor, count: int) -> Tensor:
    """latents or tokens `[b d n]` -> `[b count n]`."""
    return normal(hashed(latents), count)


def hashed(latents: Tensor) -> Tensor:
    """latents or tokens `[b d n]` -> a key for each frame, int64 `[b 1 n]`."""
    bits = latents.detach().float().contiguous().view(torch.int32).long()
    place = torch.arange(1, bits.shape[1] + 1, device=bits.device)[:, None]
    return _mix(bits * _GOLDEN + place).sum(1, keepdim=True)


def normal(key: Tensor, count: int, start: int = 0) -> Tensor:
    """Numbers `start` to `start + count` of each key's `[b 1 n]` -> `[b count n]`, by Box-Muller."""
    bits = _bits(key, count, start)
    radius = ((bits & 0xFFFFFF).float() + 0.5) / 0x1000000
    turn = (bits >> 24 & 0xFFFFFF).float() / 0x1000000
    return (-2 * radius.log()).sqrt() * (2 * math.pi * turn).cos()


def _bits(key: Tensor, count: int, start: int = 0) -> Tensor:
    return _mix(key + torch.arange(start, start + count, device=key.device)[:, None] * _GOLDEN)


def _mix(x: Tensor) -> Tensor:
    x = (x ^ (_shift(x, 30))) * (0xBF58476D1CE4E5B9 - 2**64)
    x = (x ^ (_shift(x, 27))) * (0x94D049BB133111EB - 2**64)
    return x ^ _shift(x, 31)


def _shift(x: Tensor, places: int) -> Tensor:
    """Right shift that fills with zeros."""
    return (x >> places) & ((1 << (64 - places)) - 1)
